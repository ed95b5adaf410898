/** What the tables of `kappa top` are made of: machines, jobs, and what went over the links between two looks. */

import type {
  FiguresResult,
  JobResult,
  NeighbourResult,
  PeerFigures,
  StatusResult
} from '../../daemon/control-results.ts'
import { printable } from '../../printable.ts'
import { commandLine, duration, slowerThanSaid } from '../output.ts'

/** What the daemon said at one time, ms since the epoch. */
export interface News {
  at: number
  status: StatusResult
  jobs: JobResult[]
  guests: JobResult[]
  /** Absent: the daemon is too old to have any. */
  figures?: FiguresResult
}

export const PEER_ORDERS = ['metric', 'name', 'busy', 'round trip'] as const
export type PeerOrder = (typeof PEER_ORDERS)[number]
export const JOB_ORDERS = ['newest', 'longest', 'machine', 'command'] as const
export type JobOrder = (typeof JOB_ORDERS)[number]

/** Bytes, in all or in a second. */
export interface Traffic {
  sent: number
  received: number
}

/** A machine; numbers are null where nothing is known now. */
export interface PeerRow {
  key: string
  name: string
  self: boolean
  metric: number | null
  /** Cores used by others than kappa or promised to its jobs, and cores there are. */
  busy: number | null
  cores: number | null
  slots: { total: number; used: number } | null
  roundTripMs: number | null
  /** Bytes in a second. */
  rate: Traffic | undefined
  /** How it is connected, or through whom it is reached. */
  via: string
  /** What is to be said of it: `away`, why it takes no guests. */
  note: string
  figures: PeerFigures | undefined
  neighbour: NeighbourResult | undefined
}

export interface JobRow {
  key: string
  job: JobResult
  /** It is another home's, and runs here. */
  guest: boolean
  /** `on nas`, `from laptop`. */
  where: string
}

/** This machine first, then its neighbours and those behind them, in that order. */
export function peerRows(news: News, rates: ReadonlyMap<string, Traffic>, order: PeerOrder): PeerRow[] {
  const { status, figures } = news
  const known = new Map(figures?.peers.map((peer) => [peer.peerId, peer]))
  const rows = status.neighbours.map((neighbour) => neighbourRow(neighbour, known, rates))
  const seen = new Set(rows.map(({ key }) => key))
  for (const { peerId, name, metric, trust, slots, through, via } of status.reachable) {
    const row = rows.find(({ key }) => key === peerId)
    if (row) row.slots = slots
    if (seen.has(peerId)) continue
    const way = via === null ? '' : via.includes('/p2p-circuit') ? ', relayed' : `, ${withoutPeer(via)}`
    rows.push({
      ...{ key: peerId, name: printable(name), self: false, metric, ...loadOf(known.get(peerId)), slots },
      ...{ roundTripMs: null, rate: undefined, via: `through ${printable(through ?? '')}${way}` },
      ...{ note: slowerThanSaid(trust), figures: known.get(peerId), neighbour: undefined }
    })
  }
  return [selfRow(status, known), ...rows.toSorted(comparing(order))]
}

function selfRow(status: StatusResult, known: ReadonlyMap<string, PeerFigures>): PeerRow {
  const { peerId, name, metric, load, slots, refuses } = status
  const figures = known.get(peerId)
  const { busy, cores } = figures ? loadOf(figures) : { busy: load.cores - load.idleCores, cores: load.cores }
  return {
    ...{ key: peerId, name: printable(name), self: true, metric, busy, cores, slots },
    ...{
      roundTripMs: null,
      rate: undefined,
      via: 'this machine',
      note: refuses === null ? '' : printable(refuses, 300)
    },
    ...{ figures, neighbour: undefined }
  }
}

function neighbourRow(
  neighbour: NeighbourResult,
  known: ReadonlyMap<string, PeerFigures>,
  rates: ReadonlyMap<string, Traffic>
): PeerRow {
  const { peerId, name, connected, metric, via, roundTripMs, refuses, plainOnly, trust } = neighbour
  const figures = known.get(peerId)
  const note = !connected ? 'away' : (refuses ?? plainOnly ?? slowerThanSaid(trust))
  const load = connected ? loadOf(figures) : { busy: null, cores: null }
  return {
    ...{ key: peerId, name: printable(name), self: false, metric, ...load, slots: null, roundTripMs },
    ...{ rate: rates.get(peerId), via: via === null ? '' : withoutPeer(via), note: printable(note, 300) },
    ...{ figures, neighbour }
  }
}

function loadOf(figures: PeerFigures | undefined): Pick<PeerRow, 'busy' | 'cores'> {
  return { busy: figures ? (busyCores(figures).at(-1) ?? null) : null, cores: figures?.cores.at(-1) ?? null }
}

/** Cores used by others than kappa or promised to its jobs, at each time. */
export function busyCores({ busyCores: others, homeCores, slotsUsed }: PeerFigures): (number | null)[] {
  return others.map((cores, index) =>
    cores === null ? null : cores + (homeCores[index] ?? 0) + (slotsUsed[index] ?? 0)
  )
}

