import type { JobResult } from '../daemon/control-results.ts'
import { printable } from '../printable.ts'
import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { commandLine, duration, print, printJson, styled, table } from './output.ts'

const HELP = `Usage: kappa ps [--guests] [--json]

Lists the jobs that were started here, newest first.

  --guests    those of other machines that run or ran here
  --json      one object for each job, on a line of its own

Example:
  kappa ps --json | jq -r 'select(.state == "running") | .id'`

const COMMAND_LENGTH_MAX = 80

const TAKES = { options: { guests: { type: 'boolean' }, json: { type: 'boolean' } } } as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa ps', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { guests = false, json } = parsed.values
    const jobs = (await request('ps', { guests })) as JobResult[]
    if (json) {
      for (const job of jobs) printJson(job)
    } else if (jobs.length === 0) {
      print(guests ? 'No job of another machine ran here.' : 'No job was started here. Try: kappa run CMD')
    } else {
      print(
        table(
          ['JOB', 'STATE', guests ? 'FROM' : 'ON', 'TIME', 'COMMAND'],
          jobs.map((job) => row(job, guests))
        )
      )
    }
    return 0
  }
}

function row(job: JobResult, guests: boolean): string[] {
  const machine = guests ? job.home : (job.target ?? '-')
  const time = duration((job.endedAt ?? Date.now()) - job.startedAt)
  const state = job.detached && job.endedAt === null ? `${stateOf(job)}, detached` : stateOf(job)
  return [job.id, state, printable(machine), time, printable(commandLine(job.argv), COMMAND_LENGTH_MAX)]
}

/** `running`, `queued, 2`, `exited 0`, `exited by SIGTERM`, `lost`. */
export function stateOf({ state, exitCode, signal, position }: JobResult): string {
  if (state === 'queued' && position !== undefined) return styled('green', `queued, ${position}`)
  if (state === 'lost') return styled('red', state)
  if (state !== 'exited') return styled('green', state)
  if (signal !== null) return styled('yellow', `by ${signal}`)
  return exitCode === 0 ? 'exited 0' : styled('yellow', `exited ${exitCode ?? '-'}`)
}
