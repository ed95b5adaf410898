/** Builders for the core's tests: machines, jobs and peers with everything ordinary but what the test is about. */

import { PeerCore, type PeerCoreInit } from '../../src/core/peer-core.ts'
import type {
  AdvertisementEntry,
  Effect,
  MachineClass,
  MachineRecord,
  MachineSample,
  Needs,
  OverlayMessage,
  OwnerRules,
  PeerId,
  PlaceRequest,
  Probe,
  ProbeReply
} from '../../src/core/types.ts'

export const GiB = 2 ** 30

export const LINUX: MachineClass = { os: 'linux', arch: 'x64', cpuLevel: 3, pageSize: 4096, modes: ['plain', 'staged'] }

/** An idle machine of four cores and the reference's speed. */
export function sample(changes: Partial<MachineSample> = {}): MachineSample {
  const cores = changes.cores ?? 4
  return {
    benchmarkVersion: 1,
    speed: 1,
    cores,
    idleCores: cores,
    runnable: 0,
    memoryAvailable: 8 * GiB,
    memoryTotal: 16 * GiB,
    ...changes
  }
}

export function record(changes: Partial<MachineRecord> = {}): MachineRecord {
  const base = sample(changes)
  return {
    ...base,
    homeDemand: 0,
    guestDemand: 0,
    memoryPromised: 0,
    memoryFloor: 0,
    slots: 2 * base.cores,
    class: LINUX,
    labels: [],
    ...changes
  }
}

export function rules(changes: Partial<OwnerRules> = {}): OwnerRules {
  return { slots: 8, memoryFloor: 0, labels: [], class: LINUX, homeSlots: 4, forward: 8, ...changes }
}

export function needs(changes: Partial<Needs> = {}): Needs {
  return { demand: 1, memoryBytes: GiB / 2, mode: 'plain', tools: [], labels: [], ...changes }
}

export function request(changes: Partial<PlaceRequest> = {}): PlaceRequest {
  return { needs: needs(), local: false, remote: false, on: [], not: [], wait: false, transferFactor: 1.05, ...changes }
}

/** A peer named `self` whose ids are `self-1`, `self-2`, … and whose random number is always 0. */
export function peer(self: PeerId, changes: Partial<PeerCoreInit> = {}): PeerCore {
  let ids = 0
  return new PeerCore({
    self,
    name: self,
    epoch: 1,
    metricPolicy: 'product',
    rules: rules(),
    random: () => 0,
    newId: () => `${self}-${++ids}`,
    hasTool: () => true,
    banned: () => false,
    addresses: () => [`/${self}`],
    ...changes
  })
}

export function entry(
  origin: PeerId,
  changes: Partial<MachineRecord> = {},
  sequence = 1,
  epoch = 1
): AdvertisementEntry {
  return { origin, epoch, sequence, ageMs: 0, hopsLeft: 3, hops: 1, name: origin, record: record(changes) }
}

export function advertisement(origin: PeerId, changes: Partial<MachineRecord> = {}, sequence = 1): OverlayMessage {
  return { type: 'advertisement', periodMs: 1_000, idleMs: 300_000, entries: [entry(origin, changes, sequence)] }
}

/** A probe of `home` for this peer itself. */
export function probe(id: string, changes: Partial<Probe> = {}, asked: Partial<Needs> = {}): Probe {
  return {
    type: 'probe',
    id,
    origin: 'home',
    needs: needs(asked),
    path: ['home'],
    hopsLeft: 0,
    best: 0,
    waitMs: 400,
    avoid: [],
    only: [],
    ...changes
  }
}

/** Connects a neighbour and has it say what it is. */
export function join(core: PeerCore, other: PeerId, now: number, changes: Partial<MachineRecord> = {}): void {
  core.handleNeighbourUp(other, { kind: 'own', name: other }, now)
  core.handleMessage(other, advertisement(other, changes), now)
}

/** What was sent, without the advertisements that accompany everything. */
export function sends(effects: Effect[]): { to: PeerId; message: OverlayMessage }[] {
  return effects.flatMap((effect) =>
    effect.type === 'send' && effect.message.type !== 'advertisement'
      ? [{ to: effect.to, message: effect.message }]
      : []
  )
}

/** The one answer to a probe among the effects. */
export function replyOf(effects: Effect[]): ProbeReply {
  for (const { message } of sends(effects)) if (message.type === 'probe-reply') return message
  throw new Error('no probe reply was sent')
}

/** Short forms of all effects but advertisements: `probe id>peer`, `placed here`, `queued 1`, … */
export function gist(effects: Effect[]): string[] {
  return effects.flatMap((effect) => {
    if (effect.type === 'sample') return ['sample']
    if (effect.type === 'queued') return [`queued ${effect.jobId} ${effect.position}`]
    if (effect.type === 'unplaceable') return [`unplaceable ${effect.jobId}: ${effect.trace.reason}`]
    if (effect.type === 'placed') {
      const where = effect.where === 'here' ? 'here' : `there ${effect.ticket.id}`
      return [`placed ${effect.jobId} ${where}: ${effect.reason}`]
    }
    if (effect.type === 'admit' || effect.type === 'dismiss') return [`${effect.type} ${effect.home}`]
    const { to, message } = effect
    if (message.type === 'advertisement' || message.type === 'paper-metric') return []
    if (message.type === 'pull') return [`pull ${message.to}>${to}`]
    if (message.type !== 'probe-reply') return [`${message.type} ${message.id}>${to}`]
    const codes = message.refusals.map(({ code }) => code).join('+') || 'nobody'
    const outcome = message.ticket === undefined ? codes : `ticket ${message.ticket.id}`
    const further = message.bestAt === undefined || message.ticket !== undefined ? '' : ` at ${message.bestAt}`
    return [`${outcome}${further} ${message.id}>${to}`]
  })
}

export function advertised(effects: Effect[]): PeerId[] {
  return effects.flatMap((effect) =>
    effect.type === 'send' && effect.message.type === 'advertisement' ? [effect.to] : []
  )
}
