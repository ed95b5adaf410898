/** Draws what a terminal showed as SVG: text with the few colours that kappa and shells use, in a window. */

const FONT_SIZE = 14
/** Of the font that is used most: where another one is wider, `textLength` squeezes it. */
const CHARACTER_WIDTH = 8.4
const LINE_HEIGHT = 19
const MARGIN = 18
const BAR_HEIGHT = 32

const COLOURS: Record<number, string> = { 31: '#f7768e', 32: '#9ece6a', 33: '#e0af68', 34: '#7aa2f7' }

interface Style {
  bold: boolean
  dim: boolean
  colour: string | undefined
}

const PLAIN: Style = { bold: false, dim: false, colour: undefined }

/** Lines as they were printed, with their escapes for colours; other escapes are left out. `title`: for who can't see it. */
export function drawTerminal(title: string, lines: readonly string[]): string {
  const columns = Math.max(...lines.map((line) => [...withoutEscapes(line)].length))
  const [width, height] = [columns * CHARACTER_WIDTH + 2 * MARGIN, lines.length * LINE_HEIGHT + BAR_HEIGHT + MARGIN]
  const dots = ['#f7768e', '#e0af68', '#9ece6a'].map(
    (colour, index) => `<circle cx="${MARGIN + 4 + 20 * index}" cy="${BAR_HEIGHT / 2}" r="6" fill="${colour}"/>`
  )
  const texts = lines.map((line, index) => lineOf(line, BAR_HEIGHT + (index + 0.8) * LINE_HEIGHT))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}" width="${Math.ceil(width)}">`,
    `<title>${title}</title>`,
    `<rect width="100%" height="100%" rx="8" fill="#1a1b26"/>`,
    ...dots,
    `<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="${FONT_SIZE}" fill="#c0caf5">`,
    ...texts.filter((text) => text !== ''),
    '</g>',
    '</svg>',
    ''
  ].join('\n')
}

function lineOf(line: string, y: number): string {
  let style = PLAIN
  let column = 0
  const parts: string[] = []
  for (const [, codes, text] of line.matchAll(/\x1b\[([\d;]*)m|([^\x1b]+)|\x1b(?:\[[^a-zA-Z]*[a-zA-Z])?/g)) {
    if (codes !== undefined) style = styleAfter(style, codes)
    if (text === undefined) continue
    const length = [...text].length
    if (text.trim() !== '') parts.push(partOf(text, length, column, y, style))
    column += length
  }
  return parts.join('\n')
}

function partOf(text: string, length: number, column: number, y: number, { bold, dim, colour }: Style): string {
  const attributes = [
    `x="${(MARGIN + column * CHARACTER_WIDTH).toFixed(1)}"`,
    `y="${y.toFixed(1)}"`,
    `textLength="${(length * CHARACTER_WIDTH).toFixed(1)}"`,
    ...(bold ? ['font-weight="bold"'] : []),
    ...(dim ? ['opacity="0.6"'] : []),
    ...(colour === undefined ? [] : [`fill="${colour}"`])
  ]
  return `<text ${attributes.join(' ')}>${escaped(text)}</text>`
}

function styleAfter(style: Style, codes: string): Style {
  const after = { ...style }
  for (const number of codes.split(';').map(Number)) {
    if (number === 0) Object.assign(after, PLAIN)
    else if (number === 1) after.bold = true
    else if (number === 2) after.dim = true
    else after.colour = COLOURS[number] ?? after.colour
  }
  return after
}

function withoutEscapes(line: string): string {
  return line.replaceAll(/\x1b(\[[^a-zA-Z]*[a-zA-Z])?/g, '')
}

/** Spaces count as they stand. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll(' ', '\u00a0')
}
