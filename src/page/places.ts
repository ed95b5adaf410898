/** Where the machines of the graph are. */

import type { Machine } from './machines.ts'

/** Of a machine. */
export const RADIUS = 30

/** The ellipse on which the outermost are. */
const REACH = { x: 250, y: 140 }
/** How far out the neighbours are when there is somebody behind them. */
const INNER = 0.6
/** Around all of them: names stand below. */
const MARGIN = { x: 62, top: 46, bottom: 64 }
/** A few machines are drawn no larger than this makes them. */
const LEAST = { width: 440, height: 250 }
/** How far two of them are apart at least, with their names below; the picture grows by steps until all are. */
const APART = { x: 110, y: 100 }
const GROWTH = 1.15
const STEPS_MAX = 40

export interface Point {
  x: number
  y: number
}

/** This machine is at 0, 0; the same machines are always in the same places. */
export function placesOf(machines: readonly Machine[]): Map<string, Point> {
  let places = placed(machines, 1)
  for (let step = 1; step < STEPS_MAX && !isApart([...places.values()]); step++)
    places = placed(machines, GROWTH ** step)
  return places
}

function isApart(points: readonly Point[]): boolean {
  return points.every((one, index) =>
    points.slice(index + 1).every((other) => Math.hypot((one.x - other.x) / APART.x, (one.y - other.y) / APART.y) >= 1)
  )
}

function placed(machines: readonly Machine[], scale: number): Map<string, Point> {
  const places = new Map<string, Point>()
  const angles = new Map<string, number>()
  const rings = Math.max(1, ...machines.map(({ hops }) => Math.min(2, hops)))
  const put = (id: string, angle: number, ring: number) => {
    angles.set(id, angle)
    const part = scale * (ring < rings ? INNER : 1)
    places.set(id, { x: REACH.x * part * Math.cos(angle), y: REACH.y * part * Math.sin(angle) })
  }
  const neighbours = machines.filter(({ hops }) => hops === 1)
  for (const { id, hops } of machines) if (hops === 0) places.set(id, { x: 0, y: 0 })
  // One or two go left and right, where there is most room.
  const first = neighbours.length > 2 ? -Math.PI / 2 : 0
  for (const [index, { id }] of neighbours.entries()) put(id, first + (2 * Math.PI * index) / neighbours.length, 1)
  const span = (2 * Math.PI) / Math.max(3, neighbours.length)
  for (const via of machines.filter(({ hops }) => hops <= 1)) {
    const behind = machines.filter(({ hops, through }) => hops > 1 && through === via.id)
    for (const [index, { id }] of behind.entries()) {
      put(id, (angles.get(via.id) ?? 0) + span * ((index + 1) / (behind.length + 1) - 0.5), 2)
    }
  }
  return places
}

/** What is to be seen of the plane. */
export function frameOf(places: ReadonlyMap<string, Point>): Point & { width: number; height: number } {
  const xs = [...places.values()].map(({ x }) => x)
  const ys = [...places.values()].map(({ y }) => y)
  const [left, right] = [Math.min(...xs) - MARGIN.x, Math.max(...xs) + MARGIN.x]
  const [top, bottom] = [Math.min(...ys) - MARGIN.top, Math.max(...ys) + MARGIN.bottom]
  const width = Math.max(LEAST.width, right - left)
  const height = Math.max(LEAST.height, bottom - top)
  return { x: (left + right - width) / 2, y: (top + bottom - height) / 2, width, height }
}

/** The way moved to its right: what goes back on the same one has its own. */
export function beside(points: readonly Point[], aside: number): Point[] {
  const [from, to] = [points[0]!, points.at(-1)!]
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1
  const [x, y] = [(-aside * (to.y - from.y)) / length, (aside * (to.x - from.x)) / length]
  return points.map((point) => ({ x: point.x + x, y: point.y + y }))
}
