/** What the snapshots say of each machine, and of the ways between them. */

import type { FiguresResult, JobResult, PeerFigures, StatusResult } from '../daemon/control-results.ts'

/** What the daemon tells each second. */
export interface Snapshot {
  status: StatusResult
  jobs: JobResult[]
  guests: JobResult[]
  figures: FiguresResult
}

export interface Machine {
  id: string
  name: string
  kind: 'self' | 'own' | 'friend' | 'through'
  isConnected: boolean
  metric: number | undefined
  cores: number | undefined
  busyCores: number | undefined
  slots: number | undefined
  slotsUsed: number | undefined
  /** Why it takes no jobs, or what else is to be said. */
  note: string
  /** The machine that leads to it. */
  through: string
  hops: number
  roundTripMs: number | undefined
  colour: string
}

/** As many as the style sheet has; further machines share them. */
const COLOURS = 10
/** By machine, in the order in which they were first seen; bounded by the daemon's own list of machines. */
const colours = new Map<string, string>()

function colourOf(id: string): string {
  const known = colours.get(id)
  if (known !== undefined) return known
  const colour = `colour-${colours.size % COLOURS}`
  colours.set(id, colour)
  return colour
}

/** This machine first. */
export function machinesOf({ status, figures }: Snapshot): Machine[] {
  const last = new Map(figures.peers.map((peer) => [peer.peerId, peer]))
  const figuresFor = (id: string) => numbersOf(last.get(id))
  const self: Machine = {
    id: status.peerId,
    name: status.name,
    kind: 'self',
    isConnected: true,
    ...figuresFor(status.peerId),
    metric: status.metric,
    note: status.refuses ?? '',
    through: '',
    hops: 0,
    roundTripMs: undefined,
    colour: colourOf(status.peerId)
  }
  const neighbours = status.neighbours.map(
    (neighbour): Machine => ({
      id: neighbour.peerId,
      name: neighbour.name,
      kind: neighbour.kind,
      isConnected: neighbour.connected,
      ...figuresFor(neighbour.peerId),
      metric: neighbour.metric ?? undefined,
      note: neighbour.refuses ?? (neighbour.connected ? (neighbour.plainOnly ?? '') : 'away'),
      through: status.peerId,
      hops: 1,
      roundTripMs: neighbour.roundTripMs ?? undefined,
      colour: colourOf(neighbour.peerId)
    })
  )
  const known = new Set([status.peerId, ...neighbours.map(({ id }) => id)])
  const others = status.reachable
    .filter(({ peerId }) => !known.has(peerId))
    .map((peer): Machine => {
      const through = neighbours.find(({ name }) => name === peer.through)
      return {
        id: peer.peerId,
        name: peer.name,
        kind: 'through',
        isConnected: true,
        ...figuresFor(peer.peerId),
        metric: peer.metric,
        note: `by way of ${peer.through}`,
        through: through?.id ?? status.peerId,
        hops: peer.hops,
        roundTripMs: undefined,
        colour: colourOf(peer.peerId)
      }
    })
  return [self, ...neighbours, ...others]
}

function numbersOf(peer: PeerFigures | undefined) {
  const last = (values: (number | null)[] | undefined) => values?.at(-1) ?? undefined
  return {
    cores: last(peer?.cores),
    busyCores: last(peer?.busyCores),
    slots: last(peer?.slots),
    slotsUsed: last(peer?.slotsUsed)
  }
}

/** Jobs under way between two machines, by their names. */
export interface Flow {
  from: string
  to: string
  jobs: number
}

export function flowsOf({ status, jobs, guests }: Snapshot): Flow[] {
  const flows = new Map<string, Flow>()
  const add = (from: string, to: string) => {
    const flow = flows.get(`${from}\0${to}`) ?? { from, to, jobs: 0 }
    flow.jobs++
    flows.set(`${from}\0${to}`, flow)
  }
  for (const { state, target } of jobs) {
    if (target !== null && target !== status.name && (state === 'running' || state === 'starting'))
      add(status.name, target)
  }
  for (const { state, home } of guests) if (state === 'running') add(home, status.name)
  return [...flows.values()]
}
