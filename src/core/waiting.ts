/**
 * Jobs that rather wait than run beyond the slots (`--wait`), first come first served. Jobs with the same demands on the
 * place stand in one lane; a lane whose first job can't be placed doesn't hold up the others.
 */

import type { PlaceRequest } from './types.ts'

/** Jobs that wait at once; beyond, a job is turned away. */
export const MAX_WAITING = 10_000

export interface Waiting {
  readonly jobId: string
  readonly request: PlaceRequest
  readonly askedAt: number
  /** The user was told that it waits. */
  announced: boolean
  /** It is being placed right now; its lane waits for the outcome. */
  placing: boolean
}

export class WaitingJobs {
  /** By lane, then by job, in order of arrival; MAX_WAITING in all. */
  readonly #lanes = new Map<string, Map<string, Waiting>>()
  /** The lane of each job. */
  readonly #laneOf = new Map<string, string>()

  get size(): number {
    return this.#laneOf.size
  }

  /** Its position in its lane, 1 for the first; undefined when too many wait already. */
  add(jobId: string, request: PlaceRequest, now: number): number | undefined {
    if (this.#laneOf.size >= MAX_WAITING) return undefined
    const key = laneOf(request)
    const lane = this.#lanes.get(key) ?? new Map<string, Waiting>()
    lane.set(jobId, { jobId, request, askedAt: now, announced: false, placing: false })
    this.#lanes.set(key, lane)
    this.#laneOf.set(jobId, key)
    return lane.size
  }

  get(jobId: string): Waiting | undefined {
    const key = this.#laneOf.get(jobId)
    return key === undefined ? undefined : this.#lanes.get(key)?.get(jobId)
  }

  delete(jobId: string): void {
    const key = this.#laneOf.get(jobId)
    if (key === undefined) return
    this.#laneOf.delete(jobId)
    const lane = this.#lanes.get(key)!
    lane.delete(jobId)
    if (lane.size === 0) this.#lanes.delete(key)
  }

  /** Each with its position in its lane. */
  *positions(): Generator<[string, number]> {
    for (const lane of this.#lanes.values()) {
      let position = 0
      for (const jobId of lane.keys()) yield [jobId, ++position]
    }
  }

  /** The lanes' first jobs. */
  heads(): Waiting[] {
    return [...this.#lanes.values()].flatMap((lane) => {
      const [first] = lane.values()
      return first === undefined ? [] : [first]
    })
  }
}

/** What limits where it may run. Demand and memory don't: in a lane of its own a large job would starve behind small ones. */
function laneOf({ needs, local, remote, on, not }: PlaceRequest): string {
  return JSON.stringify([local, remote, on, not, needs.mode, needs.class ?? {}, needs.tools, needs.labels])
}
