/** What must never be, looked at after every step; the first breach ends the simulation, with its seed and what came before. */

import { MAX_ENTRIES, MAX_HOPS, type OverlayMessage, type PairingKind, type PeerId } from '../core/types.ts'
import type { SimulatedPeer } from './simulated-peer.ts'
import type { Transcript } from './transcript.ts'
import type { Attempt, UserJob } from './user-job.ts'

/** A job is placed, or known to find no place, within this time by its home's clock, ms; and what rounding adds. */
const PLACE_BUDGET_MS = 400
const EPSILON_MS = 1
/** Tables hold what the jobs of the simulation explain, and not more than so many entries for each. */
const ENTRIES_PER_JOB = 8
/** Ends are kept this long, ms. */
const DAY_MS = 25 * 3_600_000

/** One breach of what must hold: the message names the seed with which it comes again. */
export class CheckFailure extends Error {
  override readonly name = 'CheckFailure'
}

export class Checker {
  readonly #seed: string
  readonly #transcript: Transcript
  #jobs = 0

  constructor(seed: string, transcript: Transcript) {
    this.#seed = seed
    this.#transcript = transcript
  }

  fail(what: string): never {
    throw new CheckFailure(`${what}\nseed: ${this.#seed}\nlast events:\n${this.#transcript.last().join('\n')}`)
  }

  submitted(): void {
    this.#jobs++
  }

  // ---------------------------------------------------------------------------------------------------------- jobs

  /** Within the budget, unless its home stood still in between or the job waits in line. */
  decided(home: SimulatedPeer, job: UserJob): void {
    const { placing } = job
    if (placing === undefined) this.fail(`${job.id} was decided though nobody asked`)
    if (job.request.wait || job.queued === true || placing.change !== home.change) return
    const ms = home.now - placing.since
    if (ms > PLACE_BUDGET_MS + EPSILON_MS) this.fail(`${job.id} was placed after ${ms} ms`)
  }

  ran(job: UserJob): void {
    if (job.runs > 1) this.fail(`${job.id} ran ${job.runs} times`)
    const [outcome] = job.outcomes
    if (outcome === 'unplaceable' || outcome === 'cancelled') this.fail(`${job.id} is ${outcome} and ran`)
  }

  /** Only own machines vouch for each other: over a friend the way ends at its first hop. */
  vouched(job: UserJob, kinds: readonly PairingKind[]): void {
    if (kinds.length > 1 && kinds.includes('friend')) this.fail(`${job.id} goes over ${kinds.join(', ')} machines`)
  }

  lost(job: UserJob, attempt: Attempt): void {
    if (!attempt.sent) this.fail(`${job.id} is lost though its start was never handed over`)
  }

  over(job: UserJob): void {
    if (job.outcomes.length > 1) this.fail(`${job.id} is ${job.outcomes.join(' and ')}`)
    const [outcome] = job.outcomes
    if (outcome === 'exited' && job.runs !== 1) this.fail(`${job.id} exited and ran ${job.runs} times`)
    if ((outcome === 'unplaceable' || outcome === 'cancelled') && job.runs > 0) {
      this.fail(`${job.id} is ${outcome} and ran`)
    }
  }

  // ----------------------------------------------------------------------------------------------------- messages

  /** The paper's own probes walk in circles, as it has them; they are no breach. */
  sent(from: PeerId, to: PeerId, message: OverlayMessage): void {
    if (message.type === 'advertisement') {
      const { entries } = message
      if (entries.length > MAX_ENTRIES) this.fail(`${from} tells ${to} of ${entries.length} peers at once`)
      for (const { origin, hopsLeft } of entries) {
        if (origin === to) this.fail(`${from} tells ${to} about itself`)
        if (!(hopsLeft >= 0 && hopsLeft <= MAX_HOPS)) this.fail(`${from} sends a record ${hopsLeft} hops on`)
      }
    } else if (message.type === 'probe') {
      const { id, path, hopsLeft, waitMs } = message
      const walk = path.join(' > ')
      if (path.at(-1) !== from) this.fail(`${from} forwards probe ${id}, whose path is ${walk}`)
      if (path.includes(to) || new Set(path).size < path.length) this.fail(`probe ${id} goes ${walk} > ${to}`)
      if (!(waitMs >= 0 && waitMs <= PLACE_BUDGET_MS + EPSILON_MS)) this.fail(`probe ${id} is waited for ${waitMs} ms`)
      if (path.length > MAX_HOPS) this.fail(`probe ${id} goes too far: ${walk} > ${to}`)
      if (!(hopsLeft >= 0 && hopsLeft <= MAX_HOPS)) this.fail(`probe ${id} goes ${hopsLeft} hops on`)
    }
  }

  // -------------------------------------------------------------------------------------------------------- peers

  stepped(peer: SimulatedPeer): void {
    const { slots } = peer.machine.spec
    const promised = peer.core.ownRecord(peer.now).guestDemand
    if (promised > slots) this.fail(`${peer.id} promised ${promised} of ${slots} slots`)
    let held = 0
    for (const { wanted } of peer.guests.values()) held += wanted
    if (held > promised + 1e-9) this.fail(`${peer.id} runs guests for ${held} slots and promised ${promised}`)
    const most = ENTRIES_PER_JOB * (this.#jobs + 1)
    if (peer.core.remembered > most) this.fail(`${peer.id} remembers ${peer.core.remembered} things`)
  }

  // ---------------------------------------------------------------------------------------------------- at the end

  /** All is quiet: every job has its outcome, every slot is back, and in a day nothing is remembered of anyone. */
  quiet(peers: readonly SimulatedPeer[], jobs: Iterable<UserJob>): void {
    for (const job of jobs) {
      if (job.outcomes.length === 0) this.fail(`nothing became of ${job.id}: ${JSON.stringify(job)}`)
    }
    for (const peer of peers) {
      if (peer.state === 'down') continue
      const { guestDemand, homeDemand, memoryPromised } = peer.core.ownRecord(peer.now)
      if (guestDemand !== 0) this.fail(`${peer.id} still promises ${guestDemand} slots`)
      if (homeDemand !== 0) this.fail(`${peer.id} still counts ${homeDemand} cores for own jobs`)
      if (memoryPromised !== 0) this.fail(`${peer.id} still promises ${memoryPromised} bytes`)
      for (const effect of peer.core.handleTimer(peer.now + DAY_MS)) {
        if (effect.type === 'dismiss') peer.admitted.delete(effect.home)
      }
      if (peer.admitted.size > 0) this.fail(`${peer.id} still lets in ${[...peer.admitted].join(', ')}`)
      if (peer.core.remembered !== 0) this.fail(`${peer.id} still remembers ${peer.core.remembered} things`)
    }
  }
}
