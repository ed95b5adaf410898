/** What two papers ask alike: equal machines under rising load, one strategy beside the other. */

import type { Row } from '../../src/simulator/comparison.ts'
import type { Estimate } from '../../src/simulator/statistics.ts'
import { type Compared, rowOf } from './comparing.ts'
import { sure, tableOf } from './markdown.ts'
import type { Line, Point } from './plot.ts'
import type { Axis } from './plot-axis.ts'

export const LOAD_AXIS: Axis = { label: 'load (part of all capacity)', scale: 'linear', least: 0, most: 1 }

/** So that a strategy looks the same in all plots. */
export const STRATEGY_NAMES: readonly string[] = [
  ...['kappa', 'two-choices', 'shortest', 'limited', 'threshold', 'random'],
  ...['round-robin', 'pull', 'kappa-paper', 'local', 'kappa+gossip']
]

/** Of one number of each row, by load. */
export function linesOver(
  found: readonly Compared[],
  strategies: readonly string[],
  value: (row: Row) => Estimate
): Line[] {
  return strategies.map((name) => ({
    name,
    points: found.map((one): Point => {
      const { mean, halfWidth } = value(rowOf(one, name))
      return { x: one.setting.load, y: mean, halfWidth }
    })
  }))
}

/** Strategies below each other, loads beside each other. */
export function tableOver(
  found: readonly Compared[],
  strategies: readonly string[],
  value: (row: Row) => Estimate
): string {
  const rows = strategies.map((name) => [`\`${name}\``, ...found.map((one) => sure(value(rowOf(one, name))))])
  return tableOf(['strategy', ...found.map(({ setting }) => `load ${setting.load}`)], rows)
}

export function secondsOf({ meanMs }: Row): Estimate {
  return { mean: meanMs.mean / 1_000, halfWidth: meanMs.halfWidth / 1_000 }
}

/** Best first, by the mean over all loads of each mean divided by that load's best. */
export function ranking(found: readonly Compared[], strategies: readonly string[]): { name: string; worse: number }[] {
  return strategies
    .map((name) => {
      const worse = found.map((one) => {
        const best = Math.min(...strategies.map((other) => rowOf(one, other).meanMs.mean))
        return rowOf(one, name).meanMs.mean / best
      })
      return { name, worse: worse.reduce((sum, ratio) => sum + ratio, 0) / worse.length }
    })
    .sort((a, b) => a.worse - b.worse)
}
