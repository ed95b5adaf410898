/** Timing and tables that all benchmarks share. */

export interface Row {
  what: string
  /** By column, in the unit that the column's name says. */
  values: Record<string, number | string>
}

export interface Result {
  question: string
  rows: Row[]
  /** What was skipped, and why; or what a reader must know. */
  notes: string[]
}

/** A benchmark: one question, answered by a table. */
export interface Benchmark {
  question: string
  /** Why it can't be run here; undefined: it can. */
  unavailable?(): string | undefined
  run(): Promise<Result>
}

export function median(values: number[]): number {
  return quantile(values, 0.5)
}

export function quantile(values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const position = (sorted.length - 1) * q
  const low = sorted[Math.floor(position)] ?? Number.NaN
  const high = sorted[Math.ceil(position)] ?? low
  return low + (high - low) * (position - Math.floor(position))
}

/** Three significant digits, which is more than noise leaves. */
export function round(value: number): number {
  return Number(value.toPrecision(3))
}

export function table(result: Result): string {
  const columns = ['', ...new Set(result.rows.flatMap(({ values }) => Object.keys(values)))]
  const cells = [
    columns,
    ...result.rows.map(({ what, values }) => [what, ...columns.slice(1).map((c) => values[c] ?? '')])
  ]
  const texts = cells.map((row) => row.map(String))
  const widths = columns.map((_, column) => Math.max(...texts.map((row) => row[column]!.length)))
  const line = (row: string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`
  const [head, ...rest] = texts
  const notes = result.notes.map((note) => `- ${note}`)
  return [
    `### ${result.question}`,
    '',
    line(head!),
    rule,
    ...rest.map(line),
    ...(notes.length ? ['', ...notes] : []),
    ''
  ].join('\n')
}
