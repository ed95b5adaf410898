/** What a peer says of its own machine: the last sample, with what it knows itself and need not measure. */

import type { Reservations } from './reservations.ts'
import type { MachineRecord, MachineSample, OwnerRules } from './types.ts'

/** Stands in until the first sample: this machine is here, and takes nobody. */
const UNMEASURED: MachineSample = {
  benchmarkVersion: 0,
  speed: 1,
  cores: 1,
  idleCores: 0,
  runnable: 0,
  memoryAvailable: 0,
  memoryTotal: 0
}

/** `homeDemand`: cores promised to home's own jobs here; `sample` is undefined until the first was taken. */
export function ownRecord(
  sample: MachineSample | undefined,
  rules: OwnerRules,
  homeDemand: number,
  reservations: Reservations
): MachineRecord {
  const { slots, refuses, memoryFloor, labels, class: machineClass } = rules
  const why = sample === undefined ? 'its load is not measured yet' : refuses
  return {
    ...(sample ?? UNMEASURED),
    homeDemand,
    guestDemand: reservations.demand,
    memoryPromised: reservations.memoryPromised,
    memoryFloor,
    slots,
    ...(why === undefined ? {} : { refuses: why }),
    class: machineClass,
    labels
  }
}
