/** One run of one placement under one workload, and what came of it. */

import { DISTURBED_LOSS, disturb } from './disturbances.ts'
import type { Costs, MachineSpec } from './machine.ts'
import { between, integer, type Random, randomFrom, seedFor } from './random.ts'
import type { Strategy } from './simulated-core.ts'
import { type MessageType, Simulation } from './simulation.ts'
import { meanOf, quantileOf } from './statistics.ts'
import { edgesOf, type TopologyName } from './topology.ts'
import type { Order } from './user-job.ts'
import { type Homes, ordersOf, ownerChanges, type WorkloadName } from './workload.ts'

export interface Scenario {
  topology: TopologyName
  peers: number
  strategy: Strategy
  workload: WorkloadName
  homes: Homes
  /** Work asked for of all that can be done; 0: nobody asks for anything. */
  load: number
  /** Part of its cores that each owner uses on average. */
  owners: number
  /** Chance of each message to be lost. */
  loss: number
  /** ms during which jobs are asked for. */
  durationMs: number
  seed: number
  /** One for each peer, the first being the weak home; drawn by the seed unless given. */
  machines?: readonly MachineSpec[]
  /** Whether jobs have names, by which homes learn; not unless given. */
  learn?: boolean
  /** Machines that tell others that they are BOAST times as fast as they are; none unless given. */
  liars?: number
  /** Machines whose benchmark was wrong: they believe that they are BOAST times as fast as they are; none unless given. */
  misjudging?: number
  /** Machines that get SLOWER times slower after a while, and don't know; none unless given. */
  throttled?: number
  /** Whether kappa's own work for each job takes time, so that what is short is not worth the way; not unless given. */
  costs?: boolean
  /** Jobs asked for sooner than so many ms after the first count for nothing; all count unless given. */
  settleMs?: number
  /**
   * Each minute one partition and one crash, and DISTURBED_LOSS of all messages lost; not unless given. Who learns that a job
   * was lost asks for it again at once. Jobs whose own home went off are not counted: nobody is left who waits for them.
   */
  faulty?: boolean
}

export interface Result {
  jobs: number
  meanMs: number
  medianMs: number
  p99Ms: number
  /** Of all jobs; those at home count 0. */
  meanHops: number
  /** Part of the jobs that ran elsewhere. */
  shipped: number
  /** Part of the jobs that were asked for again, and that lost their home. */
  again: number
  orphaned: number
  /** Sent for each neighbour in each second. */
  messages: Record<MessageType, number>
  /** The same for the same scenario, always. */
  hash: string
  events: number
}

/** Peers find each other before anything is measured. */
const WARM_UP_MS = 10_000
/** A machine of the household, and the one where half of the work is asked for. */
const CORES = { least: 2, most: 8 }
const SPEED = { least: 0.3, most: 1 }
const MEMORY_BYTES = 16 * 2 ** 30
const BOAST = 10
const SLOWER = 5
const SLOWER_AFTER_MS = 30_000
/** As measured: from the ticket to the command in its sandbox, more than at home. */
const GUEST_START_MS = 8
/** As measured: of the client and the daemon at home, and of the sandbox on the target, ms of CPU. */
const COSTS: Costs = { daemon: 0, placed: 2, shipped: 5, guest: 7 }
/** One way over a household's network, and what varies of it. */
const LINK = { delayMs: 0.4, jitterMs: 0.2 }
const CLOCK_DRIFT = 1e-4
const START_TIMEOUT_MS = 2_000
/** Owners go on for so long after the last job was asked for; then they leave, so that all comes to an end. */
const OWNERS_STAY_MS = 600_000
/** The last job must be over by then. */
const PATIENCE_MS = 24 * 3_600_000

export function machineOf(cores: number, speed: number): MachineSpec {
  return { cores, speed, memoryBytes: MEMORY_BYTES, slots: 2 * cores }
}

export function machinesOf(peers: number, random: Random): MachineSpec[] {
  return Array.from({ length: peers }, () =>
    machineOf(integer(random, CORES.least, CORES.most), between(random, SPEED.least, SPEED.most))
  )
}

