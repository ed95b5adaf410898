/** What `kappa doctor` found, for people. */

import type { CheckResult, DoctorResult, MachineResult } from '../../daemon/control-results.ts'
import { printable } from '../../printable.ts'
import { styled } from '../output.ts'

export function allOf({ here, there, between }: DoctorResult): CheckResult[] {
  return [...here.checks, ...(there?.checks ?? []), ...between]
}

export function report(result: DoctorResult): string {
  const { here, there, between } = result
  const parts = [section(title(here, 'this machine'), here.checks)]
  if (there !== null) {
    const says = there.checks.length > 0 || there.system !== null
    if (says) parts.push(section(title(there, there.kind === 'own' ? 'your own' : "a friend's"), there.checks))
    parts.push(section(`between ${here.name} and ${printable(there.name)}`, between, here.name))
  }
  return [...parts, summary(allOf(result))].join('\n\n')
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
  return bad.length === 0 ? 'Nothing is missing.' : `${bad.join(', ')}.`
}
