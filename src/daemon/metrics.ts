/** What this peer tells monitoring: figures of the machine, its neighbours and its jobs; no command line, path or user. */

import { readdirSync } from 'node:fs'
import { VERSION } from '../version.ts'
import type { Daemon } from './daemon.ts'
import { Counter, exposition, type Family, Histogram, type Sample } from './exposition.ts'
import type { JobRecord } from './history.ts'

const OUTCOMES = ['succeeded', 'failed', 'signalled', 'timed_out', 'lost', 'not_run'] as const
type Outcome = (typeof OUTCOMES)[number]
const PLACES = ['here', 'elsewhere', 'nowhere'] as const

const JOB_SECONDS = [0.01, 0.1, 1, 10, 60, 600, 3_600, 36_000]
const PLACEMENT_SECONDS = [0.001, 0.005, 0.02, 0.1, 0.5, 2]

/** What became of the jobs since this daemon was started. */
export class JobCounts {
  readonly #jobs = new Counter(PLACES.flatMap((where) => OUTCOMES.map((outcome) => ({ where, outcome }))))
  readonly #guests = new Counter(OUTCOMES.map((outcome) => ({ outcome })))
  readonly #seconds = new Histogram(JOB_SECONDS)
  readonly #placementSeconds = new Histogram(PLACEMENT_SECONDS)

  /** A job of this home is over. */
  ended(record: JobRecord): void {
    const { target, home, trace } = record
    const where = target === null ? 'nowhere' : target === home ? 'here' : 'elsewhere'
    this.#jobs.add({ where, outcome: outcomeOf(record) })
    if (target !== null) this.#seconds.observe(secondsOf(record))
    if (trace !== null) this.#placementSeconds.observe(trace.placedMs / 1_000)
  }

  guestEnded(record: JobRecord): void {
    this.#guests.add({ outcome: outcomeOf(record) })
  }

