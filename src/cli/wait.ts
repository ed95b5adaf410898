import type { WaitResult } from '../daemon/control-results.ts'
import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { printJson } from './output.ts'
import { say, signalNumberOf } from './run-streams.ts'

const HELP = `Usage: kappa wait [--json] JOB...

Waits until the jobs are over, detached or not, and exits as \`kappa run\` would have: with the command's own status, 128
and the number of the signal that ended it, or 123 when its end is unknown. Of several jobs it is the status of the last.
Ctrl-C only ends the waiting.

  --json    one object for each job, on a line of its own, as kappa ps shows it

Example:
  job=$(kappa run --detach make) && kappa wait "$job" && kappa logs "$job"`

const TAKES = {
  options: { json: { type: 'boolean' } },
  arguments: { min: 1, max: 1_000, what: 'one JOB or more', completes: ['live-job'] }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa wait', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    let status = 0
    for (const job of parsed.positionals) {
      const result = (await request('wait', { job })) as WaitResult
      if (parsed.values.json) printJson(result.job)
      if (result.told.message) say(result.told.message)
      status = statusOf(result)
    }
    return status
  }
}

function statusOf({ told }: WaitResult): number {
  if (told.status !== undefined) return told.status
  return told.signal === null ? (told.exitCode ?? 1) : 128 + signalNumberOf(told.signal)
}
