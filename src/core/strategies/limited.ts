/**
 * Kačer and Tvrdík: "similar to Threshold, but the load of the destination node is checked". Those that are known to be
 * idle are drawn from, and the one that is asked checks it again.
 */

import { metric } from '../metric.ts'
import { drawn } from '../near-best.ts'
import type { MachineRecord } from '../types.ts'
import { isOverloaded, known } from './load.ts'
import { played } from './played.ts'
import type { Chooser } from './strategy.ts'

/** Machines that are asked one after the other. */
const MAX_ASKED = 3
/** A machine is idle for a job that would get so much of what it gets when nothing competes: samples are never quite clean. */
const IDLE = 0.9

const CHOOSER: Chooser = {
  width: 1,
  next: (situation) => {
    const { choices, asked, demand } = situation
    if (asked >= MAX_ASKED) return undefined
    if (!isOverloaded(situation)) return 'idle here'
    const idle = known(choices).filter(({ record }) => metricNow(record, demand) >= IDLE * metricAlone(record, demand))
    const choice = drawn(idle, situation.random)
    if (choice === undefined) return 'no core is idle anywhere'
    const { record } = choice
    // What the hops take off is no load.
    const best = (IDLE * metricAlone(record, demand) * choice.metric) / metricNow(record, demand)
    return { choice, best, exact: true, phrase: 'was drawn by chance of those with an idle core' }
  }
}

function metricNow(record: MachineRecord, demand: number): number {
  return metric(record, demand, { home: false })
}

/** What the job gets there when nothing competes. */
function metricAlone(record: MachineRecord, demand: number): number {
  return metricNow({ ...record, idleCores: record.cores, homeDemand: 0, guestDemand: 0 }, demand)
}

export const limited = played(
  {
    name: 'limited',
    information: 'broadcast',
    description: 'an idle machine by chance, when no core is idle here'
  },
  () => CHOOSER
)
