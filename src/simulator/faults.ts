/**
 * Random fault schedules: a household, jobs of every kind, and whatever can go wrong while they run; then peace for so long
 * that all must be over. The checkers look on all the time, so a schedule either holds or throws.
 */

import type { PlaceRequest } from '../core/types.ts'
import { between, integer, pick, type Random, randomFrom, seedFor } from './random.ts'
import { machineOf } from './scenario.ts'
import type { Strategy } from './simulated-core.ts'
import { Simulation } from './simulation.ts'
import { type Edge, edgesOf, TOPOLOGIES } from './topology.ts'
import type { Outcome, UserJob } from './user-job.ts'
import { requestFor } from './workload.ts'

/** Jobs are asked for, and faults begin, within this time; each fault is over soon after, ms. */
const TROUBLE_MS = 30_000
const FROM_MS = 2_000
const LONGEST_FAULT_MS = 20_000
/** After the last fault whoever can be placed is placed within this time, ms, and all ends within the longer one. */
const PEACE_MS = 150_000
const LONGEST_WORK_MS = 1_000_000
const MAX_JOBS = 60
const MAX_FAULTS = 24

export interface FaultPlan {
  seed: number
  peers: number
  strategy: Strategy
  /** Nothing goes wrong: then no job may be lost. */
  calm: boolean
}

export interface FaultReport {
  outcomes: Record<Outcome, number>
  /** Jobs that were given a ticket. */
  shipped: number
  /** Of them, those that went over more than one hop. */
  farther: number
  hash: string
}

/** Throws CheckFailure, which names the seed, for the first breach. */
export function runFaults(plan: FaultPlan): FaultReport {
  const random = randomFrom(seedFor(plan.seed, 'faults'))
  const topology = pick(random, TOPOLOGIES)
  const edges = edgesOf(topology, plan.peers, random)
  const simulation = simulationOf(plan, topology, edges, random)
  submitJobs(simulation, random, plan.calm)
  if (!plan.calm) {
    simulation.network.unreliability.loss = pick(random, [0, 0, 0.02, 0.2])
    simulation.network.unreliability.late = pick(random, [0, 0.3])
    simulation.network.unreliability.duplication = pick(random, [0, 0.3])
    for (let fault = integer(random, 0, MAX_FAULTS); fault > 0; fault--) {
      simulation.time.at(between(random, FROM_MS, TROUBLE_MS), () => breakSomething(simulation, edges, random))
    }
  }
  simulation.time.runUntil(TROUBLE_MS + LONGEST_FAULT_MS)
  Object.assign(simulation.network.unreliability, { loss: 0, late: 0, duplication: 0 })
  for (const { index } of simulation.peers) simulation.setOwner(index, 0)
  simulation.time.runUntil(simulation.time.now + PEACE_MS, () => simulation.execution.open === 0)
  giveUpHopeless(simulation)
  simulation.runToEnd(simulation.time.now + LONGEST_WORK_MS)
  return report(simulation, plan.calm)
}

function simulationOf({ seed, peers, strategy, calm }: FaultPlan, label: string, edges: Edge[], random: Random) {
  const machines = Array.from({ length: peers }, () => {
    const cores = integer(random, 1, 8)
    return { ...machineOf(cores, between(random, 0.3, 1)), slots: pick(random, [0, 1, cores, 2 * cores]) }
  })
  const delayMs = calm ? 1 : pick(random, [0.2, 1, 10, 40])
  const joinsAt = new Map<number, number>()
  if (!calm)
    for (let count = integer(random, 0, 2); count > 0; count--) {
      joinsAt.set(integer(random, 0, peers - 1), between(random, FROM_MS, TROUBLE_MS))
    }
  return new Simulation({
    seed,
    label: `${calm ? 'calm' : 'faults'}, ${label} of ${peers}, ${strategy.name}`,
    machines,
    edges,
    friends: random() < 0.5 ? [] : edges.filter(() => random() < 0.2),
    quality: { delayMs, jitterMs: pick(random, [0, delayMs, 3 * delayMs]) },
    strategy,
    clockDrift: pick(random, [0, 1e-4, 1e-2]),
    startTimeoutMs: pick(random, [300, 2_000]),
    joinsAt
  })
}

