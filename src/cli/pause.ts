import type { PauseResult } from '../daemon/control-results.ts'
import { readArguments, usageError } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { millisecondsOf } from './length-of-time.ts'
import { print, printJson } from './output.ts'

const HELP = `Usage: kappa pause [--for TIME] [--now] [--json]

Lends this machine no more: jobs of other machines that run here may finish.

  --for TIME    resume by itself after this time, such as 30m, 1h or 2d
  --now         end the jobs of other machines at once
  --json        one object: until (ms since the epoch, or null), running, ended

Example:
  kappa pause --for 1h`

const PAUSE_MS_MAX = 365 * 86_400_000

const TAKES = {
  options: {
    for: { type: 'string', completes: ['30m', '1h', '8h', '1d'] },
    now: { type: 'boolean' },
    json: { type: 'boolean' }
  }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa pause', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { for: time, now = false } = parsed.values
    const forMs = time === undefined ? undefined : milliseconds(time)
    const result = (await request('pause', { now, ...(forMs !== undefined && { forMs }) })) as PauseResult
    if (parsed.values.json) {
      printJson(result)
      return 0
    }
    const until = result.until === null ? 'until: kappa resume' : `until ${new Date(result.until).toLocaleString()}`
    const guests =
      result.running > 0
        ? ` ${result.running} job(s) of other machines may finish (end them with: kappa pause --now).`
        : ''
    const ended = result.ended > 0 ? ` ${result.ended} job(s) of other machines were ended.` : ''
    print(`This machine is not lent ${until}.${guests}${ended}`)
    return 0
  }
}

function milliseconds(text: string): number {
  const ms = millisecondsOf(text)
  if (ms === undefined || ms === 0 || ms > PAUSE_MS_MAX) {
    throw usageError('kappa pause', `${JSON.stringify(text)} is no length of time: write 90s, 30m, 1h or 2d`)
  }
  return ms
}
