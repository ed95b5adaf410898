/** Text in the cells of a terminal: how many it takes, cut and filled to so many, and columns of little blocks. */

/** East Asian wide and fullwidth characters, and emoji. */
const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{1aff0}-\u{1b2fb}\u{1f200}-\u{1f265}\u{20000}-\u{3fffd}]/u
/** They stand on the character before them. */
const NARROW_NONE = /[\p{Mn}\p{Me}\p{Cf}\u1160-\u11ff]/u
const ASCII = /^[\x20-\x7e]*$/

/** The characters of a text with their cells. Control characters take none: `printable` has escaped them. */
function cellsOf(character: string): number {
  if (NARROW_NONE.test(character)) return 0
  return WIDE.test(character) ? 2 : 1
}

/** Cells that a line of text takes. */
export function widthOf(text: string): number {
  if (ASCII.test(text)) return text.length
  let width = 0
  for (const character of text) width += cellsOf(character)
  return width
}

/** The beginning of the text that takes at most so many cells, and what is left of it. */
export function splitAt(text: string, width: number): [string, string] {
  if (ASCII.test(text)) return [text.slice(0, Math.max(0, width)), text.slice(Math.max(0, width))]
  let taken = 0
  let end = 0
  for (const character of text) {
    taken += cellsOf(character)
    if (taken > width) break
    end += character.length
  }
  return [text.slice(0, end), text.slice(end)]
}

/** The text in exactly so many cells: filled behind, or before when `right`, or cut with an ellipsis. */
export function fit(text: string, width: number, right = false): string {
  if (width <= 0) return ''
  const cells = widthOf(text)
  // Half of a wide character can't be shown: a blank takes its place.
  const shown = cells <= width ? text : `${splitAt(text, width - 1)[0]}…`
  const blanks = ' '.repeat(width - widthOf(shown))
  return right ? blanks + shown : shown + blanks
}

/** A text over as many lines as it needs, each of at most so many cells (≥ 2); broken at blanks where that leaves half a line. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let rest = text
  while (widthOf(rest) > width) {
    let [line, behind] = splitAt(rest, width)
    const blank = behind.startsWith(' ') ? line.length : line.lastIndexOf(' ')
    if (blank > width / 2) [line, behind] = [rest.slice(0, blank), rest.slice(blank + 1)]
    lines.push(line)
    rest = behind
  }
  lines.push(rest)
  return lines
}

const BLOCKS = '▁▂▃▄▅▆▇█'

/** Values as columns of a height that goes with them, the last ones at the right: `top` (> 0) is as high as it gets; a blank for what isn't known. */
export function sparkline(values: readonly (number | null)[], top: number, width: number): string {
  const shown = width <= 0 ? [] : values.slice(-width)
  const columns = shown.map((value) => {
    if (value === null) return ' '
    const step = Math.round((Math.max(0, value) / top) * (BLOCKS.length - 1))
    return BLOCKS[Math.min(BLOCKS.length - 1, step)]
  })
  return columns.join('').padStart(Math.max(0, width))
}

/** For terminals that show nothing but ASCII: other characters in as many cells, blocks as characters with more and more ink. */
export function inAscii(text: string): string {
  if (ASCII.test(text)) return text
  let ascii = ''
  for (const character of text)
    ascii += character <= '\x7f' ? character : (SPARE[character] ?? '?'.repeat(cellsOf(character)))
  return ascii
}

const SPARE: Record<string, string> = {
  '▁': '_',
  '▂': '.',
  '▃': ':',
  '▄': '-',
  '▅': '=',
  '▆': '+',
  '▇': '*',
  '█': '#',
  '…': '~',
  '→': '>',
  '←': '<',
  '↑': '^',
  '↓': 'v'
}
