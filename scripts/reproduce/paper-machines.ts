/** The three machines of the Kappa paper, simulated: alike, in a line, with its metric, and loops that their owners run. */

import { metric } from '../../src/core/metric.ts'
import { PeerCore } from '../../src/core/peer-core.ts'
import type { Candidate, MachineRecord, MetricPolicy, PlacementTrace } from '../../src/core/types.ts'
import { LoadSampler } from '../../src/simulator/load-sampler.ts'
import { Machine, type MachineSpec } from '../../src/simulator/machine.ts'
import type { Strategy } from '../../src/simulator/simulated-core.ts'
import { Simulation } from '../../src/simulator/simulation.ts'
import { edgesOf } from '../../src/simulator/topology.ts'
import type { UserJob } from '../../src/simulator/user-job.ts'
import { requestFor } from '../../src/simulator/workload.ts'

export const NAMES = ['A', 'B', 'C'] as const
export type MachineName = (typeof NAMES)[number]

const MEMORY_BYTES = 2 * 2 ** 30
/** More guests than any table has. */
const SLOTS = 16
/** One way over the wire, and what varies of it. */
const LINK = { delayMs: 0.4, jitterMs: 0.2 }
/** By then the loads have been known everywhere for long. */
export const CONVERGED_MS = 60_000
/** A job that doesn't end while anyone looks. */
export const ENDLESS_MS = 3_600_000

export interface PaperMachines {
  /** Loops on each machine: 'A loaded with 4 processes'. */
  loops: readonly number[]
  cores: number
  strategy: Strategy
}

/** The paper's algorithms with its metric and its five seconds. */
export const KAPPA_PAPER = strategyOf('kappa-paper', 'paper')

/** Kappa's own rules. */
export function kappaWith(policy: MetricPolicy): Strategy {
  return strategyOf('kappa', policy)
}

function strategyOf(strategy: string, metricPolicy: MetricPolicy): Strategy {
  const create: Strategy['create'] = (init) => new PeerCore({ ...init, strategy, metricPolicy })
  return { name: strategy, membership: 'neighbours', create }
}

export function simulationOf({ loops, cores, strategy }: PaperMachines): Simulation {
  const simulation = new Simulation({
    seed: 1,
    label: `the paper's machines, ${strategy.name}`,
    machines: loops.map(() => machineOf(cores)),
    edges: edgesOf('line', loops.length, () => 0),
    quality: LINK,
    strategy,
    clockDrift: 0,
    startTimeoutMs: 2_000
  })
  for (const [peer, tasks] of loops.entries()) simulation.time.at(0, () => simulation.setOwner(peer, tasks))
  return simulation
}

/** Someone at that machine starts something. */
export function start(simulation: Simulation, home: MachineName, workMs: number, stays = false): UserJob {
  const request = requestFor(1, { local: stays })
  return simulation.submit({ at: simulation.time.now, home: NAMES.indexOf(home), workMs, request })
}

/** Where it ran. */
export function placeOf(job: UserJob): MachineName {
  return NAMES[job.target ?? job.home]!
}

/** What home knew of that machine when it placed the job: the distribution metric, or its own metric. */
export function known(job: UserJob, machine: MachineName): Candidate | undefined {
  return job.trace?.candidates.find(({ peer }) => peer === `p${NAMES.indexOf(machine)}`)
}

/** A reason in the paper's names. */
export function reasonOf(trace: PlacementTrace | undefined): string {
  return (trace?.reason ?? '').replaceAll(/\bp([0-2])\b/g, (_, index) => NAMES[Number(index)]!)
}

/** The paper's metric of one of its machines with that many processes, all of which compute. */
export function metricWith(processes: number): number {
  const record: MachineRecord = {
    ...new LoadSampler(new Machine(machineOf(1))).truth(),
    idleCores: processes === 0 ? 1 : 0,
    runnable: processes,
    homeDemand: 0,
    guestDemand: 0,
    memoryPromised: 0,
    memoryFloor: 0,
    slots: SLOTS,
    class: { os: 'linux', arch: 'x64', cpuLevel: 1, pageSize: 4096, modes: ['plain'] },
    labels: []
  }
  return metric(record, 1, { home: true }, 'paper')
}

function machineOf(cores: number): MachineSpec {
  return { cores, speed: 1, memoryBytes: MEMORY_BYTES, slots: SLOTS }
}
