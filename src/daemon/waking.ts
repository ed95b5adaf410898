/** Wakes paired machines that sleep, and lets them wake this one. */

import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import type { PairingKind, PeerId } from '../core/types.ts'
import { messageOf } from '../errors.ts'
import { hostAndPort } from '../network/addresses.ts'
import { ownHardware, sendMagicPackets } from '../network/magic-packet.ts'
import type { NeighbourConnections } from '../network/neighbours.ts'
import type { Pairing } from '../network/pairing.ts'
import { WakeService } from '../protocols/wake/service.ts'
import type { Daemon } from './daemon.ts'

/** ms for a machine to come: from sleep it takes a few seconds, from off as long as its start. */
export const WAKE_MS = 60_000
/** The packets are sent again so often, ms; and it is dialled. */
const AGAIN_MS = 3_000
/** A machine that is awake answers within so many ms, be it by a refusal. */
const ANSWER_MS = 1_000
/** Who did not wake isn't waited for again for so many ms. */
const FAILED_MS = 5 * 60_000
/** ms for what it is worth to be heard of, once it is connected. */
const NEWS_MS = 5_000
const LOOK_MS = 50

/** How a wake-up ended; the text is why it failed. */
export type Woken = 'up' | 'awake' | (string & {})

export class Waking {
  readonly #daemon: Daemon
  readonly #neighbours: NeighbourConnections
  readonly #service: WakeService
  /** Wake-ups under way, for all jobs that wait for one; at most one for each pairing. */
  readonly #under = new Map<PeerId, Promise<Woken>>()
  /** Times of `performance.now()`; at most one for each pairing. */
  readonly #failed = new Map<PeerId, number>()
  readonly #stopping = new AbortController()

