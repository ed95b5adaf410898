import type { WhyResult } from '../daemon/control-results.ts'
import { printable } from '../printable.ts'
import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { commandLine, duration, print, printJson, slowerThanSaid, styled, table } from './output.ts'
import { stateOf } from './ps.ts'

const HELP = `Usage: kappa why [--json] JOB

Says why a job ran where it ran: who was considered, with the metrics as known then, who was asked, and who refused.

Example:
  kappa why j7f`

const TEXT_LENGTH_MAX = 300

const TAKES = {
  options: { json: { type: 'boolean' } },
  arguments: { min: 1, max: 1, what: 'one JOB', completes: ['job'] }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa why', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const why = (await request('why', { job: parsed.positionals[0] })) as WhyResult
    if (parsed.values.json) printJson(why)
    else print(whyText(why))
    return 0
  }
}

/** All that is known of why a job runs where it runs, for people. */
export function whyText(why: WhyResult): string {
  return [summary(why), candidates(why), refusals(why)].filter((part) => part !== '').join('\n\n')
}

function summary(why: WhyResult): string {
  const where = why.target === null ? 'has no machine yet' : `on ${styled('bold', printable(why.target))}`
  const lines = [
    `${why.id}: ${printable(commandLine(why.argv), TEXT_LENGTH_MAX)}`,
    `${where}: ${why.reason === null ? stateOf(why) : `${printable(why.reason, TEXT_LENGTH_MAX)}; ${stateOf(why)}`}`
  ]
  if (why.error !== null) lines.push(styled('red', printable(why.error.message, TEXT_LENGTH_MAX)))
  // The last one is where it ran, which was said.
  const way = why.hops.slice(0, -1).map((name) => printable(name))
  if (way.length > 0) lines.push(`by way of ${way.join(' → ')}`)
  const times = Object.entries(why.timesMs).map(([phase, ms]) => `${phase} ${duration(ms)}`)
  if (times.length > 0) lines.push(times.join(', '))
  return lines.join('\n')
}

function candidates(why: WhyResult): string {
  if (why.candidates.length === 0) return ''
  const rows = why.candidates.map(({ name, metric, hops, via, ageMs, trust = 1, lacks }) => [
    printable(name),
    metric.toFixed(0),
    via === undefined ? String(hops ?? '') : `${hops} by ${printable(via)}`,
    duration(ageMs),
    printable(lacks ?? slowerThanSaid(trust), TEXT_LENGTH_MAX)
  ])
  return table(['CONSIDERED', 'METRIC', 'HOPS', 'AGE', 'LACKS'], rows)
}

function refusals(why: WhyResult): string {
  if (why.refusals.length === 0) return ''
  const rows = why.refusals.map(({ name, reason, hops = [] }) => {
    const by =
      hops.length > 1
        ? ` (by way of ${hops
            .slice(0, -1)
            .map((hop) => printable(hop))
            .join(' → ')})`
        : ''
    return [printable(name), `${printable(reason, TEXT_LENGTH_MAX)}${by}`]
  })
  return table(['REFUSED', 'BECAUSE'], rows)
}
