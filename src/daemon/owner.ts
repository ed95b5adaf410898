/** What the owner of this machine allows now: the configuration, a pause, and what the system makes possible. */

import { join } from 'node:path'
import { z } from 'zod'
import type { MachineClass, OwnerRules } from '../core/types.ts'
import { onBattery } from '../machine/power.ts'
import { type Configuration, memoryFloorBytes } from './configuration.ts'
import type { Log } from './log.ts'
import { StateFile } from './state-file.ts'

const pauseSchema = z.object({
  /** ms since the epoch; null: until `kappa resume`. */
  until: z.number().nullable()
})

/** Timers stand still while the machine sleeps, and clocks are set: whether a pause is over is looked at this often. */
const CHECK_MS_MAX = 60_000
/** A plug that was pulled is noticed within this time. */
const BATTERY_CHECK_MS = 10_000

export interface OwnerInit {
  state: string
  configuration: Configuration
  /** Why guests can't be run safely here, with the mend; undefined when they can. */
  unsafe: string | undefined
  /** Whether jobs of guests can have a terminal. */
  terminals: boolean
  /** Why guests can't see their home's tree; absent: they can. */
  noFiles?: string
  cores: number
  memoryTotal: number
  classOf(modes: string[]): MachineClass
  log: Log
  /** Whether this machine runs on its battery; default: looks. */
  onBattery?(): boolean
  /** The rules changed. */
  onChange(): void
}

export class Owner {
  readonly #init: OwnerInit
  readonly #file: StateFile<z.infer<typeof pauseSchema>>
  readonly #class: MachineClass
  #configuration: Configuration
  #pause: z.infer<typeof pauseSchema> | undefined
  #timer: NodeJS.Timeout | undefined
  #onBattery: boolean
  #leaves: string | undefined
  readonly #batteryTimer: NodeJS.Timeout

  constructor(init: OwnerInit) {
    this.#init = init
    this.#configuration = init.configuration
    this.#file = new StateFile(join(init.state, 'pause.json'), pauseSchema, init.log)
    this.#pause = stillPaused(this.#file.read())
    const { noFiles, terminals } = init
    const files = noFiles === undefined ? ['files', 'programs'] : []
    const modes = ['plain', 'staged', ...files, ...(terminals ? ['pty'] : [])]
    this.#class = {
      ...init.classOf(this.#possible ? modes : []),
      ...(noFiles === undefined ? {} : { noFiles })
    }
    this.#schedule()
    this.#onBattery = this.#looksOnBattery()
    this.#batteryTimer = setInterval(() => this.#checkBattery(), BATTERY_CHECK_MS).unref()
  }

  /** Whether guests can be run at all. */
  get #possible(): boolean {
    return this.#init.unsafe === undefined || this.#configuration.guests.unsandboxed
  }

  get rules(): OwnerRules {
    const { slots, labels } = this.#configuration
    const refuses = this.#refusal()
    return {
      slots: slots ?? 2 * this.#init.cores,
      memoryFloor: memoryFloorBytes(this.#configuration, this.#init.memoryTotal),
      labels,
      class: this.#class,
      homeSlots: Math.max(1, this.#init.cores),
      forward: this.#configuration.placement.forward,
      ...(refuses === undefined ? {} : { refuses })
    }
  }

  get paused(): boolean {
    return this.#pause !== undefined
  }

  /** Why no guests are taken now. */
  get refuses(): 'unsafe' | 'lend' | 'leaves' | 'paused' | 'battery' | undefined {
    if (!this.#possible) return 'unsafe'
    if (!this.#configuration.lend) return 'lend'
    if (this.#leaves !== undefined) return 'leaves'
    if (this.#pause) return 'paused'
    return this.#onBattery && !this.#configuration.guests.on_battery ? 'battery' : undefined
  }

  #refusal(): string | undefined {
    switch (this.refuses) {
      case 'unsafe':
        return `it can't run guests safely: ${this.#init.unsafe}`
      case 'lend':
        return 'its owner does not lend it'
      case 'leaves':
        return this.#leaves
      case 'paused': {
        const until = this.#pause?.until ?? null
        return until === null ? 'its owner paused lending' : `its owner paused lending until ${timeOfDay(until)}`
      }
      case 'battery':
        return 'it runs on its battery'
      default:
        return undefined
    }
  }

  #looksOnBattery(): boolean {
    return (this.#init.onBattery ?? onBattery)()
  }

  #checkBattery(): void {
    const is = this.#looksOnBattery()
    if (is === this.#onBattery) return
    this.#onBattery = is
    this.#init.onChange()
  }

  /** The daemon is about to end, for this reason; undefined: it stays. */
  leave(reason: string | undefined): void {
    this.#leaves = reason
    this.#init.onChange()
  }

  configure(configuration: Configuration): void {
    this.#configuration = configuration
    this.#init.onChange()
  }

  /** Takes no guests for so long, or until `resume`. Safe on the disk when it resolves. */
  async pause(forMs: number | undefined): Promise<number | null> {
    const pause = { until: forMs === undefined ? null : Date.now() + forMs }
    this.#pause = pause
    this.#schedule()
    this.#init.onChange()
    // A short one may be over before this is written.
    await this.#file.write(pause)
    return pause.until
  }

  async resume(): Promise<void> {
    this.#pause = undefined
    this.#schedule()
    this.#init.onChange()
    await this.#file.write({ until: 0 })
  }

  stop(): void {
    clearTimeout(this.#timer)
    clearInterval(this.#batteryTimer)
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    const until = this.#pause?.until
    if (typeof until !== 'number') return
    const left = until - Date.now()
    this.#timer = setTimeout(
      () => {
        if (Date.now() < until) this.#schedule()
        else this.resume().catch((error) => this.#init.log.error('the end of the pause could not be kept', error))
      },
      Math.min(Math.max(left, 0), CHECK_MS_MAX)
    )
    this.#timer.unref()
  }
}

/** A pause whose end has passed is none. */
function stillPaused(pause: z.infer<typeof pauseSchema> | undefined): z.infer<typeof pauseSchema> | undefined {
  return pause && (pause.until === null || pause.until > Date.now()) ? pause : undefined
}

function timeOfDay(at: number): string {
  const date = new Date(at)
  const two = (number: number) => String(number).padStart(2, '0')
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`
  const today = new Date().toDateString() === date.toDateString()
  return today ? time : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`
}
