/**
 * `npm run simulate [-- OPTION...]`: placements compared in the simulator, the same for the same options.
 *
 *   --topology ring,line   one or more of clique, line, star, ring, tree, random, small-world, two-cliques
 *   --peers 16             with --topology
 *   --load 0.5,0.8         with --topology; work asked for of all that can be done
 *   --workload batches     batches, poisson, make, heavy-tail, cores, graphs or graphs-at-once
 *   --homes half-weak      half-weak (half of all at one weak machine), one or many
 *   --owners 0.1           part of its cores that each owner uses on average
 *   --loss 0.02            part of the messages that are lost
 *   --learn                homes learn from the jobs that they saw end
 *   --liars 1              so many machines tell others that they are ten times as fast as they are
 *   --strategy kappa,...   which placements; all are divided by greedy, which knows everything
 *   --minutes 5            of simulated time
 *   --seeds 5              runs of each, from which the confidence intervals come
 *   --json                 one line of JSON for each row
 *   --faulty               5 % of the messages lost, and each minute a partition and a crash, of 2 to 20 s: each placement is
 *                          divided by itself without these. A job that was lost is asked for again, its time counted from
 *                          the first asking; jobs whose own home crashed are counted apart
 *
 * Without --topology the whole grid is run. Or, instead:
 *
 *   --learning             what learning changes: with everybody honest, with wrong claims, with short and with large jobs
 *
 * Or:
 *
 *   --faults 1000          so many random fault schedules, under which every checker must hold
 *   --first 1              the seed of the first of them
 *   --peers 16
 *   --strategy kappa
 */

import { parseArgs } from 'node:util'
import { compare, compareFaulty, type FaultyRow, GRID, type Place, type Row } from '../src/simulator/comparison.ts'
import { runFaults } from '../src/simulator/faults.ts'
import { learningRows } from '../src/simulator/learning-rows.ts'
import type { Estimate } from '../src/simulator/statistics.ts'
import { STRATEGIES } from '../src/simulator/strategies.ts'
import { TOPOLOGIES } from '../src/simulator/topology.ts'
import { HOMES, WORKLOADS } from '../src/simulator/workload.ts'

const { values: options } = parseArgs({
  options: {
    topology: { type: 'string' },
    peers: { type: 'string', default: '16' },
    load: { type: 'string', default: '0.5' },
    workload: { type: 'string', default: 'batches' },
    homes: { type: 'string', default: 'half-weak' },
    owners: { type: 'string', default: '0' },
    loss: { type: 'string', default: '0' },
    learn: { type: 'boolean', default: false },
    liars: { type: 'string', default: '0' },
    strategy: { type: 'string' },
    minutes: { type: 'string', default: '5' },
    seeds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    faulty: { type: 'boolean', default: false },
    learning: { type: 'boolean', default: false },
    faults: { type: 'string' },
    first: { type: 'string', default: '1' }
  }
})

function fail(problem: string): never {
  process.stderr.write(`simulate: ${problem}\n`)
  process.exit(2)
}

function word<T extends string>(name: string, given: string, known: readonly T[]): T {
  return known.find((candidate) => candidate === given) ?? fail(`--${name} is one of: ${known.join(', ')}`)
}

function number(name: string, given: string, least: number): number {
  const value = Number(given)
  return value >= least ? value : fail(`--${name} is a number of at least ${least}`)
}

function places(): readonly Place[] {
  if (options.topology === undefined) return GRID
  const peers = number('peers', options.peers, 2)
  const loads = options.load.split(',').map((load) => number('load', load, 0.01))
  return options.topology
    .split(',')
    .map((given) => word('topology', given, TOPOLOGIES))
    .flatMap((topology) => loads.map((load) => ({ topology, peers, load })))
}

function sure({ mean, halfWidth }: Estimate): string {
  return Number.isNaN(halfWidth) ? mean.toFixed(2) : `${mean.toFixed(2)} ± ${halfWidth.toFixed(2)}`
}

function faultyCells({
  topology,
  peers,
  load,
  strategy,
  meanMs,
  ratio,
  p99Ratio,
  again,
  orphaned
}: FaultyRow): string[] {
  const seconds = (meanMs.mean / 1_000).toFixed(2)
  const parts = [again, orphaned].map(({ mean }) => `${(100 * mean).toFixed(1)} %`)
  return [`${topology} of ${peers} @ ${load}`, strategy, seconds, sure(ratio), sure(p99Ratio), ...parts]
}

