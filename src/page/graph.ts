/** The overlay as a picture: this machine in the middle, its neighbours around it, who is behind them further out. */

import { drawing } from './elements.ts'
import type { Flow, Machine } from './machines.ts'
import { beside, frameOf, type Point, placesOf, RADIUS } from './places.ts'

const RING = 2 * Math.PI * (RADIUS + 5)
/** Dots on one way; more jobs are told by their number. */
const DOTS_MAX = 4
const DOT_SECONDS = 1.6
/** Jobs go on the right side of the way, and their number stands beside it: jobs may go both ways. */
const ASIDE = 6
const LABEL_ASIDE = 20

export class Graph {
  readonly #svg = drawing('svg', { role: 'img', 'aria-label': 'The machines' })
  /** What was drawn last, to draw anew only what differs. */
  #drawn = ''

  constructor(parent: HTMLElement) {
    parent.append(this.#svg)
  }

  show(machines: readonly Machine[], flows: readonly Flow[]): void {
    const described = JSON.stringify([machines.map((machine) => ({ ...machine, roundTripMs: 0 })), flows])
    if (described === this.#drawn) return
    this.#drawn = described
    const places = placesOf(machines)
    const { x, y, width, height } = frameOf(places)
    this.#svg.setAttribute('viewBox', `${x} ${y} ${width} ${height}`)
    const byName = new Map(machines.map((machine) => [machine.name, machine]))
    const edges = machines.filter(({ hops }) => hops > 0).map((machine) => edgeOf(machine, places))
    const ways = flows.flatMap((flow) => wayOf(flow, byName, places))
    const nodes = machines.map((machine) => nodeOf(machine, places.get(machine.id)!))
    // No name is behind a machine.
    const names = machines.map((machine) => nameOf(machine, places.get(machine.id)!))
    this.#svg.replaceChildren(...edges, ...ways, ...nodes, ...names)
    const running = flows.map(({ from, to, jobs }) => `${jobs} of ${from} on ${to}`)
    const count = `${machines.length} machines`
    this.#svg.setAttribute('aria-label', running.length > 0 ? `${count}; jobs: ${running.join(', ')}` : count)
  }
}

function edgeOf({ id, through, kind, isConnected }: Machine, places: Map<string, Point>): SVGElement {
  const [from, to] = [places.get(through)!, places.get(id)!]
  const style = ['edge', kind, ...(isConnected ? [] : ['away'])].join(' ')
  return drawing('line', { class: style, x1: from.x, y1: from.y, x2: to.x, y2: to.y })
}

/** Dots that go from home to target, by the machines between them. */
function wayOf({ from, to, jobs }: Flow, byName: Map<string, Machine>, places: Map<string, Point>): SVGElement[] {
  const [home, target] = [byName.get(from), byName.get(to)]
  if (!home || !target) return []
  const straight = [home, ...between(home, target), target].map(({ id }) => places.get(id)!)
  const points = beside(straight, ASIDE)
  const path = points.map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${x} ${y}`).join(' ')
  const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches
  // The picture is drawn anew while they move: they begin with the document, and so go on where they were.
  const dots = Array.from({ length: isStill ? 0 : Math.min(jobs, DOTS_MAX) }, (_, index) => {
    const motion = drawing('animateMotion', {
      dur: `${DOT_SECONDS}s`,
      begin: `${(-DOT_SECONDS * index) / Math.min(jobs, DOTS_MAX)}s`,
      repeatCount: 'indefinite',
      path
    })
    return drawing('circle', { class: `job ${home.colour}`, r: 4.5 }, motion)
  })
  const [a, b] = beside(straight.slice(-2), LABEL_ASIDE) as [Point, Point]
  const label = drawing('text', { class: 'jobs', x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 + 5 }, String(jobs))
  return [drawing('path', { class: `way ${home.colour}`, d: path }), ...dots, label]

  function between(one: Machine, other: Machine): Machine[] {
    const machines = [...byName.values()]
    const via = [one, other].find(({ hops }) => hops > 1)
    return via === undefined ? [] : machines.filter(({ id }) => id === via.through && id !== one.id && id !== other.id)
  }
}

function nodeOf(machine: Machine, { x, y }: Point): SVGElement {
  const { name, metric, cores, busyCores, note, kind, isConnected, colour, slotsUsed } = machine
  const busy = cores ? Math.min(1, (busyCores ?? 0) / cores) : 0
  const about = [
    name,
    metric === undefined ? 'metric unknown' : `metric ${metric.toFixed(0)}`,
    ...(cores ? [`${(busyCores ?? 0).toFixed(1)} of ${cores.toFixed(1)} cores busy`] : []),
    ...(slotsUsed ? [`${slotsUsed} lent`] : []),
    ...(note === '' ? [] : [note])
  ]
  const style = ['machine', colour, kind, ...(isConnected ? [] : ['away']), ...(note === '' ? [] : ['noted'])].join(' ')
  return drawing(
    'g',
    { class: style, transform: `translate(${x} ${y})` },
    drawing('title', {}, about.join('\n')),
    drawing('circle', { class: 'ground', r: RADIUS + 9 }),
    drawing('circle', { class: 'body', r: RADIUS }),
    drawing('circle', { class: 'track', r: RADIUS + 5 }),
    drawing('circle', {
      class: 'busy',
      r: RADIUS + 5,
      'stroke-dasharray': `${busy * RING} ${RING}`,
      transform: 'rotate(-90)'
    }),
    drawing('text', { class: 'metric', y: 6 }, metric === undefined ? '–' : metric.toFixed(0))
  )
}

function nameOf({ name, isConnected }: Machine, { x, y }: Point): SVGElement {
  const style = isConnected ? 'name' : 'name away'
  return drawing('text', { class: style, x, y: y + RADIUS + 24 }, shortened(name))
}

function shortened(name: string): string {
  return name.length > 18 ? `${name.slice(0, 17)}…` : name
}