/** Live jobs first, then those that are over. */
export function jobRows({ at, jobs, guests }: News, order: JobOrder): JobRow[] {
  const rows = [
    ...jobs.map((job) => ({
      key: `home ${job.id}`,
      job,
      guest: false,
      where: job.target === null ? '' : `on ${printable(job.target)}`
    })),
    ...guests.map((job) => ({
      key: `${job.home} ${job.id}`,
      job,
      guest: true,
      where: `from ${printable(job.home)}`
    }))
  ]
  const age = ({ job }: JobRow) => (job.endedAt ?? at) - job.startedAt
  const by: Record<JobOrder, (a: JobRow, b: JobRow) => number> = {
    newest: (a, b) => b.job.startedAt - a.job.startedAt,
    longest: (a, b) => age(b) - age(a),
    machine: (a, b) => compareText(a.where, b.where) || by.newest(a, b),
    command: (a, b) => compareText(commandOf(a.job), commandOf(b.job)) || by.newest(a, b)
  }
  const over = ({ job }: JobRow) => Number(job.endedAt !== null)
  return rows.toSorted((a, b) => over(a) - over(b) || by[order](a, b))
}

export function commandOf({ argv }: JobResult): string {
  return printable(commandLine(argv), 300)
}

function comparing(order: PeerOrder): (a: PeerRow, b: PeerRow) => number {
  const byName = (a: PeerRow, b: PeerRow) => compareText(a.name, b.name)
  const falling = (of: (row: PeerRow) => number | null) => (a: PeerRow, b: PeerRow) =>
    (of(b) ?? -1) - (of(a) ?? -1) || byName(a, b)
  if (order === 'name') return byName
  if (order === 'metric') return falling(({ metric }) => metric)
  if (order === 'busy') return falling(({ busy, cores }) => (busy === null ? null : busy / (cores || 1)))
  return (a, b) => (a.roundTripMs ?? Number.MAX_VALUE) - (b.roundTripMs ?? Number.MAX_VALUE) || byName(a, b)
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Bytes in a second over each link since the last news; what was before where no time has passed. */
export function ratesOf(
  before: News | undefined,
  now: News,
  rates: ReadonlyMap<string, Traffic>
): ReadonlyMap<string, Traffic> {
  const seconds = before === undefined ? 0 : (now.at - before.at) / 1_000
  if (seconds <= 0) return before === undefined ? new Map() : rates
  const known = new Map(before!.status.neighbours.map(({ peerId, traffic }) => [peerId, traffic]))
  const next = new Map<string, Traffic>()
  for (const { peerId, traffic } of now.status.neighbours) {
    const last = known.get(peerId)
    // A new connection begins to count anew.
    if (!traffic || !last || traffic.sent < last.sent || traffic.received < last.received) continue
    next.set(peerId, {
      sent: (traffic.sent - last.sent) / seconds,
      received: (traffic.received - last.received) / seconds
    })
  }
  return next
}

/** All that is known of a machine, for a page. */
export function peerPage(row: PeerRow, status: StatusResult): string {
  const { neighbour, slots } = row
  const lines: [string, string | undefined][] = [
    ['peer id', row.key],
    ['metric', row.metric?.toFixed(0)],
    ['busy', row.busy === null ? undefined : `${row.busy.toFixed(1)} of ${row.cores} cores`],
    ['slots', slots === null ? undefined : `${slots.used} of ${slots.total} in use`],
    ['via', row.via]
  ]
  if (row.self) {
    lines.push(['addresses', status.addresses.map((address) => printable(address, 400)).join(' ')])
    lines.push(
      ['version', status.version],
      ['lends', status.refuses === null ? 'yes' : `no: ${printable(status.refuses, 300)}`]
    )
    if (status.plainOnly !== null)
      lines.push(['files', `guests can't see their home's: ${printable(status.plainOnly, 300)}`])
  } else if (neighbour) {
    const { traffic, refuses, plainOnly } = neighbour
    lines.push(
      ['kind', neighbour.kind],
      ['round trip', neighbour.roundTripMs === null ? undefined : milliseconds(neighbour.roundTripMs)],
      [
        'traffic',
        traffic ? `${bytes(traffic.sent)} sent, ${bytes(traffic.received)} received since it connected` : undefined
      ],
      ['version', neighbour.version === null ? undefined : printable(neighbour.version)],
      ['lends', refuses === null ? undefined : `no: ${printable(refuses, 300)}`],
      ['files', plainOnly === null ? undefined : printable(plainOnly, 300)],
      ['trust', slowerThanSaid(neighbour.trust)],
      ['state', neighbour.connected ? 'connected' : 'away']
    )
  } else {
    const found = status.reachable.find(({ peerId }) => peerId === row.key)
    if (found)
      lines.push(['hops', String(found.hops)], ['age', duration(found.ageMs)], ['trust', slowerThanSaid(found.trust)])
  }
  return lines
    .filter(([, text]) => text !== undefined && text !== '')
    .map(([name, text]) => `${name.padEnd(10)}  ${text}`)
    .join('\n')
}

/** `0.35 ms`, `4.2 ms`, `180 ms`. */
export function milliseconds(ms: number): string {
  return `${ms < 1 ? ms.toFixed(2) : ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`
}

/** `12 B`, `3.4 KiB`, `120 MiB`. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let value = count
  for (; value >= 1_000 && unit < units.length - 1; unit++) value /= 1_024
  return `${unit > 0 && value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`
}

function withoutPeer(address: string): string {
  return printable(address, 400).replace(/\/p2p\/\w+$/, '')
}