  get families(): Family[] {
    return [
      counter(
        'kappa_jobs_total',
        'Jobs of this home that are over, by where they ran and how they ended.',
        this.#jobs.samples
      ),
      counter('kappa_guest_jobs_total', 'Jobs of other homes that ran here and are over.', this.#guests.samples),
      {
        name: 'kappa_job_duration_seconds',
        help: 'How long the jobs of this home took, wherever they ran, from when they were asked for.',
        type: 'histogram',
        samples: this.#seconds.samples
      },
      {
        name: 'kappa_placement_duration_seconds',
        help: 'How long it took to decide where a job of this home runs; waiting in line included.',
        type: 'histogram',
        samples: this.#placementSeconds.samples
      }
    ]
  }
}

export function outcomeOf({ state, exitCode, signal, error }: JobRecord): Outcome {
  if (state === 'lost') return 'lost'
  if (error?.name === 'TimeoutError') return 'timed_out'
  if (signal !== null) return 'signalled'
  if (exitCode === null) return 'not_run'
  return exitCode === 0 && error === null ? 'succeeded' : 'failed'
}

/** Wall time from the request to the end. */
export function secondsOf({ startedAt, endedAt }: JobRecord): number {
  return Math.max(0, ((endedAt ?? Date.now()) - startedAt) / 1_000)
}

/** Everything, as Prometheus' text. */
export function metricsText(daemon: Daemon): string {
  return exposition([
    ...peerFamilies(daemon),
    ...neighbourFamilies(daemon),
    ...daemon.jobCounts.families,
    ...processFamilies()
  ])
}

function peerFamilies(daemon: Daemon): Family[] {
  const { self, neighbours, reachable } = daemon.driver.core.view(daemon.clock.now())
  const { record } = self
  const { score } = daemon.benchmark
  return [
    gauge('kappa_build_info', 'Version of kappa; always 1.', [{ labels: { version: VERSION }, value: 1 }]),
    one(
      'kappa_system_metric',
      'How fast one more job would run here: 100 is an idle core of the reference machine.',
      self.metric
    ),
    gauge(
      'kappa_speed_ratio',
      'Speed of a core by the benchmark, relative to the reference machine.',
      score.confidence === 'none' ? [] : [{ value: score.speed }]
    ),
    one('kappa_cores', 'Cores that kappa counts on.', record.cores),
    one('kappa_idle_cores', 'Cores that nobody uses, smoothed.', record.idleCores),
    one('kappa_runnable_tasks', 'Tasks that compete for the cores, smoothed.', record.runnable),
    one('kappa_slots', 'Cores that guests may hold.', record.slots),
    one('kappa_used_slots', 'Cores that guests hold.', record.guestDemand),
    one('kappa_lending', '1 when jobs of other machines are taken.', record.refuses === undefined ? 1 : 0),
    one('kappa_running_jobs', 'Jobs of this home that are not over.', daemon.runs.live),
    one('kappa_running_guest_jobs', 'Jobs of other homes that run here.', daemon.guests.target.running),
    one(
      'kappa_connected_neighbours',
      'Paired machines that are connected.',
      neighbours.filter(({ connected }) => connected).length
    ),
    one('kappa_reachable_peers', 'Machines of which this one knows what they would give.', reachable.length)
  ]
}

/** One of each for each paired machine, whose number is bounded; told apart by their IDs, since names may be the same. */
function neighbourFamilies(daemon: Daemon): Family[] {
  const views = new Map(daemon.driver.core.view(daemon.clock.now()).neighbours.map((view) => [view.peer, view]))
  const paired = [...daemon.pairings.all()].filter(({ state }) => state === 'paired').map(({ peerId }) => peerId)
  const each = (value: (peer: string) => number | undefined | null): Sample[] =>
    paired.flatMap((peer) => {
      const found = value(peer)
      return typeof found === 'number' ? [{ labels: { peer }, value: found }] : []
    })
  const info = paired.map((peer) => {
    const labels = { peer, name: daemon.nameOf(peer), kind: daemon.pairings.get(peer)?.kind ?? 'friend' }
    return { labels, value: 1 }
  })
  return [
    gauge('kappa_neighbour_info', 'Name and kind of each paired machine; always 1.', info),
    gauge(
      'kappa_neighbour_connected',
      '1 while the paired machine is connected.',
      each((peer) => (daemon.peer(peer)?.via === undefined ? 0 : 1))
    ),
    gauge(
      'kappa_neighbour_system_metric',
      "What one more job would get there, by the machine's own word.",
      each((peer) => views.get(peer)?.metric)
    ),
    gauge(
      'kappa_neighbour_round_trip_seconds',
      'Round trip time of the connection, smoothed.',
      each((peer) => {
        const ms = views.get(peer)?.roundTripMs
        return ms === undefined ? undefined : ms / 1_000
      })
    ),
    counter(
      'kappa_neighbour_sent_bytes_total',
      'Bytes sent over the connection that is used; begins anew with each.',
      each((peer) => daemon.peer(peer)?.traffic?.sent)
    ),
    counter(
      'kappa_neighbour_received_bytes_total',
      'Bytes received over the connection that is used; begins anew with each.',
      each((peer) => daemon.peer(peer)?.traffic?.received)
    )
  ]
}

/** Of the daemon, by the names that all of Prometheus' clients give them. */
function processFamilies(): Family[] {
  const { user, system } = process.cpuUsage()
  return [
    counter('process_cpu_seconds_total', 'CPU time that the daemon used.', [{ value: (user + system) / 1e6 }]),
    one('process_resident_memory_bytes', 'Memory that the daemon has.', process.memoryUsage.rss()),
    one(
      'process_start_time_seconds',
      'When the daemon was started, since the epoch.',
      Math.round(Date.now() / 1_000 - process.uptime())
    ),
    one('process_open_fds', 'Files that the daemon has open.', readdirSync('/proc/self/fd').length)
  ]
}

function gauge(name: string, help: string, samples: Sample[]): Family {
  return { name, help, type: 'gauge', samples }
}

function one(name: string, help: string, value: number): Family {
  return gauge(name, help, [{ value }])
}

function counter(name: string, help: string, samples: Sample[]): Family {
  return { name, help, type: 'counter', samples }
}
