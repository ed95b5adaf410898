/** Placements beside each other under one workload after the other, all runs in one go so that no core waits. */

import { MEASURE, type Row, summary } from '../../src/simulator/comparison.ts'
import type { Laboratory } from './laboratory.ts'
import type { Run } from './run.ts'

/** The same machines, owners and jobs for all its strategies. */
export interface Setting extends Omit<Run, 'strategy' | 'seed'> {
  strategies: readonly string[]
  /** Seeds 1 to so many. */
  seeds: number
}

export interface Compared {
  setting: Setting
  /** In the order of the strategies. */
  rows: readonly Row[]
}

/** In the order of the settings. */
export async function compareAll(laboratory: Laboratory, settings: readonly Setting[]): Promise<Compared[]> {
  const runs = settings.flatMap(runsOf)
  const results = await laboratory.run(runs)
  let first = 0
  return settings.map((setting) => {
    const { strategies, seeds, topology, peers, load } = setting
    const found = [MEASURE, ...strategies].map((strategy, index) => {
      const from = first + index * seeds
      return { strategy, results: results.slice(from, from + seeds) }
    })
    first += found.length * seeds
    const [measured, ...compared] = found
    const rows = compared.map(({ strategy, results }) => ({
      ...{ topology, peers, load, strategy },
      ...summary(results, measured!.results)
    }))
    return { setting, rows }
  })
}

function runsOf({ strategies, seeds, ...scenario }: Setting): Run[] {
  return [MEASURE, ...strategies].flatMap((strategy) =>
    Array.from({ length: seeds }, (_, index) => ({ ...scenario, strategy, seed: index + 1 }))
  )
}

export function rowOf({ rows }: Compared, strategy: string): Row {
  const row = rows.find((one) => one.strategy === strategy)
  if (row === undefined) throw new Error(`${strategy} is not among those compared`)
  return row
}
