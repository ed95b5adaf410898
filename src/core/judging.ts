/**
 * Whose word about its speed to believe, by how its jobs compare with other runs of the same commands: at their end, and
 * before it when they are overdue.
 */

import { metric } from './metric.ts'
import { type Command, type Enough, EXACT_MS, HERE, type Usual, usualBeside } from './places.ts'
import { type Comparison, Trust } from './trust.ts'
import type { Claimed, MachineRecord, PeerId } from './types.ts'

/** Jobs that run elsewhere and may be judged before they end; of more only the end is judged. */
export const MAX_RUNNING = 1_024
/** Known of a command before a peer is compared by it; of all commands together; and before this machine is. */
const ENOUGH: Enough = { runs: 2, machines: 1, varianceFirst: 0.25 }
const ENOUGH_OF_ANY: Enough = { runs: 8, machines: 2, varianceFirst: 1 }
const ENOUGH_HERE: Enough = { runs: 2, machines: 2, varianceFirst: 0.25 }
/** What fits into pipes and windows: no more went through streams than could have kept the job waiting. */
const UNHINDERED_BYTES = 64 * 1024
/** What one job can do to the trust in its peer. */
const MOST_DOWN = 0.4
/** How sure is what was only seen from here, of a job that hasn't ended or of which the peer says that it waited. */
const SURE_SEEN = 0.8
/** With fewer machines, this one included, that one is far faster than the others says nothing. */
export const MACHINES_TO_COMPARE = 4
/** So many times as fast as the next one is more than machines of a household usually differ by. */
const STANDS_OUT = 2.5
/** A command computes mostly when it is busy for this part of its time. */
const BUSY = 0.7

/** A job that was sent to a peer. */
export interface Sent {
  id: string
  peer: PeerId
  claim: Claimed
  /** Cores that it was promised. */
  demand: number
}

/** What this peer knows of the others. */
export interface Known {
  /** What that peer says of itself now: what its owner took since is not its fault. */
  recordOf(peer: PeerId): MachineRecord | undefined
  /** The largest speed that anybody else, this machine included, says that it has; undefined where hardly anyone is known. */
  nextSpeed(peer: PeerId): number | undefined
}

/** What is seen of it from here. */
export interface Seen {
  /** ms since its start, less what the way takes. */
  ms: number
  streamedBytes: number
}

interface Running {
  sent: Sent
  startedAt: number
  /** ms that the way takes. */
  wayMs: number
  runOf: RunOf
  /** Sum and number of the parts of its cores that the peer said it gives, whenever that was asked. */
  parts: number
  looks: number
}

/** The commands that a job is a run of: its own, when it has a name, and all together. */
export interface RunOf {
  command: Command | undefined
  any: Command
}

export class Judging {
  readonly #trust = new Trust()
  /** By job; at most MAX_RUNNING. */
  readonly #running = new Map<string, Running>()
  /** The same by peer, in the order of their starts. */
  readonly #at = new Map<PeerId, Set<Running>>()
  known: Known = { recordOf: () => undefined, nextSpeed: () => undefined }

