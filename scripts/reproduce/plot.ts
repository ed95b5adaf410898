/**
 * Plots as SVG, written as text: lines with confidence intervals, in one or more panels under one legend. The same data give
 * the same bytes. Readable on light and on dark pages: the plot has a ground of its own, which follows the reader's scheme.
 *
 * No library: what is needed here is less than the lines that would join one to it, and the small ones lack types while the
 * large ones bring some eighty packages.
 */

import { type Axis, positionOn, ticksOf } from './plot-axis.ts'

export interface Point {
  x: number
  y: number
  /** Half the width of the 95 % confidence interval of `y`; none is drawn for NaN. */
  halfWidth?: number
}

export interface Line {
  /** In the legend; lines of the same name look the same in all panels. */
  name: string
  points: readonly Point[]
  /** Only the points: what lies between them means nothing. */
  apart?: boolean
}

export interface Panel {
  title: string
  x: Axis
  y: Axis
  lines: readonly Line[]
  /** Values of `y` that are said of something, such as by a paper. */
  band?: { from: number; to: number; name: string }
}

export interface Plot {
  title: string
  /** One sentence, for those who don't see it. */
  description: string
  panels: readonly Panel[]
  columns: number
  /** Names in the order of the legend, each with a look of its own whether it is shown here or not; the lines' order unless given. */
  names?: readonly string[]
}

/** Pixels. */
const WIDTH = 860
const MARGIN = 16
const TITLE_HEIGHT = 30
const LEGEND_ROW = 20
const LEGEND_GAP = 26
const CHARACTER = 6.6
const PANEL_HEIGHT = { one: 320, many: 215 }
const INSET = { left: 56, right: 14, top: 26, bottom: 48 }
const CAP = 3
const MARK = 3.6

/** Each is told from its neighbours by its form too, and from both grounds by 3 to 1 at least. */
const COLOURS = [
  ...['#2f81f7', '#d9730d', '#2a9d4a', '#d64545', '#9a6bd0'],
  ...['#1797a6', '#c9559b', '#a0684f', '#8a8f1a', '#7d8590']
]
const FORMS = [circle, square, triangle, diamond, cross, downward] as const
const DASHES = ['', '6 3', '2 3']

const STYLE = `
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.name { font-size: 12px; font-weight: 600 }
.tick { font-size: 11px; fill: #59636e }
.ground { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #e4e8ec }
.frame { fill: none; stroke: #9aa4ae }
.band { fill: #8c959f; fill-opacity: 0.18 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .tick { fill: #9198a1 }
  .ground { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #252b33 }
  .frame { stroke: #656c76 }
}
`

/** How the lines of one name look. */
interface Look {
  colour: string
  dash: string
  form: (x: number, y: number) => string
}

interface Box {
  left: number
  top: number
  width: number
  height: number
}

export function svgOf(plot: Plot): string {
  const looks = looksOf(plot)
  const legend = legendOf(looks)
  const panelHeight = plot.panels.length === 1 ? PANEL_HEIGHT.one : PANEL_HEIGHT.many
  const panelWidth = (WIDTH - 2 * MARGIN) / plot.columns
  const above = MARGIN + TITLE_HEIGHT + legend.height
  const height = above + Math.ceil(plot.panels.length / plot.columns) * panelHeight + MARGIN
  const panels = plot.panels.map((panel, index) =>
    panelOf(panel, `panel-${index}`, looks, {
      left: MARGIN + (index % plot.columns) * panelWidth + INSET.left,
      top: above + Math.floor(index / plot.columns) * panelHeight + INSET.top,
      width: panelWidth - INSET.left - INSET.right,
      height: panelHeight - INSET.top - INSET.bottom
    })
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${escaped(plot.title)}</title>`,
    `<desc id="description">${escaped(plot.description)}</desc>`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="6"/>`,
    text(MARGIN, MARGIN + 14, plot.title, 'title'),
    ...legend.parts,
    ...panels,
    '</svg>',
    ''
  ].join('\n')
}

function looksOf({ panels, names = [] }: Plot): Map<string, Look> {
  const shown = new Set(panels.flatMap(({ lines }) => lines.map(({ name }) => name)))
  const looks = [...new Set([...names, ...shown])].map((name, index): [string, Look] => [
    name,
    {
      colour: COLOURS[index % COLOURS.length]!,
      form: FORMS[index % FORMS.length]!,
      dash: DASHES[Math.floor(index / FORMS.length) % DASHES.length]!
    }
  ])
  return new Map(looks.filter(([name]) => shown.has(name)))
}

function legendOf(looks: ReadonlyMap<string, Look>): { parts: string[]; height: number } {
  const parts: string[] = []
  let x = MARGIN
  let y = MARGIN + TITLE_HEIGHT
  for (const [name, look] of looks) {
    const width = 30 + name.length * CHARACTER
    if (x + width > WIDTH - MARGIN) {
      x = MARGIN
      y += LEGEND_ROW
    }
    parts.push(stroke(`M${x} ${y}h22`, look), mark(x + 11, y, look), text(x + 28, y + 4, name))
    x += width + LEGEND_GAP
  }
  return { parts, height: y + LEGEND_ROW - MARGIN - TITLE_HEIGHT }
}

// --------------------------------------------------------------------------------------------------------- panels

function panelOf(panel: Panel, id: string, looks: ReadonlyMap<string, Look>, box: Box): string {
  const { left, top, width, height } = box
  const atX = (x: number) => left + positionOn(panel.x, x) * width
  const atY = (y: number) => top + (1 - positionOn(panel.y, y)) * height
  const frame = `x="${px(left)}" y="${px(top)}" width="${px(width)}" height="${px(height)}"`
  return [
    `<g><clipPath id="${id}"><rect ${frame}/></clipPath>`,
    ...axesOf(panel, box, atX, atY),
    panel.band === undefined ? '' : bandOf(panel.band, box, atY),
    ...panel.lines.map((line) => lineOf(line, looks.get(line.name)!, { id, atX, atY, box })),
    `<rect class="frame" ${frame}/>`,
    text(left, top - 9, panel.title, 'name'),
    '</g>'
  ]
    .filter((part) => part !== '')
    .join('\n')
}

