/** Load as the papers' strategies see it: tasks per core, whatever the cores' speed. */

import { homeCapacity } from '../metric.ts'
import type { MachineRecord } from '../types.ts'
import type { Choice, Situation } from './strategy.ts'

/** Source threshold: the machine has no idle core for one more of its own jobs. */
export function isOverloaded({ home, demand }: Situation): boolean {
  return homeCapacity(home).idle < demand
}

/** Tasks for each core. */
export function loadOf(record: MachineRecord): number {
  const { cores, idleCores, runnable, homeDemand, guestDemand } = record
  return (Math.max(runnable, cores - idleCores) + homeDemand + guestDemand) / cores
}

/** Those that have said what they are. */
export function known(choices: readonly Choice[]): (Choice & { record: MachineRecord })[] {
  return choices.filter((choice): choice is Choice & { record: MachineRecord } => choice.record !== undefined)
}