  /** The factor on that peer's metric, in (0, 1]; of HERE, on this machine's own. */
  trust(peer: PeerId, now: number): number {
    let since = now
    const overdue: Comparison[] = []
    for (const running of this.#at.get(peer) ?? []) {
      // What is forgotten with time is forgotten to try it again: with one job, not with many at once.
      since = Math.min(since, running.startedAt)
      const comparison = this.#overdue(running, now)
      if (comparison !== undefined) overdue.push(comparison)
    }
    return Math.min(this.#trust.of(peer, since, overdue), this.#onTrial(peer, now))
  }

  /**
   * Who says that it is far faster than everybody else is believed for one job at a time, until that has shown it: else a
   * whole burst is lost before the first job could tell.
   */
  #onTrial(peer: PeerId, now: number): number {
    if (!this.#at.has(peer)) return 1
    const speed = this.known.recordOf(peer)?.speed
    const next = this.known.nextSpeed(peer)
    if (speed === undefined || next === undefined || speed <= STANDS_OUT * next) return 1
    return this.#trust.isConfirmed(peer, now) ? 1 : next / speed
  }

  began(sent: Sent, runOf: RunOf, wayMs: number, now: number): void {
    if (this.#running.size >= MAX_RUNNING || this.#running.has(sent.id)) return
    const running = { sent, startedAt: now, wayMs, runOf, parts: 0, looks: 0 }
    this.#running.set(sent.id, running)
    const there = this.#at.get(sent.peer) ?? new Set()
    this.#at.set(sent.peer, there.add(running))
  }

  /** Jobs that may be judged before they end. */
  get running(): number {
    return this.#running.size
  }

  /** However it ended. */
  ended(id: string): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    this.#running.delete(id)
    const there = this.#at.get(running.sent.peer)!
    there.delete(running)
    if (there.size === 0) this.#at.delete(running.sent.peer)
  }

  /**
   * Compares the CPU time there with what the same command took elsewhere, so that a slow disk doesn't count. A peer could
   * tell less CPU time than it used: then the job seems to have waited, which a command that computes elsewhere, and that
   * nothing from here held up, doesn't; what was seen from here counts then.
   */
  judge(sent: Sent, runOf: RunOf, cpuMs: number | undefined, seen: Seen, now: number): void {
    const usual = usualOf(sent.peer, runOf)
    if (usual === undefined) return
    const { spread } = usual
    const expectedMs = Math.exp(usual.logWork) / sent.claim.speed
    if (cpuMs !== undefined && this.computed(sent, cpuMs, usual.cores, seen.ms - usual.waitMs)) {
      const comparison = { ratio: expectedMs / cpuMs, spread, sure: 1, mostDown: MOST_DOWN }
      if (Math.max(expectedMs, cpuMs) >= EXACT_MS) this.#trust.judge(sent.peer, comparison, now)
      return
    }
    const comparison = this.#seenOnly(sent, usual, seen)
    if (comparison !== undefined) this.#trust.judge(sent.peer, comparison, now)
  }

  /** Compares a run here with what several others took: this machine's own score may be the wrong one. */
  judgeHere(command: Command, speed: number, cpuMs: number, now: number): void {
    const usual = usualBeside(command, HERE, ENOUGH_HERE)
    if (usual === undefined) return
    const expectedMs = Math.exp(usual.logWork) / speed
    if (Math.max(expectedMs, cpuMs) < EXACT_MS) return
    this.#trust.judge(HERE, { ratio: expectedMs / cpuMs, spread: usual.spread, sure: 1, mostDown: MOST_DOWN }, now)
  }

  /** Whether CPU time that a peer tells fits the time that the job took, as seen from here: at least half of it. */
  computed(sent: Sent, cpuMs: number, cores: number, activeMs: number): boolean {
    return cpuMs * 2 >= activeMs * this.#part(sent, cores)
  }

  forget(peer: PeerId): void {
    this.#trust.forget(peer)
  }

  clear(): void {
    this.#trust.clear()
    this.#running.clear()
    this.#at.clear()
  }

  #overdue({ sent, startedAt, wayMs, runOf }: Running, now: number): Comparison | undefined {
    const usual = usualOf(sent.peer, runOf)
    return usual && this.#seenOnly(sent, usual, { ms: now - startedAt - wayMs, streamedBytes: 0 })
  }

  #seenOnly(sent: Sent, usual: Usual, { ms, streamedBytes }: Seen): Comparison | undefined {
    const { spread, waitMs, cores } = usual
    const computesMs = Math.exp(usual.logWork) / cores
    const activeMs = ms - waitMs
    if (computesMs / (computesMs + waitMs) < BUSY || streamedBytes > UNHINDERED_BYTES || activeMs < EXACT_MS) return
    const part = this.#part(sent, cores)
    if (!(part > 0)) return undefined
    const promisedMs = computesMs / sent.claim.speed / part
    return { ratio: promisedMs / activeMs, spread, sure: SURE_SEEN, mostDown: MOST_DOWN }
  }

  /**
   * Part of the cores that it can use that the peer gives it: what it said before, and the mean of what it has said since
   * whenever that was looked at, whichever is less.
   */
  #part(sent: Sent, cores: number): number {
    const { id, peer, claim, demand } = sent
    const full = 100 * claim.speed * cores
    const before = Math.min(1, (claim.metric ?? full) / full)
    const record = this.known.recordOf(peer)
    if (record === undefined) return before
    const without = { ...record, guestDemand: Math.max(0, record.guestDemand - demand) }
    const now = Math.min(1, metric(without, demand, { home: false }) / full)
    const running = this.#running.get(id)
    if (running === undefined) return Math.min(before, now)
    running.parts += now
    running.looks++
    return Math.min(before, running.parts / running.looks)
  }
}

function usualOf(peer: PeerId, { command, any }: RunOf): Usual | undefined {
  return (command && usualBeside(command, peer, ENOUGH)) ?? usualBeside(any, peer, ENOUGH_OF_ANY)
}