function axesOf(panel: Panel, box: Box, atX: (x: number) => number, atY: (y: number) => number): string[] {
  const { left, top, width, height } = box
  const parts: string[] = []
  for (const { at, text: label } of ticksOf(panel.y)) {
    parts.push(`<path class="grid" d="M${px(left)} ${px(atY(at))}h${px(width)}"/>`)
    parts.push(text(left - 6, atY(at) + 4, label, 'tick', 'end'))
  }
  let below = top + height
  for (const { at, text: label } of ticksOf(panel.x)) {
    parts.push(`<path class="grid" d="M${px(atX(at))} ${px(top)}v${px(height)}"/>`)
    const lines = label.split('\n')
    parts.push(...lines.map((line, row) => text(atX(at), top + height + 15 + row * 13, line, 'tick', 'middle')))
    below = Math.max(below, top + height + 13 * (lines.length - 1))
  }
  parts.push(text(left + width / 2, below + 33, panel.x.label, '', 'middle'))
  const [x, y] = [left - 42, top + height / 2]
  parts.push(
    `<text x="${px(x)}" y="${px(y)}" text-anchor="middle" transform="rotate(-90 ${px(x)} ${px(y)})">${escaped(panel.y.label)}</text>`
  )
  return parts
}

function bandOf(band: NonNullable<Panel['band']>, { left, width }: Box, atY: (y: number) => number): string {
  const rectangle = `x="${px(left)}" y="${px(atY(band.to))}" width="${px(width)}" height="${px(atY(band.from) - atY(band.to))}"`
  return `<rect class="band" ${rectangle}/>\n${text(left + width - 6, atY(band.to) + 14, band.name, 'tick', 'end')}`
}

/** What is beyond the axis is shown by an arrow at its end. */
function lineOf(
  { points, apart }: Line,
  look: Look,
  place: { id: string; atX: (x: number) => number; atY: (y: number) => number; box: Box }
): string {
  const { id, atX, atY, box } = place
  const bottom = box.top + box.height
  const way = points.map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${px(atX(x))} ${px(atY(y))}`).join('')
  const intervals = points.map(({ x, y, halfWidth = Number.NaN }) => {
    if (Number.isNaN(halfWidth)) return ''
    const ends = [y - halfWidth, y + halfWidth].map((end) => clamp(atY(Math.max(end, 1e-9)), box.top - 9, bottom + 9))
    const caps = ends.map((end) => `M${px(atX(x) - CAP)} ${px(end)}h${2 * CAP}`).join('')
    return `M${px(atX(x))} ${px(ends[0]!)}V${px(ends[1]!)}${caps}`
  })
  const marks = points.map(({ x, y }) => {
    const [left, at] = [atX(x), atY(y)]
    if (at < box.top - 0.5) return `<path d="M${px(left)} ${px(box.top + 1)}l4 8h-8z" fill="${look.colour}"/>`
    if (at > bottom + 0.5) return `<path d="M${px(left)} ${px(bottom - 1)}l4 -8h-8z" fill="${look.colour}"/>`
    return mark(left, at, look)
  })
  return [
    `<g clip-path="url(#${id})">`,
    apart ? '' : stroke(way, look),
    intervals.join('') === ''
      ? ''
      : `<path d="${intervals.join('')}" fill="none" stroke="${look.colour}" stroke-opacity="0.5"/>`,
    '</g>',
    ...marks
  ]
    .filter((part) => part !== '')
    .join('\n')
}

// ---------------------------------------------------------------------------------------------------------- parts

function stroke(d: string, { colour, dash }: Look): string {
  const dashes = dash === '' ? '' : ` stroke-dasharray="${dash}"`
  return `<path d="${d}" fill="none" stroke="${colour}" stroke-width="1.8"${dashes}/>`
}

function mark(x: number, y: number, { form, colour }: Look): string {
  return `<path d="${form(x, y)}" fill="${colour}" stroke="${colour}"/>`
}

function circle(x: number, y: number): string {
  return `M${px(x - MARK)} ${px(y)}a${MARK} ${MARK} 0 1 0 ${2 * MARK} 0a${MARK} ${MARK} 0 1 0 -${2 * MARK} 0z`
}

function square(x: number, y: number): string {
  return `M${px(x - 3)} ${px(y - 3)}h6v6h-6z`
}

function triangle(x: number, y: number): string {
  return `M${px(x)} ${px(y - 4)}l4 7h-8z`
}

function downward(x: number, y: number): string {
  return `M${px(x)} ${px(y + 4)}l4 -7h-8z`
}

function diamond(x: number, y: number): string {
  return `M${px(x)} ${px(y - 4.4)}l4.4 4.4l-4.4 4.4l-4.4 -4.4z`
}

function cross(x: number, y: number): string {
  return `M${px(x - 3)} ${px(y - 3)}l6 6m0 -6l-6 6`
}

function text(x: number, y: number, content: string, className = '', anchor = 'start'): string {
  const classes = className === '' ? '' : ` class="${className}"`
  const anchors = anchor === 'start' ? '' : ` text-anchor="${anchor}"`
  return `<text x="${px(x)}" y="${px(y)}"${classes}${anchors}>${escaped(content)}</text>`
}

function px(value: number): string {
  return String(Number(value.toFixed(1)))
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value))
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
