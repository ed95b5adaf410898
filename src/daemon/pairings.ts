/** The pairings of this peer, which are the edges of the overlay, in `pairings.json`, and the ended ones in `bans.json`. */

import { join } from 'node:path'
import { z } from 'zod'
import type { PeerId } from '../core/types.ts'
import { KappaError } from '../errors.ts'
import { MAX_BANS } from '../network/gater.ts'
import { HARDWARE_ADDRESS, MAX_HARDWARE_ADDRESSES } from '../network/magic-packet.ts'
import { MAX_ADDRESSES, MAX_PAIRINGS, type Pairing, type Pairings } from '../network/pairing.ts'
import { printable } from '../printable.ts'
import { PAIRINGS_FILE } from './identity-file.ts'
import type { Log } from './log.ts'
import { StateFile } from './state-file.ts'

const pairingSchema: z.ZodType<Pairing> = z.object({
  peerId: z.string().min(1).max(128),
  name: z.string().max(256),
  kind: z.enum(['own', 'friend']),
  state: z.enum(['pending', 'paired']),
  addresses: z.array(z.string().max(512)).max(MAX_ADDRESSES),
  hardware: z.array(z.string().regex(HARDWARE_ADDRESS)).max(MAX_HARDWARE_ADDRESSES).exactOptional()
})
const pairingsSchema = z.array(pairingSchema).max(MAX_PAIRINGS)
const bansSchema = z.array(z.string().min(1).max(128)).max(MAX_BANS)

/** Keeps pairings in memory and on disk, at most `MAX_PAIRINGS`. */
export class PairingStore implements Pairings {
  readonly #file: StateFile<Pairing[]>
  readonly #bansFile: StateFile<PeerId[]>
  readonly #pairings: Map<PeerId, Pairing>
  readonly #log: Log

  /** Reads what is stored in the directory; a damaged file is set aside, which ends the pairings. */
  constructor(state: string, log: Log) {
    this.#log = log
    this.#file = new StateFile(join(state, PAIRINGS_FILE), pairingsSchema, log)
    this.#bansFile = new StateFile(join(state, 'bans.json'), bansSchema, log)
    this.#pairings = new Map(this.#file.read()?.map((pairing) => [pairing.peerId, pairing]))
  }

  all(): Iterable<Pairing> {
    return this.#pairings.values()
  }

  get(peer: PeerId): Pairing | undefined {
    return this.#pairings.get(peer)
  }

  /** Adds or replaces a pairing; it counts at once, and is safe on the disk when this resolves. Throws PairingError when there are too many, StateError when it can't be kept. */
  async put(pairing: Pairing): Promise<void> {
    if (!this.#pairings.has(pairing.peerId) && this.#pairings.size >= MAX_PAIRINGS) {
      throw new KappaError(
        'PairingError',
        `there are ${MAX_PAIRINGS} pairings already; end one with: kappa unpair PEER`
      )
    }
    const before = this.#pairings.get(pairing.peerId)
    const now = pairingSchema.parse(pairing)
    this.#pairings.set(pairing.peerId, now)
    try {
      await this.#file.write([...this.#pairings.values()])
    } catch (error) {
      // What was not kept does not count; unless it changed again meanwhile.
      if (this.#pairings.get(pairing.peerId) === now) {
        if (before) this.#pairings.set(pairing.peerId, before)
        else this.#pairings.delete(pairing.peerId)
      }
      throw error
    }
  }

  /** Ends a pairing at once; false when there was none. Throws StateError when that can't be kept, which is logged too. */
  async remove(peer: PeerId): Promise<boolean> {
    if (!this.#pairings.delete(peer)) return false
    try {
      await this.#file.write([...this.#pairings.values()])
    } catch (error) {
      this.#log.error('the end of a pairing could not be kept: it will count again after a restart', error)
      throw error
    }
    return true
  }

  /** Peers whose pairing was ended here, as last kept; at most `MAX_BANS`, oldest first. */
  bans(): PeerId[] {
    return this.#bansFile.read() ?? []
  }

  /** Keeps them for the next start; a failure is logged. */
  keepBans(bans: PeerId[]): void {
    this.#bansFile.write(bans).catch((error) => this.#log.error('the ended pairings could not be kept', error))
  }

  /** The pairing that a person means: a name (in any case), or the start of a peer ID. Throws UnknownPeerError, AmbiguousNameError. */
  find(text: string): Pairing {
    const all = [...this.#pairings.values()]
    const exact = all.filter(({ peerId, name }) => peerId === text || name === text)
    const named = exact.length > 0 ? exact : all.filter(({ name }) => name.toLowerCase() === text.toLowerCase())
    const found = named.length > 0 ? named : all.filter(({ peerId }) => text !== '' && peerId.startsWith(text))
    const [first, ...others] = found
    if (first === undefined) throw unknownPeer(text, all)
    if (others.length === 0) return first
    const list = found.map(({ peerId, name }) => `${printable(name)} (${peerId})`).join(', ')
    throw new KappaError('AmbiguousNameError', `"${printable(text)}" may be ${list}; give more of the peer ID`)
  }
}

function unknownPeer(text: string, all: Pairing[]): KappaError {
  const names = all.map(({ name }) => printable(name)).join(', ')
  const advice = names ? `paired are: ${names}` : 'none is paired yet; begin with: kappa pair'
  return new KappaError('UnknownPeerError', `no paired machine is called "${printable(text)}"; ${advice}`)
}
