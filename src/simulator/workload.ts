/** What users ask for, and what owners do on their machines meanwhile. */

import type { PlaceRequest } from '../core/types.ts'
import type { MachineSpec } from './machine.ts'
import {
  between,
  exponential,
  integer,
  meanOfTruncatedPareto,
  pick,
  type Random,
  type TruncatedPareto,
  truncatedPareto
} from './random.ts'
import type { Order } from './user-job.ts'

export const WORKLOADS = [
  'batches',
  'poisson',
  'make',
  'heavy-tail',
  'cores',
  'graphs',
  'graphs-at-once',
  'tools',
  'media'
] as const
export type WorkloadName = (typeof WORKLOADS)[number]

/** Who asks: half of all at one weak machine and the rest anywhere; one machine alone; or anyone. */
export const HOMES = ['half-weak', 'one', 'many'] as const
export type Homes = (typeof HOMES)[number]

/** Jobs of one burst follow each other so fast, ms: a shell starts them. */
const SPACING_MS = 5
/** The owner does something else after 5 to 25 s. */
const OWNER_CHANGES_MS = { least: 5_000, most: 25_000 }
const JOB_MEMORY_BYTES = 2 ** 20
/** As the daemon's. */
const TRANSFER_FACTOR = 1.05

interface BurstJob {
  workMs: number
  demand: number
  stagedBytes?: number
}

/** Jobs that come together, or each after the end of the one before; and the work in them on average. */
interface Burst {
  meanWorkMs: number
  consecutive?: true
  draw(random: Random): BurstJob[]
}

const BATCH_WORK: TruncatedPareto = { shape: 1.2, least: 1_000, most: 100_000 }
const COMPILE_WORK: TruncatedPareto = { shape: 1.5, least: 300, most: 10_000 }
const HEAVY_WORK: TruncatedPareto = { shape: 1.1, least: 500, most: 300_000 }
const POISSON_WORK_MS = 5_000
/** Most commands of a shell take no time to speak of. */
const TOOLS = { least: 8, most: 40, tiny: 0.9 }
const TINY_WORK_MS = { least: 2, most: 15 }
const TOOL_WORK: TruncatedPareto = { shape: 1.5, least: 200, most: 5_000 }
/** Half of them are done faster than their files could travel. */
const MEDIA = { least: 2, most: 8, heavy: 0.5 }
const HEAVY_MEDIA = { workMs: { least: 300, most: 1_500 }, bytes: { least: 10e6, most: 60e6 } }
const LIGHT_MEDIA = { workMs: { least: 2_000, most: 10_000 }, bytes: { least: 1e5, most: 2e6 } }
const DEMANDS = [1, 2, 4, 8]
/** Processes of a user, and what the largest of their graphs takes. */
const GRAPH = { least: 1, most: 8, workMs: 60_000 }

/**
 * Kačer and Tvrdík: shortest paths of all pairs in graphs, with as many vertices as take "almost zero time to tens of seconds
 * (up to one minute)". The cube of a uniform number has a mean of 1/4.
 */
const GRAPHS: Burst = {
  meanWorkMs: (((GRAPH.least + GRAPH.most) / 2) * GRAPH.workMs) / 4,
  draw: (random) =>
    Array.from({ length: integer(random, GRAPH.least, GRAPH.most) }, () => ({
      workMs: cube(random()) * GRAPH.workMs,
      demand: 1
    }))
}

const BURSTS: Readonly<Record<WorkloadName, Burst>> = {
  batches: paretoBurst(1, 7, BATCH_WORK),
  poisson: {
    meanWorkMs: POISSON_WORK_MS,
    draw: (random) => [{ workMs: exponential(random, POISSON_WORK_MS), demand: 1 }]
  },
  make: paretoBurst(8, 32, COMPILE_WORK),
  'heavy-tail': paretoBurst(1, 1, HEAVY_WORK),
  cores: {
    meanWorkMs: meanOfTruncatedPareto(BATCH_WORK) * (DEMANDS.reduce((sum, demand) => sum + demand, 0) / DEMANDS.length),
    draw: (random) => {
      const demand = pick(random, DEMANDS)
      return [{ workMs: demand * truncatedPareto(random, BATCH_WORK), demand }]
    }
  },
  tools: {
    meanWorkMs:
      middle(TOOLS) * (TOOLS.tiny * middle(TINY_WORK_MS) + (1 - TOOLS.tiny) * meanOfTruncatedPareto(TOOL_WORK)),
    draw: (random) =>
      Array.from({ length: integer(random, TOOLS.least, TOOLS.most) }, () => ({
        workMs:
          random() < TOOLS.tiny
            ? between(random, TINY_WORK_MS.least, TINY_WORK_MS.most)
            : truncatedPareto(random, TOOL_WORK),
        demand: 1
      }))
  },
  media: {
    meanWorkMs:
      middle(MEDIA) * (MEDIA.heavy * middle(HEAVY_MEDIA.workMs) + (1 - MEDIA.heavy) * middle(LIGHT_MEDIA.workMs)),
    draw: (random) =>
      Array.from({ length: integer(random, MEDIA.least, MEDIA.most) }, () => {
        const { workMs, bytes } = random() < MEDIA.heavy ? HEAVY_MEDIA : LIGHT_MEDIA
        return {
          workMs: between(random, workMs.least, workMs.most),
          demand: 1,
          stagedBytes: Math.round(between(random, bytes.least, bytes.most))
        }
      })
  },
  graphs: { ...GRAPHS, consecutive: true },
  'graphs-at-once': GRAPHS
}

