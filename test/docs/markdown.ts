/** Reads the tables of a Markdown file as tests need them: by the headings above them. */

export interface Table {
  /** The headings above it, outermost first, without their marks. */
  path: string[]
  head: string[]
  rows: string[][]
}

/** Cells come without the spaces around them; a `|` within a cell is not known. */
export function tablesOf(text: string): Table[] {
  const tables: Table[] = []
  let path: string[] = []
  let open: Table | undefined
  for (const line of text.split('\n')) {
    const heading = /^(#+) (.*)$/.exec(line)
    if (heading !== null) path = [...path.slice(0, heading[1]!.length - 1), heading[2]!]
    if (!line.startsWith('|')) open = undefined
    else if (open === undefined) {
      open = { path, head: cellsOf(line), rows: [] }
      tables.push(open)
    } else if (!/^\|[-|: ]+$/.test(line)) open.rows.push(cellsOf(line))
  }
  return tables
}

function cellsOf(line: string): string[] {
  return line
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim())
}

/** A link as its text, code as what it says. */
export function plain(cell: string): string {
  return cell.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll('`', '')
}

/** What a cell of a state × event table says: `→ running: accepted, told`, `told`, `→ void`, `–`. */
export interface Outcome {
  state: string
  effects: string[]
}

export function outcomeOf(cell: string, from: string): Outcome {
  const moved = /^→ ([^:]+)(?:: (.+))?$/.exec(cell)
  const effects = moved === null ? (cell === '–' ? undefined : cell) : moved[2]
  return { state: moved?.[1] ?? from, effects: effects?.split(', ') ?? [] }
}

const UNITS: Record<string, number> = {
  '': 1,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  bytes: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20
}

/** `1.5`, `400 ms`, `24 h`, `128 KiB`, `ln 1.1` as a number, in ms or bytes where there is a unit. */
export function amountOf(cell: string): number {
  const [, ln, digits, unit] = /^(ln )?([\d.]+)(?: ([A-Za-z]+))?$/.exec(cell) ?? []
  const scale = UNITS[unit ?? '']
  if (digits === undefined || scale === undefined) throw new Error(`not an amount: ${cell}`)
  return ln === undefined ? Number(digits) * scale : Math.log(Number(digits))
}
