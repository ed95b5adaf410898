import { constants } from 'node:os'
import type { KillResult } from '../daemon/control-results.ts'
import { printable } from '../printable.ts'
import { readArguments, usageError } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { say } from './run-streams.ts'

const HELP = `Usage: kappa kill [-s SIGNAL] JOB...
       kappa kill --guest JOB...

Sends a signal, TERM when none is named, to all processes of a job, wherever it runs. JOB is the start of an id that
\`kappa ps\` shows.

  --guest    end a job of another machine that runs here: one of \`kappa ps --guests\`

Example:
  kappa kill -s KILL j7f`

const TAKES = {
  options: { signal: { type: 'string', short: 's', completes: 'signal' }, guest: { type: 'boolean' } },
  arguments: { min: 1, max: 1_000, what: 'one JOB or more', completes: ['live-job'] }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa kill', help: HELP, ...TAKES }, args.map(asOption))
    if (!parsed) return 0
    const { guest = false, signal: name } = parsed.values
    if (guest && name !== undefined) throw usageError('kappa kill', 'a guest is ended: --guest takes no signal')
    const signal = signalNumber(name ?? 'TERM')
    for (const job of parsed.positionals) {
      const { id, waitsFor } = (await request('kill', { job, signal, ...(guest && { guest }) })) as KillResult
      if (waitsFor) say(`${printable(waitsFor)} can't be reached now: ${id} gets the signal when it is back`)
    }
    return 0
  }
}

/** As in kill(1), `-9` and `-KILL` mean `-s 9` and `-s KILL`. */
function asOption(word: string): string {
  return /^-([A-Z]{2}[A-Z0-9+-]*|\d+)$/.test(word) ? `--signal=${word.slice(1)}` : word
}

function signalNumber(text: string): number {
  const numbers: Record<string, number> = constants.signals
  const name = `SIG${text.toUpperCase().replace(/^SIG/, '')}`
  if (Object.hasOwn(numbers, name)) return numbers[name]!
  const number = Object.values(numbers).find((known) => String(known) === text)
  if (number === undefined) throw usageError('kappa kill', `there is no signal ${JSON.stringify(text)}`)
  return number
}
