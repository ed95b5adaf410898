/** What does the decision alone cost: from the request to the placement, without any network? */

import { PeerCore } from '../src/core/peer-core.ts'
import type { Effect, MachineSample, OwnerRules } from '../src/core/types.ts'
import { type Benchmark, median, quantile, type Result, round } from './measure.ts'

const DECISIONS = 20_000
const SAMPLE: MachineSample = {
  benchmarkVersion: 1,
  speed: 1,
  cores: 4,
  idleCores: 4,
  runnable: 0,
  memoryAvailable: 8e9,
  memoryTotal: 16e9
}
const RULES: OwnerRules = {
  slots: 8,
  memoryFloor: 0,
  labels: [],
  class: { os: 'linux', arch: 'x64', cpuLevel: 3, pageSize: 4096, modes: ['plain', 'staged'] },
  homeSlots: 4,
  forward: 8
}

function peer(name: string, sample: MachineSample): PeerCore {
  let count = 0
  const core = new PeerCore({
    self: name,
    name,
    epoch: 1,
    metricPolicy: 'product',
    rules: RULES,
    random: () => 0.5,
    newId: () => name.charCodeAt(0).toString(16) + (++count).toString(16).padStart(30, '0'),
    hasTool: () => true,
    banned: () => false,
    addresses: () => []
  })
  core.handleSample(sample, 0)
  return core
}

/** Three neighbours; home is busy, so every decision takes a probe and its reply. */
async function run(): Promise<Result> {
  const home = peer('home', { ...SAMPLE, idleCores: 0, runnable: 8 })
  const others = new Map(['a', 'b', 'c'].map((name) => [name, peer(name, SAMPLE)]))
  const pump = (from: string, effects: Effect[], now: number): Effect | undefined => {
    for (const effect of effects) {
      if (effect.type === 'send') {
        const to = effect.to === 'home' ? home : others.get(effect.to)!
        const decided = pump(effect.to, to.handleMessage(from, effect.message, now), now)
        if (decided) return decided
      } else if (effect.type === 'placed') return effect
    }
    return undefined
  }
  for (const [name, core] of others) {
    pump('home', home.handleNeighbourUp(name, { kind: 'own', name }, 0), 0)
    pump(name, core.handleNeighbourUp('home', { kind: 'own', name: 'home' }, 0), 0)
  }
  const request = {
    needs: { demand: 1, memoryBytes: 5e8, mode: 'plain' as const, tools: [], labels: [] },
    local: false,
    remote: false,
    on: [],
    not: [],
    wait: false,
    transferFactor: 1.05
  }
  const micros: number[] = []
  for (let index = 0; index < DECISIONS; index++) {
    const now = index
    const id = `job${index}`
    home.handleSample({ ...SAMPLE, idleCores: 0, runnable: 8 }, now)
    for (const core of others.values()) core.handleSample(SAMPLE, now)
    const began = performance.now()
    const placed = pump('home', home.place(id, request, now), now)
    micros.push((performance.now() - began) * 1000)
    if (placed?.type !== 'placed' || placed.where !== 'there') throw new Error(`not placed: ${JSON.stringify(placed)}`)
    const target = others.get(placed.ticket.target)!
    const start = target.startTicket('home', placed.ticket.id, now)
    if (!start.accepted) throw new Error(`the ticket was refused: ${start.reason}`)
    pump(placed.ticket.target, target.guestJobEnded(placed.ticket.id, { exitCode: 0, signal: null }, now), now)
    target.forgetTicket('home', placed.ticket.id)
  }
  return {
    question: 'The decision alone: home and target together, three neighbours, without a network',
    rows: [
      {
        what: 'place, probe, reserve, reply',
        values: { 'median µs': round(median(micros)), 'p99 µs': round(quantile(micros, 0.99)) }
      }
    ],
    notes: []
  }
}

export const benchmark: Benchmark = { question: 'The decision alone', run }