/** The same machines, pairings, owners and jobs for every strategy. */
export function run(scenario: Scenario): Result {
  const { simulation, toMs } = prepare(scenario)
  simulation.time.runUntil(WARM_UP_MS)
  const before = { ...simulation.messages }
  simulation.time.runUntil(toMs)
  const seconds = (toMs - WARM_UP_MS) / 1_000
  const messages = { ...simulation.messages }
  for (const type of Object.keys(messages) as MessageType[]) {
    messages[type] = (messages[type] - before[type]) / simulation.neighbourCount / seconds
  }
  simulation.runToEnd(toMs + PATIENCE_MS)
  const all = [...simulation.jobs]
  const fromMs = WARM_UP_MS + (scenario.settleMs ?? 0)
  const jobs = all.filter(({ outcomes, at, firstAt }) => outcomes[0] === 'exited' && (firstAt ?? at) >= fromMs)
  const times = jobs.map(({ at, firstAt, endedAt }) => endedAt! - (firstAt ?? at))
  return {
    jobs: jobs.length,
    meanMs: meanOf(times),
    medianMs: quantileOf(times, 0.5),
    p99Ms: quantileOf(times, 0.99),
    meanHops: meanOf(jobs.map(({ hops }) => hops)),
    shipped: jobs.filter(({ home, target }) => target !== home).length / jobs.length,
    again: jobs.filter(({ firstAt }) => firstAt !== undefined).length / jobs.length,
    orphaned: all.filter(({ outcomes }) => outcomes[0] === 'orphaned').length / all.length,
    messages,
    hash: simulation.transcript.hash,
    events: simulation.time.happened
  }
}

function householdOf({ machines, peers }: Scenario, random: Random): { machines: MachineSpec[]; weakHome: number } {
  if (machines !== undefined) return { machines: [...machines], weakHome: 0 }
  const drawn = machinesOf(peers, random)
  const weakHome = integer(random, 0, peers - 1)
  drawn[weakHome] = machineOf(CORES.least, SPEED.least)
  return { machines: drawn, weakHome }
}

function prepare(scenario: Scenario): { simulation: Simulation; toMs: number } {
  const { seed, topology, peers, strategy, owners, load } = scenario
  const random = randomFrom(seedFor(seed, 'household'))
  const { machines, weakHome } = householdOf(scenario, random)
  const others = machines.filter((_, index) => index !== weakHome)
  for (const machine of others.slice(0, scenario.liars ?? 0)) machine.lies = BOAST
  for (const machine of others.slice(0, scenario.misjudging ?? 0)) machine.misjudges = BOAST
  if (scenario.costs) for (const machine of machines) machine.costs = COSTS
  const edges = edgesOf(topology, peers, random)
  const simulation = new Simulation({
    seed,
    label: `${topology} of ${peers}, ${scenario.workload} at ${load}, ${strategy.name}`,
    machines,
    edges,
    quality: LINK,
    strategy,
    clockDrift: CLOCK_DRIFT,
    startTimeoutMs: START_TIMEOUT_MS,
    guestStartMs: scenario.costs ? GUEST_START_MS : 0,
    over: ({ id, outcomes, at, firstAt }) => {
      const [outcome] = outcomes
      if (outcome === 'lost' || outcome === 'killed') ask({ ...asked.get(id)!, firstAt: firstAt ?? at })
    }
  })
  /** Orders by job. */
  const asked = new Map<string, Order>()
  const ask = (order: Order) => {
    asked.set(simulation.submit({ ...order, at: simulation.time.now }).id, order)
  }
  for (const machine of others.slice(0, scenario.throttled ?? 0)) {
    const index = machines.indexOf(machine)
    simulation.time.at(WARM_UP_MS + SLOWER_AFTER_MS, () => simulation.slowDown(index, SLOWER))
  }
  simulation.network.unreliability.loss = Math.max(scenario.loss, scenario.faulty ? DISTURBED_LOSS : 0)
  const toMs = WARM_UP_MS + scenario.durationMs
  const changes = ownerChanges(machines, owners, toMs + OWNERS_STAY_MS, randomFrom(seedFor(seed, 'owners')))
  for (const { at, peer, tasks } of changes) simulation.time.at(at, () => simulation.setOwner(peer, tasks))
  if (load > 0) {
    const { workload: name, homes } = scenario
    const orders = ordersOf({
      name,
      homes,
      machines,
      weakHome,
      load,
      owners,
      fromMs: WARM_UP_MS,
      toMs,
      random: randomFrom(seedFor(seed, 'workload')),
      commands: scenario.learn ?? false
    })
    for (const order of orders) simulation.time.at(order.at, () => ask(order))
  }
  if (scenario.faulty)
    disturb(simulation, edges, { fromMs: WARM_UP_MS, toMs }, randomFrom(seedFor(seed, 'disturbances')))
  return { simulation, toMs }
}