  constructor(daemon: Daemon, neighbours: NeighbourConnections) {
    this.#daemon = daemon
    this.#neighbours = neighbours
    this.#service = new WakeService({
      node: daemon.node,
      onHardware: (peer, addresses) => this.#learn(peer, addresses),
      onAsked: (from, peer, addresses) => this.#sendFor(from, peer, addresses),
      log: (line) => daemon.log.warn(line)
    })
  }

  async start(): Promise<void> {
    await this.#service.start()
  }

  stop(): void {
    this.#stopping.abort()
  }

  /** A neighbour is up: it learns how to wake this machine, or that it is not to. */
  async tell(peer: PeerId): Promise<void> {
    const connection = this.#neighbours.current(peer)
    if (connection === undefined) return
    this.#failed.delete(peer)
    const addresses = this.#daemon.configuration.wake ? ownHardware(hostOf(connection)) : []
    await this.#service.tell(connection, addresses)
  }

  #learn(peer: PeerId, hardware: string[]): void {
    const pairing = this.#daemon.pairings.get(peer)
    if (!pairing || pairing.hardware?.join() === hardware.join()) return
    this.#daemon.pairings
      .put({ ...pairing, hardware })
      .catch((error) => this.#daemon.log.error('how a peer can be woken could not be kept', error))
  }

  async #sendFor(from: PeerId, peer: PeerId, told: string[]): Promise<number> {
    const { configuration, pairings, log } = this.#daemon
    const kind = pairings.get(from)?.kind ?? 'friend'
    const addresses = configuration.wake ? wokenFor(kind, pairings.get(peer), told) : []
    if (addresses.length === 0) return 0
    log.info('wakes a machine', { peer: this.#daemon.nameOf(peer), for: this.#daemon.nameOf(from) })
    return sendMagicPackets(addresses)
  }

  /** Paired machines that are away and could be woken: of `among`, or all own ones. None, if one of `among` is there already. */
  sleepers(among: readonly PeerId[]): PeerId[] {
    const { pairings, peerId: self } = this.#daemon
    const isThere = (peer: PeerId) => peer === self || this.#neighbours.current(peer) !== undefined
    if (among.some(isThere)) return []
    const canWake = ({ peerId, kind, state, hardware = [] }: Pairing) =>
      state === 'paired' &&
      hardware.length > 0 &&
      !isThere(peerId) &&
      (among.includes(peerId) || (among.length === 0 && kind === 'own'))
    return [...pairings.all()].filter(canWake).map(({ peerId }) => peerId)
  }

  /** Wakes one; resolves when jobs can be placed there, or it has failed. */
  wake(peer: PeerId): Promise<Woken> {
    const under = this.#under.get(peer)
    if (under) return under
    const failedAt = this.#failed.get(peer)
    if (failedAt !== undefined && performance.now() - failedAt < FAILED_MS)
      return Promise.resolve('it did not wake a few minutes ago')
    const waking = this.#wake(peer)
      .catch((error): Woken => `it could not be woken: ${messageOf(error)}`)
      .finally(() => this.#under.delete(peer))
    this.#under.set(peer, waking)
    return waking
  }

  async #wake(peer: PeerId): Promise<Woken> {
    const { addresses = [], hardware = [] } = this.#daemon.pairings.get(peer) ?? {}
    const { log } = this.#daemon
    if (await answers(addresses)) return 'awake'
    const deadline = performance.now() + WAKE_MS
    let lans = 0
    log.info('wakes a machine', { peer: this.#daemon.nameOf(peer) })
    while (performance.now() < deadline && !this.#stopping.signal.aborted) {
      const sent = await Promise.all([sendMagicPackets(hardware), ...this.#askOthers(peer, hardware)])
      lans += sent.reduce((sum, one) => sum + one, 0)
      if (lans === 0) return 'nobody here could send it a wake-up: no LAN, and no other machine on its own'
      if (await this.#comes(peer)) {
        log.info('is awake', { peer: this.#daemon.nameOf(peer) })
        return 'up'
      }
    }
    this.#failed.set(peer, performance.now())
    return `it was sent a wake-up and did not come within ${WAKE_MS / 1_000} s`
  }

  /** Own machines know its LAN, perhaps, and friends may be on it. */
  #askOthers(sleeper: PeerId, hardware: string[]): Promise<number>[] {
    return [...this.#daemon.pairings.all()].flatMap(({ peerId, state }) => {
      const connection = state === 'paired' ? this.#neighbours.current(peerId) : undefined
      return connection ? [this.#service.ask(connection, sleeper, hardware)] : []
    })
  }

  /** Within AGAIN_MS; once it is connected, until it has said what it is worth. */
  async #comes(peer: PeerId): Promise<boolean> {
    const signal = AbortSignal.any([AbortSignal.timeout(AGAIN_MS), this.#stopping.signal])
    try {
      await this.#neighbours.connectionTo(peer, signal)
    } catch {
      return false
    }
    const { driver, clock } = this.#daemon
    for (const deadline = performance.now() + NEWS_MS; performance.now() < deadline; await delay(LOOK_MS)) {
      if (driver.core.view(clock.now()).reachable.some((known) => known.peer === peer)) return true
    }
    return this.#neighbours.current(peer) !== undefined
  }
}

/**
 * Where packets go when a neighbour asks for them: for an own machine also to one that only it knows; for a friend to none but
 * those that this machine is paired with. What a sleeper said itself counts before what is told of it.
 */
export function wokenFor(kind: PairingKind, sleeper: Pairing | undefined, told: string[]): string[] {
  if (sleeper?.state === 'paired' && sleeper.hardware !== undefined) return sleeper.hardware
  return kind === 'own' ? told : []
}

/** The IP address at the other end. */
function hostOf({ remoteAddr }: Connection): string {
  return remoteAddr.getComponents()[0]?.value ?? ''
}

/** Whether a machine is awake at one of these addresses: who sleeps doesn't even refuse. This one doesn't count. */
async function answers(addresses: readonly string[]): Promise<boolean> {
  const own = new Set(Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []))
  const elsewhere = addresses.filter((address) => !own.has(hostAndPort(address).host))
  const asked = elsewhere.map(
    (address) =>
      new Promise<boolean>((resolve) => {
        const socket = connect({ ...hostAndPort(address), timeout: ANSWER_MS })
        const over = (isAwake: boolean) => {
          socket.destroy()
          resolve(isAwake)
        }
        socket.once('connect', () => over(true))
        socket.once('timeout', () => over(false))
        socket.once('error', (error: NodeJS.ErrnoException) => over(error.code === 'ECONNREFUSED'))
      })
  )
  return (await Promise.all(asked)).some((isAwake) => isAwake)
}
