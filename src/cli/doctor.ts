import type { CheckResult, DoctorResult, MachineResult } from '../daemon/control-results.ts'
import { EXIT } from '../errors.ts'
import { printable } from '../printable.ts'
import { readArguments, usageError } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { print, printJson, styled } from './output.ts'

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
    return all(result).some(({ verdict }) => verdict === 'failure') ? EXIT.failure : 0
  }
}

function all({ here, there, between }: DoctorResult): CheckResult[] {
  return [...here.checks, ...(there?.checks ?? []), ...between]
}

function report(result: DoctorResult): string {
  const { here, there, between } = result
  const parts = [section(title(here, 'this machine'), here.checks)]
  if (there !== null) {
    const says = there.checks.length > 0 || there.system !== null
    if (says) parts.push(section(title(there, there.kind === 'own' ? 'your own' : "a friend's"), there.checks))
    parts.push(section(`between ${here.name} and ${printable(there.name)}`, between, here.name))
  }
  return [...parts, summary(all(result))].join('\n\n')
}

function title({ name, system, version }: MachineResult, what: string): string {
  const more = [what, system, version && `kappa ${version}`].filter((part) => part !== null && part !== '')
  return `${styled('bold', printable(name))} (${more.map((part) => printable(part!)).join(', ')})`
}

const COLOURS = { ok: 'green', warning: 'yellow', failure: 'red' } as const
const INDENT = ' '.repeat(11)

/** `here` is this machine's name where checks may be mended elsewhere. */
function section(heading: string, checks: readonly (CheckResult & { on?: string })[], here?: string): string {
  const width = Math.max(0, ...checks.map(({ name }) => name.length))
  const lines = checks.flatMap((check) => {
    const verdict = styled(COLOURS[check.verdict], check.verdict.padEnd(7))
    const found = check.found === '' ? '' : `  ${check.found}`
    return [
      `  ${verdict}  ${check.found === '' ? check.name : check.name.padEnd(width)}${found}`,
      ...advice(check, here)
    ]
  })
  return [heading, ...lines].join('\n')
}

function advice({ lost, mend, on }: CheckResult & { on?: string }, here: string | undefined): string[] {
  const where = on === undefined || on === here ? '' : ` on ${printable(on)}`
  return [
    ...(lost === null ? [] : [`${INDENT}lost: ${lost}`]),
    // Behind no more than spaces: lines are to be copied.
    ...(mend.length === 0 ? [] : [`${INDENT}mend${where}:`, ...mend.map((line) => `${INDENT}  ${line}`.trimEnd())])
  ]
}

function summary(checks: CheckResult[]): string {
  const count = (verdict: CheckResult['verdict'], word: string): string[] => {
    const number = checks.filter((check) => check.verdict === verdict).length
    return number === 0 ? [] : [`${number} ${word}${number === 1 ? '' : 's'}`]
  }
  const bad = [...count('failure', 'failure'), ...count('warning', 'warning')]
  return bad.length === 0 ? 'All is in order.' : `${bad.join(', ')}.`
}