function submitJobs(simulation: Simulation, random: Random, calm: boolean): void {
  const last = simulation.peers.length - 1
  const homes = Array.from({ length: integer(random, 1, 4) }, () => integer(random, 0, last))
  for (let count = integer(random, 1, MAX_JOBS); count > 0; count--) {
    const home = random() < 0.7 ? pick(random, homes) : integer(random, 0, last)
    const demand = pick(random, [1, 1, 1, 0.5, 2, 16])
    const changes: Partial<PlaceRequest> = { remote: random() < 0.2, wait: random() < 0.3 }
    const at = between(random, FROM_MS, TROUBLE_MS)
    const workMs = pick(random, [1, 50, 500, 5_000])
    const cancelled = random() < 0.1 ? between(random, 0, 300) : undefined
    simulation.time.at(at, () => {
      const job = simulation.submit({ at, home, workMs, request: requestFor(demand, changes) })
      if (cancelled !== undefined) simulation.time.after(cancelled, () => simulation.execution.cancel(job))
    })
    // A burst now and then, so that several probes meet at one target.
    if (random() < 0.2) burst(simulation, { at, home, workMs, demand }, integer(random, 2, calm ? 4 : 12))
  }
}

function burst(
  simulation: Simulation,
  { at, home, workMs, demand }: { at: number; home: number; workMs: number; demand: number },
  count: number
): void {
  for (let index = 0; index < count; index++) {
    simulation.time.at(at, () => simulation.submit({ at, home, workMs, request: requestFor(demand) }))
  }
}

/** One fault, of a random kind, for a random time. */
function breakSomething(simulation: Simulation, edges: readonly Edge[], random: Random): void {
  const { network, peers } = simulation
  const one = integer(random, 0, peers.length - 1)
  const other = integer(random, 0, peers.length - 1)
  const [a, b] = pick(random, edges)
  const forMs = pick(random, [20, 200, 1_000, 4_000, 10_000, LONGEST_FAULT_MS])
  const kinds: (() => void)[] = [
    () => network.cut(a, b, forMs),
    () => network.cut(one, other, forMs),
    () => network.block(a, b, forMs),
    () => network.block(one, other, forMs),
    () =>
      network.partition(
        peers.map(() => integer(random, 0, 1)),
        forMs
      ),
    () =>
      network.partition(
        peers.map(({ index }) => (index === one ? 1 : 0)),
        forMs
      ),
    () => simulation.crash(one, forMs),
    () => simulation.crash(one, forMs),
    () => simulation.mute(one, forMs),
    () => simulation.mute(one, forMs),
    () => simulation.leave(one),
    () => simulation.setOwner(one, integer(random, 0, 4)),
    () => {
      simulation.setLending(one, 'its owner paused lending')
      simulation.time.after(forMs, () => simulation.setLending(one, undefined))
    }
  ]
  pick(random, kinds)()
}

/** A job that must run elsewhere and rather waits may wait for ever when the others have left. */
function giveUpHopeless(simulation: Simulation): void {
  for (const job of simulation.jobs) if (isHopeless(job)) simulation.execution.cancel(job)
}

function isHopeless({ request, outcomes }: UserJob): boolean {
  return outcomes.length === 0 && request.wait && request.remote
}

function report(simulation: Simulation, calm: boolean): FaultReport {
  const outcomes = { exited: 0, killed: 0, lost: 0, unplaceable: 0, cancelled: 0, orphaned: 0 }
  let shipped = 0
  let farther = 0
  for (const job of simulation.jobs) {
    const [outcome] = job.outcomes
    outcomes[outcome!]++
    if (job.attempt !== undefined) shipped++
    if (job.hops > 1) farther++
    if (calm && (outcome === 'lost' || outcome === 'killed' || outcome === 'orphaned')) {
      simulation.checker.fail(`${job.id} is ${outcome} though nothing went wrong`)
    }
  }
  return { outcomes, shipped, farther, hash: simulation.transcript.hash }
}