function cells({ topology, peers, load, strategy, meanMs, ratio, p99Ratio, hops, messages }: Row): string[] {
  const seconds = (meanMs.mean / 1_000).toFixed(2)
  const rest = [sure(ratio), sure(p99Ratio), hops.mean.toFixed(2), messages.mean.toFixed(2)]
  return [`${topology} of ${peers} @ ${load}`, strategy, seconds, ...rest]
}

const HEAD = ['topology @ load', 'strategy', 'mean s', 'mean / greedy', 'p99 / greedy', 'hops', 'messages']
const FAULTY_HEAD = ['topology @ load', 'strategy', 'mean s', 'mean / calm', 'p99 / calm', 'again', 'orphaned']
const WIDTHS = [22, 12, 8, 14, 14, 5, 8]

function line(texts: string[]): string {
  return `| ${texts.map((text, column) => text.padEnd(WIDTHS[column]!)).join(' | ')} |\n`
}

function strategiesOr(standard: string) {
  const known = [...STRATEGIES.keys()]
  const names = (options.strategy ?? standard).split(',')
  return names.map((name) => STRATEGIES.get(word('strategy', name, known))!)
}

function compareAll(): void {
  const strategies = strategiesOr('kappa,two-choices,limited,kappa-paper')
  const conditions = {
    workload: word('workload', options.workload, WORKLOADS),
    homes: word('homes', options.homes, HOMES),
    owners: number('owners', options.owners, 0),
    loss: number('loss', options.loss, 0),
    learn: options.learn,
    liars: number('liars', options.liars, 0),
    durationMs: number('minutes', options.minutes, 0.1) * 60_000
  }
  const seeds = number('seeds', options.seeds, 1)
  const grid = places()
  const { faulty, json } = options
  if (!json) process.stdout.write(line(faulty ? FAULTY_HEAD : HEAD) + line(WIDTHS.map((width) => '-'.repeat(width))))
  const tell = (row: object, texts: string[]) => process.stdout.write(json ? `${JSON.stringify(row)}\n` : line(texts))
  for (const place of grid) {
    if (faulty) for (const row of compareFaulty(place, conditions, strategies, seeds)) tell(row, faultyCells(row))
    else for (const row of compare(place, conditions, strategies, seeds)) tell(row, cells(row))
  }
}

/** Goes on after a breach, so that all seeds that break are told. */
function playFaults(schedules: number): void {
  const first = number('first', options.first, 0)
  const peers = number('peers', options.peers, 2)
  const outcomes = new Map<string, number>()
  let broken = 0
  for (const strategy of strategiesOr('kappa')) {
    for (let seed = first; seed < first + schedules; seed++) {
      try {
        const report = runFaults({ seed, peers, strategy, calm: false })
        const { shipped, farther } = report
        for (const [what, count] of Object.entries({ ...report.outcomes, shipped, farther })) {
          outcomes.set(what, (outcomes.get(what) ?? 0) + count)
        }
      } catch (error) {
        broken++
        process.stdout.write(`${error instanceof Error ? error.message : error}\n\n`)
      }
    }
  }
  const jobs = [...outcomes].map(([what, count]) => `${count} ${what}`).join(', ')
  process.stdout.write(`${schedules} fault schedules of ${peers} peers: ${broken} broke a rule; jobs: ${jobs}\n`)
  process.exitCode = broken > 0 ? 1 : 0
}

function compareLearning(): void {
  const durationMs = number('minutes', options.minutes, 1.1) * 60_000
  const widths = [62, 8, 8, 14, 14, 14]
  const cells = (texts: string[]) => `| ${texts.map((text, column) => text.padEnd(widths[column]!)).join(' | ')} |\n`
  if (!options.json) {
    process.stdout.write(cells(['', 'off, s', 'on, s', 'on / off', 'off / right', 'on / right']))
    process.stdout.write(cells(widths.map((width) => '-'.repeat(width))))
  }
  for (const row of learningRows(number('seeds', options.seeds, 1), durationMs)) {
    const { what, offMs, onMs, gain, offCost, onCost } = row
    const costs = [offCost, onCost].map((cost) => (cost === undefined ? '' : sure(cost)))
    const seconds = [offMs, onMs].map(({ mean }) => (mean / 1_000).toFixed(2))
    process.stdout.write(options.json ? `${JSON.stringify(row)}\n` : cells([what, ...seconds, sure(gain), ...costs]))
  }
}

if (options.learning) compareLearning()
else if (options.faults === undefined) compareAll()
else playFaults(number('faults', options.faults, 1))
