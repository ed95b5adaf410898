/** Reads a simulated machine as the daemon reads a real one: averages over a window that has passed, so it is always late. */

import type { MachineSample } from '../core/types.ts'
import { type Machine, saidSpeed } from './machine.ts'

/** ms that busy time is averaged over, and with which the number of runnable tasks is smoothed. */
const WINDOW_MS = 1_000
/** Readings nearer to each other than this aren't kept. */
const SPACING_MS = WINDOW_MS / 4
const READINGS_MAX = 8

interface Reading {
  at: number
  ownerUsedMs: number
}

export class LoadSampler {
  readonly #machine: Machine
  /** Oldest first; at most READINGS_MAX. */
  readonly #readings: Reading[] = []
  #runnable = 0
  #sampledAt: number | undefined

  constructor(machine: Machine) {
    this.#machine = machine
  }

  take(now: number): MachineSample {
    const { cores, memoryBytes } = this.#machine.spec
    const weight = this.#sampledAt === undefined ? 1 : 1 - Math.exp(-(now - this.#sampledAt) / WINDOW_MS)
    this.#runnable += (this.#machine.owner - this.#runnable) * weight
    this.#sampledAt = now
    const reading = { at: now, ownerUsedMs: this.#machine.ownerUsedMs(now) }
    const base = this.#base(now)
    const used = base === undefined ? this.#runnable : (reading.ownerUsedMs - base.ownerUsedMs) / (now - base.at)
    this.#keep(reading)
    return {
      benchmarkVersion: 1,
      speed: saidSpeed(this.#machine.spec),
      cores,
      idleCores: Math.min(cores, Math.max(0, cores - used)),
      runnable: this.#runnable,
      memoryAvailable: memoryBytes,
      memoryTotal: memoryBytes
    }
  }

  /** As `take` would see it if nothing had changed for long: what is true now. */
  truth(): MachineSample {
    const { cores, speed, memoryBytes } = this.#machine.spec
    const { owner, ownerUses } = this.#machine
    return {
      benchmarkVersion: 1,
      speed,
      cores,
      idleCores: Math.max(0, cores - ownerUses),
      runnable: owner,
      memoryAvailable: memoryBytes,
      memoryTotal: memoryBytes
    }
  }

  /** The reading whose age is nearest to the window. */
  #base(now: number): Reading | undefined {
    let best: Reading | undefined
    for (const reading of this.#readings) {
      if (reading.at >= now) break
      const off = Math.abs(now - reading.at - WINDOW_MS)
      if (best === undefined || off <= Math.abs(now - best.at - WINDOW_MS)) best = reading
    }
    return best
  }

  #keep(reading: Reading): void {
    const last = this.#readings.at(-1)
    if (last !== undefined && reading.at - last.at < SPACING_MS) return
    this.#readings.push(reading)
    if (this.#readings.length > READINGS_MAX) this.#readings.shift()
  }
}