function middle({ least, most }: { least: number; most: number }): number {
  return (least + most) / 2
}

function cube(value: number): number {
  return value * value * value
}

function paretoBurst(least: number, most: number, work: TruncatedPareto): Burst {
  return {
    meanWorkMs: ((least + most) / 2) * meanOfTruncatedPareto(work),
    draw: (random) =>
      Array.from({ length: integer(random, least, most) }, () => ({ workMs: truncatedPareto(random, work), demand: 1 }))
  }
}

export interface WorkloadInit {
  name: WorkloadName
  homes: Homes
  machines: readonly MachineSpec[]
  weakHome: number
  /** Work asked for per time, of all that the machines can do beside what their owners do. */
  load: number
  /** Part of its cores that each owner uses on average. */
  owners: number
  fromMs: number
  toMs: number
  random: Random
  /** Jobs of about the same work are runs of the same command, so that homes learn. */
  commands?: boolean
}

/** In order of time; bursts arrive as a Poisson process. */
export function ordersOf(init: WorkloadInit): Order[] {
  const { name, machines, load, owners, fromMs, toMs, random } = init
  const burst = BURSTS[name]
  const capacity = machines.reduce((sum, { cores, speed }) => sum + cores * speed * (1 - owners), 0)
  const betweenBurstsMs = burst.meanWorkMs / (load * capacity)
  const orders: Order[] = []
  let at = fromMs
  for (;;) {
    at += exponential(random, betweenBurstsMs)
    if (at >= toMs) break
    const home = homeOf(init)
    const jobs = burst.draw(random).map(({ demand, ...job }) => {
      const order = { ...job, home, request: requestFor(demand) }
      return init.commands ? { ...order, command: commandOf(order, demand) } : order
    })
    if (burst.consecutive) orders.push({ at, ...chainOf(jobs) })
    else orders.push(...jobs.map((job, index) => ({ at: at + index * SPACING_MS, ...job })))
  }
  return orders.sort((a, b) => a.at - b.at)
}

/** As the daemon's keys: the same command with input of about the same size. */
function commandOf({ workMs, stagedBytes = 0 }: Pick<Order, 'workMs' | 'stagedBytes'>, demand: number): string {
  const size = stagedBytes === 0 ? '' : ` <${Math.ceil(Math.log(stagedBytes) / Math.log(4))}`
  return `${demand} ${Math.floor(Math.log2(workMs))}${size}`
}

/** Each after the one before; at least one. */
function chainOf(jobs: readonly Omit<Order, 'at'>[]): Omit<Order, 'at'> {
  return jobs.reduceRight((next, job) => ({ ...job, next }))
}

function homeOf({ homes, machines, weakHome, random }: WorkloadInit): number {
  const anywhere = integer(random, 0, machines.length - 1)
  if (homes === 'many') return anywhere
  return homes === 'one' || random() < 0.5 ? weakHome : anywhere
}

export function requestFor(demand: number, changes: Partial<PlaceRequest> = {}): PlaceRequest {
  return {
    needs: { demand, memoryBytes: JOB_MEMORY_BYTES, mode: 'plain', tools: [], labels: [] },
    local: false,
    remote: false,
    on: [],
    not: [],
    wait: false,
    transferFactor: TRANSFER_FACTOR,
    ...changes
  }
}

/** When each owner begins to run how many tasks; none any more at the end. */
export function ownerChanges(
  machines: readonly MachineSpec[],
  owners: number,
  toMs: number,
  random: Random
): { at: number; peer: number; tasks: number }[] {
  if (owners === 0) return []
  const changes: { at: number; peer: number; tasks: number }[] = []
  for (const [peer, { cores }] of machines.entries()) {
    let at = 0
    while (at < toMs) {
      changes.push({ at, peer, tasks: Math.floor(exponential(random, owners * cores) + random()) })
      at += between(random, OWNER_CHANGES_MS.least, OWNER_CHANGES_MS.most)
    }
    changes.push({ at: toMs, peer, tasks: 0 })
  }
  return changes.sort((a, b) => a.at - b.at)
}
