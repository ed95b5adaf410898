/** The paper's Tables II and III, and what was found here beside them. */

import type { ReachableResult, StatusResult, WhyResult } from '../src/daemon/control-results.ts'

/** A row of Table II. Metrics as the paper prints them; `ms` is its "Exec. time". */
interface PaperProgram {
  name: string
  own: number
  other: number
  otherOnOwn: number
  ownOnOther: number
  ms: number
}

export const PAPER_PROGRAMS: readonly PaperProgram[] = [
  { name: 'Brute Force', own: 37, other: 148, otherOnOwn: 133, ownOnOther: 22, ms: 2288 },
  { name: 'Exponentiate', own: 35, other: 144, otherOnOwn: 129, ownOnOther: 20, ms: 3697 },
  { name: 'Prime', own: 42, other: 145, otherOnOwn: 130, ownOnOther: 27, ms: 2741 },
  { name: 'Hello World', own: 37, other: 141, otherOnOwn: 126, ownOnOther: 22, ms: 3176 }
]

/** Table III, process by process. */
export const PAPER_INCREASE: readonly string[] = [
  'stays: no reply in time',
  ...Array.from({ length: 6 }, () => 'to C'),
  ...Array.from({ length: 2 }, () => 'stays: C is worse than B'),
  'to B, which has least'
]

/** What one program of Table II did here. Metrics are undefined where a peer didn't know any. */
export interface ShippedProgram {
  own: number
  other: number
  otherOnOwn: number | undefined
  ownOnOther: number | undefined
  homeMs: number
  shippedMs: number
  target: string
}

/** One of the endless jobs of Table III. */
export interface EndlessJob {
  target: string
  /** Home's own metric when it was placed, and the distribution metrics that it knew then, by name. */
  own: number
  distances: Map<string, number>
  hops: string[]
  reason: string
}

/** A machine when all jobs of Table III are placed. */
export interface MachineEnd {
  name: string
  loops: number
  jobs: number
  metric: number
}

/** The part of `kappa status --json` that counts here. */
interface Known extends Pick<StatusResult, 'metric'> {
  reachable: readonly Pick<ReachableResult, 'name' | 'metric'>[]
}

/** Lines with columns as wide as they must be; numbers stand on the right. */
export function aligned(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows]
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const isNumber = headings.map((_, column) => rows.every((row) => /^[-–\d./ ]*$/.test(row[column]!)))
  return lines
    .map((line) => {
      const cells = line.map((cell, column) =>
        isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
      )
      return `  ${cells.join('  ')}`.trimEnd()
    })
    .join('\n')
}

/** Table II: the paper's value before the slash, ours behind it. */
export function tableII(programs: readonly ShippedProgram[]): string {
  const headings = [
    'program',
    'sysmetric A',
    'sysmetric B',
    'dismetric B on A',
    'dismetric A on B',
    'paper ms',
    'home ms'
  ]
  const rows = programs.map((program, index) => {
    const paper = PAPER_PROGRAMS[index]!
    return [
      paper.name,
      beside(paper.own, program.own),
      beside(paper.other, program.other),
      beside(paper.otherOnOwn, program.otherOnOwn),
      beside(paper.ownOnOther, program.ownOnOther),
      String(paper.ms),
      whole(program.homeMs),
      whole(program.shippedMs),
      `${(program.homeMs / program.shippedMs).toFixed(1)}x`,
      program.target
    ]
  })
  return aligned([...headings, 'shipped ms', 'gain', 'to'], rows)
}

/** Table III: what the paper says of each process, and where ours went. */
export function tableIII(jobs: readonly EndlessJob[], others: readonly string[]): string {
  const headings = ['process', 'in the paper', 'here', 'A', ...others.map((name) => `${name} on A`), 'why']
  const rows = jobs.map(({ target, own, distances, hops, reason }, index) => [
    String(index + 1),
    PAPER_INCREASE[index] ?? '',
    target === 'A' ? 'stays' : `to ${target}${hops.length > 1 ? ` by ${hops.slice(0, -1).join(', ')}` : ''}`,
    whole(own),
    ...others.map((name) => whole(distances.get(name))),
    reason
  ])
  return aligned(headings, rows)
}

export function tableOfEnds(machines: readonly MachineEnd[]): string {
  const rows = machines.map(({ name, loops, jobs, metric }) => [name, String(loops), String(jobs), whole(metric)])
  return aligned(['machine', 'loops', 'jobs', 'sysmetric'], rows)
}

/** What home knew before a job, and `kappa why --json` tells of it after; why it stayed is what somebody else said. */
export function endlessJob(known: Known, why: WhyResult): EndlessJob {
  const refusal = why.target === why.home ? why.refusals[0] : undefined
  return {
    target: why.target ?? '?',
    own: known.metric,
    distances: new Map(known.reachable.map(({ name, metric }) => [name, metric])),
    hops: why.hops,
    reason: refusal === undefined ? (why.reason ?? '') : `${refusal.name}: ${refusal.reason}`
  }
}

/** The job's id in what `kappa run -v` says once it is placed. */
export function placedJob(said: string): string | undefined {
  return /^kappa: running .*\(kappa why (\S+)\)$/m.exec(said)?.[1]
}

function beside(paper: number, here: number | undefined): string {
  return `${paper} / ${whole(here)}`
}

function whole(value: number | undefined): string {
  return value === undefined ? '–' : value.toFixed(0)
}
