/** Peers on real cores, joined as written (`AB BC`), and what one knows of the others by an information policy. */

import type { PeerCore } from '../../../src/core/peer-core.ts'
import type { Advertisement, Effect, PairingKind, PeerId } from '../../../src/core/types.ts'
import { peer, rules, sample } from '../scenario.ts'

export class Household {
  readonly cores = new Map<PeerId, PeerCore>()
  /** Advertisements since it was last asked for: `A>B ABC`, with the origins told. */
  #said: string[] = []
  readonly #information: string

  constructor(information: string, edges: string, kinds: Record<string, PairingKind> = {}, random = () => 0) {
    this.#information = information
    for (const edge of edges.split(' ')) {
      const [a, b] = [...edge] as [PeerId, PeerId]
      const kind = kinds[edge] ?? 'own'
      for (const [one, other] of [
        [a, b],
        [b, a]
      ] as const) {
        const core = this.#core(one, random)
        core.handleSample(sample(), 0)
        this.perform(one, core.handleNeighbourUp(other, { kind, name: other }, 0), 0)
      }
    }
    // Something goes on somewhere, so that nobody rests.
    for (const [id, core] of this.cores) this.perform(id, core.homeJobEnded('none', 1), 1)
    this.take()
  }

  of(id: PeerId): PeerCore {
    return this.cores.get(id)!
  }

  /** Every timer that is due by then, in order of time, one peer after the other. */
  until(now: number): this {
    for (let at = 0; at <= now; ) {
      const next = Math.min(...[...this.cores.values()].map((core) => core.nextTimer() ?? Number.POSITIVE_INFINITY))
      at = Math.max(at, next)
      if (at > now) break
      for (const [id, core] of this.cores) this.perform(id, core.handleTimer(at), at)
    }
    return this
  }

  knows(id: PeerId, now: number): string {
    const { reachable } = this.of(id).view(now)
    return reachable
      .map(({ peer: origin, hops }) => `${origin}${hops}`)
      .sort()
      .join(' ')
  }

  take(): string[] {
    return this.#said.splice(0)
  }

  perform(id: PeerId, effects: Effect[], now: number): void {
    for (const effect of effects) {
      if (effect.type !== 'send') continue
      const { to, message } = effect
      if (message.type === 'advertisement') this.#said.push(`${id}>${to} ${origins(message)}`)
      if (this.cores.has(to)) this.perform(to, this.of(to).handleMessage(id, message, now), now)
    }
  }

  #core(id: PeerId, random: () => number): PeerCore {
    const known = this.cores.get(id)
    if (known !== undefined) return known
    const made = peer(id, { information: this.#information, rules: rules(), random })
    this.cores.set(id, made)
    return made
  }
}

function origins({ entries, partial }: Advertisement): string {
  return entries.map(({ origin }) => origin).join('') + (partial ? '+' : '')
}
