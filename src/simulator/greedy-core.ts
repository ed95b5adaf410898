/**
 * The measure of all placements, though no bound: whoever asks for a job knows the state of every machine at this moment,
 * decides without a message, and takes what gives this job most.
 */

import { metric } from '../core/metric.ts'
import { lackForGuest } from '../core/needs.ts'
import type { PeerCoreInit } from '../core/peer-core.ts'
import type { Effect, PeerId, PlaceRequest } from '../core/types.ts'
import { ReferenceCore } from './reference-core.ts'
import type { Oracle } from './simulated-core.ts'

export class GreedyCore extends ReferenceCore {
  readonly #maxHops: number

  /** `maxHops`: farther peers are no choice, as they are none for kappa. */
  constructor(init: PeerCoreInit, oracle: Oracle, maxHops = Number.POSITIVE_INFINITY) {
    super(init, oracle, {
      width: 0,
      rounds: 0,
      onlyFromBusy: false,
      onlyToIdle: false,
      homeIsDrawn: false,
      compares: true
    })
    this.#maxHops = maxHops
  }

  override place(jobId: string, request: PlaceRequest): Effect[] {
    const { needs } = request
    const { self } = this.init
    const target = request.local ? undefined : this.#bestOf(request)
    if (target === undefined) return [this.placedHere(jobId, needs)]
    const probeId = this.init.newId()
    const core = this.#core(target)
    const ticket = core.hold(self, probeId, needs, this.oracle.now(target))
    return [ticket === undefined ? this.placedHere(jobId, needs) : this.placedThere(jobId, probeId, ticket, 0)]
  }

  /** Undefined: nobody is better than home. Among equals by chance. */
  #bestOf({ needs, not }: PlaceRequest): PeerId | undefined {
    const { self, random } = this.init
    let best: PeerId | undefined
    let value = metric(this.record(this.oracle.truth(self)), needs.demand, { home: true })
    let equals = 0
    for (const peer of this.oracle.members()) {
      if (peer === self || not.includes(peer) || this.oracle.hops(self, peer) > this.#maxHops) continue
      const record = this.#core(peer).record(this.oracle.truth(peer))
      if (lackForGuest(record, needs) !== undefined) continue
      const here = metric(record, needs.demand, { home: false })
      if (here < value || (here === value && best === undefined)) continue
      equals = here === value ? equals + 1 : 1
      if (random() * equals < 1) best = peer
      value = here
    }
    return best
  }

  #core(peer: PeerId): GreedyCore {
    return this.oracle.core(peer) as GreedyCore
  }
}
