import type { DoctorResult } from '../daemon/control-results.ts'
import { EXIT } from '../errors.ts'
import { readArguments, usageError } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { allOf, report } from './doctor/report.ts'
import { print, printJson } from './output.ts'

const HELP = `Usage: kappa doctor [--json]           look whether this machine has all that jobs need here
       kappa doctor [--json] PEER      look at a paired machine, too, and at what is between both, in both directions
       kappa doctor --seccomp          print a seccomp filter for the container in which kappa is to run

Says of each check whether it is in order, what is lost by it, and the commands that mend it on this distribution. After a
mend, run it again: where the daemon has to start anew, it then does so as soon as no job needs it. A friend's machine tells
only how jobs fare there, not why.

  --json       one object: here, there, between; each check has id, verdict, found, lost, mend
  --seccomp    a file for docker run --security-opt seccomp=FILE

Exit status: 0 nothing failed (there may be warnings), 1 something did.

Example:
  kappa doctor nas`

const TAKES = {
  options: { json: { type: 'boolean' }, seccomp: { type: 'boolean' } },
  arguments: { min: 0, max: 1, what: 'one PEER', completes: ['peer'] }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa doctor', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { json, seccomp } = parsed.values
    const [peer] = parsed.positionals
    if (seccomp) {
      if (peer !== undefined) throw usageError('kappa doctor', '--seccomp takes no PEER')
      print(JSON.stringify((await import('./doctor/seccomp.ts')).SECCOMP, null, 2))
      return 0
    }
    const result = (await request('doctor', peer === undefined ? {} : { peer })) as DoctorResult
    if (json) printJson(result)
    else print(report(result))
    return allOf(result).some(({ verdict }) => verdict === 'failure') ? EXIT.failure : 0
  }
}
