/** Lines over time, one for each machine; what is under the pointer, or the arrow keys, is told in numbers. */

import { drawing, element } from './elements.ts'
import { stepFor } from './scale.ts'

export interface Line {
  name: string
  colour: string
  /** Oldest first, as far apart as `everyMs`; null where nothing is known. */
  values: readonly (number | null)[]
}

export interface Picture {
  lines: readonly Line[]
  everyMs: number
  /** Behind a number. */
  unit: string
}

const HEIGHT = 220
const LEFT = 44
const RIGHT = 12
const TOP = 10
const BOTTOM = 24
const TICKS = 4
/** Lines of which the numbers are told. */
const TOLD_MAX = 12

export class Plot {
  readonly #svg = drawing('svg', { role: 'img', tabindex: '0', class: 'plot' })
  readonly #told = element('output', { class: 'told', hidden: true })
  readonly #legend = element('ul', { class: 'legend' })
  #picture: Picture = { lines: [], everyMs: 1_000, unit: '' }
  #width = 600
  /** Counted from the newest value. */
  #at: number | undefined

  constructor(parent: HTMLElement) {
    parent.append(element('div', { class: 'plot-frame' }, this.#svg, this.#told), this.#legend)
    new ResizeObserver(([entry]) => {
      this.#width = Math.max(240, entry!.contentRect.width)
      this.#draw()
    }).observe(parent)
    this.#svg.addEventListener('pointermove', ({ clientX }) => {
      const { left, width } = this.#svg.getBoundingClientRect()
      this.#look(Math.round((1 - ((clientX - left) / width) * this.#whole + LEFT / this.#inner) * (this.#count - 1)))
    })
    this.#svg.addEventListener('pointerleave', () => this.#look(undefined))
    this.#svg.addEventListener('blur', () => this.#look(undefined))
    this.#svg.addEventListener('keydown', (event) => {
      const step = event.key === 'ArrowLeft' ? 1 : event.key === 'ArrowRight' ? -1 : 0
      if (step === 0) return
      event.preventDefault()
      this.#look((this.#at ?? -1) + step * (event.shiftKey ? 10 : 1))
    })
  }

  show(picture: Picture): void {
    this.#picture = picture
    this.#draw()
  }

  get #inner(): number {
    return this.#width - LEFT - RIGHT
  }

  get #whole(): number {
    return this.#width / this.#inner
  }

  get #count(): number {
    return Math.max(2, ...this.#picture.lines.map(({ values }) => values.length))
  }

  #look(at: number | undefined): void {
    this.#at = at === undefined ? undefined : Math.min(this.#count - 1, Math.max(0, at))
    this.#draw()
  }

  #x(at: number): number {
    return LEFT + this.#inner * (1 - at / (this.#count - 1))
  }

  #draw(): void {
    const { lines, unit } = this.#picture
    const most = Math.max(1e-9, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0)))
    const step = stepFor(most, TICKS)
    const top = Math.max(step, Math.ceil(most / step - 1e-9) * step)
    const y = (value: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)
    this.#svg.setAttribute('viewBox', `0 0 ${this.#width} ${HEIGHT}`)
    const newest = lines.map(({ name, values }) => `${name} ${told(values.at(-1), unit)}`)
    this.#svg.setAttribute('aria-label', `Now: ${newest.slice(0, TOLD_MAX).join(', ')}. Arrow keys go back in time.`)
    const grid = Array.from({ length: Math.round(top / step) + 1 }, (_, index) =>
      this.#level(index * step, y(index * step))
    )
    const paths = lines.map(({ colour, values }) =>
      drawing('path', { class: `line ${colour}`, d: this.#path(values, y) })
    )
    this.#svg.replaceChildren(...grid.flat(), ...this.#times(), ...paths, ...this.#cursor(y))
    this.#legend.replaceChildren(
      ...lines.map(({ name, colour, values }) =>
        element(
          'li',
          {},
          element('i', { class: `swatch ${colour}` }),
          element('span', { class: 'foreign' }, name),
          element('b', {}, told(values.at(-1), unit))
        )
      )
    )
  }

  #level(value: number, y: number): SVGElement[] {
    const text = value >= 10_000 ? `${value / 1_000}k` : String(Math.round(value * 100) / 100)
    return [
      drawing('line', { class: 'grid', x1: LEFT, x2: this.#width - RIGHT, y1: y, y2: y }),
      drawing('text', { class: 'tick', x: LEFT - 8, y: y + 4, 'text-anchor': 'end' }, text)
    ]
  }

  #times(): SVGElement[] {
    const span = this.#picture.everyMs * (this.#count - 1)
    const parts = this.#width < 420 ? [0, 0.5, 1] : [0, 0.2, 0.4, 0.6, 0.8, 1]
    return parts.map((part) => {
      const anchor = part === 0 ? 'end' : part === 1 ? 'start' : 'middle'
      const x = this.#x(part * (this.#count - 1))
      return drawing('text', { class: 'tick', x, y: HEIGHT - 6, 'text-anchor': anchor }, ago(part * span))
    })
  }

  /** A line has a gap where nothing is known. */
  #path(values: readonly (number | null)[], y: (value: number) => number): string {
    let path = ''
    let isOpen = false
    values.forEach((value, index) => {
      const at = values.length - 1 - index
      if (value !== null) path += `${isOpen ? 'L' : 'M'}${this.#x(at).toFixed(1)} ${y(value).toFixed(1)}`
      // A single point shows too.
      if (value !== null && !isOpen) path += 'h0.01'
      isOpen = value !== null
    })
    return path
  }

  #cursor(y: (value: number) => number): SVGElement[] {
    const at = this.#at
    const { lines, unit, everyMs } = this.#picture
    this.#told.hidden = at === undefined
    if (at === undefined) return []
    const found = lines.flatMap(({ name, colour, values }) => {
      const value = values.at(-1 - at)
      return typeof value === 'number' ? [{ name, colour, value }] : []
    })
    const rows = found
      .slice(0, TOLD_MAX)
      .map(({ name, colour, value }) =>
        element(
          'span',
          {},
          element('i', { class: `swatch ${colour}` }),
          `${name} `,
          element('b', {}, told(value, unit))
        )
      )
    this.#told.replaceChildren(element('em', {}, at === 0 ? 'now' : ago(at * everyMs)), ...rows)
    const x = this.#x(at)
    this.#told.classList.toggle('left', x > this.#width / 2)
    const points = found.map(({ colour, value }) =>
      drawing('circle', { class: `point ${colour}`, cx: x, cy: y(value), r: 3.5 })
    )
    return [drawing('line', { class: 'cursor', x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }), ...points]
  }
}

function told(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined) return '–'
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)}${unit}`
}

function ago(ms: number): string {
  if (ms === 0) return 'now'
  const minutes = ms / 60_000
  return minutes >= 1 ? `−${Math.round(minutes * 10) / 10} min` : `−${Math.round(ms / 1_000)} s`
}

/** A small line without anything around it. */
export function sparkline(values: readonly (number | null)[], colour: string, most: number): SVGElement {
  const [width, height] = [120, 28]
  let path = ''
  let isOpen = false
  values.forEach((value, index) => {
    const x = (width * index) / Math.max(1, values.length - 1)
    if (value !== null)
      path += `${isOpen ? 'L' : 'M'}${x.toFixed(1)} ${(height - 2 - ((height - 4) * value) / Math.max(most, 1e-9)).toFixed(1)}`
    isOpen = value !== null
  })
  return drawing(
    'svg',
    { class: 'sparkline', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    drawing('path', { class: `line ${colour}`, d: path, 'vector-effect': 'non-scaling-stroke' })
  )
}
