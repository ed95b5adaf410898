/** Cells prepared ahead for the homes that were active lately, so that a job's start needs no namespace to be made. */

import type { PairingKind, PeerId } from '../core/types.ts'
import type { Cell } from './cell.ts'
import type { GuestPriority } from './guest-group.ts'
import { Keeper } from './keeper.ts'
import type { Tree } from './tree.ts'

/** Spare cells of all homes together. */
const SPARES_MAX = 4

/** ms without a job or a word of one to come after which a home's root is taken down. */
const IDLE = 10 * 60_000

/** ms between looks at who is idle. */
const SWEEP = 60_000

/** Homes that have a root here at once; beyond, the one that was idle longest gives way. */
const HOMES_MAX = 32

/** Whose job it is: its own machines' jobs use the machine's network, a friend's have none. */
export interface Home {
  peerId: PeerId
  kind: PairingKind
  /** Devices beyond the harmless ones; such jobs have a root of their own. */
  devices?: readonly string[]
  /** Its tree, for jobs that see that. */
  tree?: Tree
}

export interface HomesInit extends GuestPriority {
  scratchDirectory: string
  uid: number
  gid: number
  /** Directories of the machine that guests see, each with `:ro` or `:rw` at its end. */
  paths?: readonly string[]
}

interface Held {
  home: Home
  keeper: Promise<Keeper>
  /** At most SPARES_MAX over all homes, those being made included. */
  spares: Promise<Cell | null>[]
  /** Jobs that hold a cell of it. */
  living: number
  activeAt: number
}

export class Homes {
  readonly #init: HomesInit
  /** At most HOMES_MAX, but for homes with living jobs. */
  readonly #held = new Map<string, Held>()
  #sweeper: NodeJS.Timeout | undefined
  #closed = false

  constructor(init: HomesInit) {
    this.#init = init
  }

  /** Makes sure that a spare cell is on its way; failures show when a job wants one. */
  prepare(home: Home): void {
    if (this.#closed) return
    this.#refill(this.#hold(home))
  }

  /** A ready cell, spare or new; of a root that was killed meanwhile, one of the next. Throws SandboxError. */
  async take(home: Home): Promise<Cell> {
    for (let last = false; ; last = true) {
      const held = this.#hold(home)
      try {
        return await this.#takeFrom(home, held)
      } catch (error) {
        const wasKilled = await held.keeper.then(
          ({ isOver }) => isOver,
          () => false
        )
        void this.#end(held)
        if (last || !wasKilled || this.#closed || home.tree?.isWithinReach() === false) throw error
      }
    }
  }

  async #takeFrom(home: Home, held: Held): Promise<Cell> {
    held.living++
    try {
      for (;;) {
        const cell = (await held.spares.shift()) ?? (await (await held.keeper).cell())
        if (cell.alive) return cell
        await cell.dispose()
      }
    } catch (error) {
      held.living--
      // A root that fails once is not tried again for the next job.
      if (this.#held.get(keyOf(home)) === held) this.#held.delete(keyOf(home))
      throw error
    }
  }

  /** The job has begun: prepare for the next one. */
  begun(home: Home): void {
    const held = this.#held.get(keyOf(home))
    if (held !== undefined && !this.#closed) this.#refill(held)
  }

  /** The job's cell is gone. */
  gave(home: Home): void {
    const held = this.#held.get(keyOf(home))
    if (held === undefined) return
    held.living--
    held.activeAt = performance.now()
  }

  /** Ends every cell of every home. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#sweeper)
    const all = [...this.#held.values()]
    this.#held.clear()
    await Promise.all(all.map((held) => this.#end(held)))
  }

  #hold(home: Home): Held {
    const key = keyOf(home)
    let held = this.#held.get(key)
    if (held === undefined) {
      this.#makeRoom()
      const keeper = Keeper.start({
        ...this.#init,
        network: home.kind === 'own' ? 'machine' : 'none',
        devices: home.devices ?? [],
        ...(home.tree && { tree: home.tree })
      })
      const made: Held = { home, keeper, spares: [], living: 0, activeAt: performance.now() }
      held = made
      this.#held.set(key, made)
      const forget = () => {
        if (this.#held.get(key) === made) this.#held.delete(key)
      }
      keeper.then((started) => started.ended.then(forget).then(() => started.close()), forget)
      this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP).unref()
    }
    held.activeAt = performance.now()
    return held
  }

  /** One spare for every home that was active lately, all that are left for the one that is active now. */
  #refill(held: Held): void {
    let spare = SPARES_MAX - [...this.#held.values()].reduce((sum, other) => sum + other.spares.length, 0)
    while (spare <= 0 && held.spares.length === 0) {
      if (!this.#retireOne(held)) return
      spare++
    }
    for (; spare > 0; spare--) {
      held.spares.push(held.keeper.then((keeper) => keeper.cell()).catch(() => null))
    }
  }

  /** Takes a spare from the home that was idle longest among those with most. */
  #retireOne(but: Held): boolean {
    const others = [...this.#held.values()].filter((held) => held !== but && held.spares.length > 0)
    const from = others.sort((a, b) => b.spares.length - a.spares.length || a.activeAt - b.activeAt)[0]
    const spare = from?.spares.shift()
    if (spare === undefined) return false
    void spare.then((cell) => cell?.dispose())
    return true
  }

  #makeRoom(): void {
    if (this.#held.size < HOMES_MAX) return
    const idle = [...this.#held.values()].filter((held) => held.living === 0).sort((a, b) => a.activeAt - b.activeAt)[0]
    if (idle !== undefined) this.#drop(idle)
  }

  #sweep(): void {
    const now = performance.now()
    for (const held of this.#held.values()) {
      if (held.living === 0 && now - held.activeAt > IDLE) this.#drop(held)
    }
    if (this.#held.size > 0) return
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
  }

  #drop(held: Held): void {
    this.#held.delete(keyOf(held.home))
    void this.#end(held)
  }

  async #end(held: Held): Promise<void> {
    await held.keeper.then(
      async (keeper) => {
        await keeper.end()
        await Promise.all(held.spares.splice(0).map(async (spare) => (await spare)?.dispose()))
        await keeper.close()
      },
      () => {}
    )
  }
}

function keyOf(home: Home): string {
  return [home.kind, home.peerId, home.tree?.key ?? '', home.tree?.programs ?? '', ...(home.devices ?? [])].join(' ')
}
