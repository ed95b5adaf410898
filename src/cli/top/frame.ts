/** The screen of `kappa top` as lines of text: exactly as many as the terminal has, none wider than it. */

import { printable } from '../../printable.ts'
import { fit, sparkline, splitAt, widthOf } from '../cells.ts'
import { duration, type Style, unstyled } from '../output.ts'
import { stateOf } from '../ps.ts'
import { busyCores, bytes, commandOf, type JobRow, milliseconds, type PeerRow } from './rows.ts'
import { jobsOf, pageEnd, pageLines, peersOf, type Section, type State } from './state.ts'

/** Gives a text a look; the same text where there are no colours. */
export type Paint = (style: Style, text: string) => string

/** Values of each kind that a screen can show. */
export const SPARK_MAX = 60
/** Less says nothing. */
const SPARK_MIN = 4
const NAME_MAX = 16
const VIA_MAX = 40
const WHERE_MAX = 22
const ID_MAX = 8
/** Columns from which the links have room beside the rest. */
const WIDE = 150
/** Rows from which there is room for both tables. */
const BOTH_ROWS = 9

/** A column of a table. */
interface Column<T> {
  heading: string
  /** Cells; as many as are left, when there are fewer. */
  width: number
  right?: boolean
  /** Blanks before it; 2 unless given. */
  gap?: number
  text(row: T): string
  style?(row: T): Style | undefined
}

/** The whole screen. */
export function frameOf(state: State, paint: Paint): string[] {
  const { rows } = state
  if (rows < 1) return []
  const lines = state.page === undefined ? tables(state, paint) : page(state, paint)
  const above = [...lines, ...Array<string>(rows).fill('')].slice(0, rows - 1)
  return [...above, footer(state, paint)]
}

/** All that there is, for where no terminal bounds it: without keys, and nothing is selected. */
export function snapshotOf(state: State, paint: Paint): string[] {
  // As much as both tables may take, and the lines around them.
  const rows = 6 + BOTH_ROWS + 2 * Math.max(peersOf(state).length, jobsOf(state).length)
  const lines = tables({ ...state, rows, focus: undefined }, paint).map((line) => line.trimEnd())
  return lines.slice(0, lines.findLastIndex((line) => line !== '') + 1)
}

function tables(state: State, paint: Paint): string[] {
  const { rows, focus, news } = state
  const head = [title(state, paint), summary(state, paint)]
  if (news === undefined) return head
  const [peers, jobs] = [peersOf(state), jobsOf(state)]
  const peersTable = (height: number) => table(state, 'peers', peers, peerColumns(state, peers), height, paint)
  const jobsTable = (height: number) =>
    jobs.length === 0
      ? [paint('dim', fit('  No job of this machine or on it. Try: kappa run CMD', state.columns))]
      : table(state, 'jobs', jobs, jobColumns(state, jobs), height, paint)
  if (rows < BOTH_ROWS) return [head[0]!, ...(focus === 'peers' ? peersTable : jobsTable)(rows - 3)]
  // Title, summary, two headings, a blank line and the keys.
  const room = rows - 6
  const peerHeight = Math.min(peers.length, Math.max(Math.floor(room / 2), room - Math.max(1, jobs.length)))
  return [...head, ...peersTable(peerHeight), '', ...jobsTable(room - peerHeight)]
}

// ----------------------------------------------------------------------------------------------- above and below

function title({ news, columns, page }: State, paint: Paint): string {
  const name = page?.title ?? printable(news?.status.name ?? '')
  const left = fit(`kappa top  ${name}`, columns - 10)
  return paint('bold', fit(`${left}  ${news === undefined ? '' : timeOfDay(news.at)}`, columns))
}

function timeOfDay(at: number): string {
  const date = new Date(at)
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':')
}

function summary(state: State, paint: Paint): string {
  const { news, away, columns } = state
  if (away !== undefined) {
    const since = news === undefined ? '' : `; this is what it said at ${timeOfDay(news.at)}`
    return paint('red', fit(`${printable(away, 300)}${since}`, columns))
  }
  if (news === undefined) return fit('asking the daemon', columns)
  const { status, jobs, guests } = news
  const peers = peersOf(state)
  const gone = status.neighbours.filter(({ connected }) => !connected).length
  const live = jobs.filter(({ endedAt }) => endedAt === null)
  const waiting = live.filter(({ state: is }) => is === 'queued').length
  const here = guests.filter(({ endedAt }) => endedAt === null).length
  const parts = [
    `${count(peers.length, 'machine')}${gone > 0 ? ` (${gone} away)` : ''}`,
    `${count(live.length, 'job')}${waiting > 0 ? ` (${waiting} in line)` : ''}`,
    `${count(here, 'guest')} here`,
    status.refuses === null
      ? `lends ${count(status.slots.total, 'slot')}`
      : `not lent: ${printable(status.refuses, 300)}`
  ]
  const text = fit(parts.join(', '), columns)
  return status.refuses === null ? text : paint('yellow', text)
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}

function footer(state: State, paint: Paint): string {
  const { question, note, columns } = state
  if (question !== undefined) return paint('bold', fit(question.text, columns))
  if (note !== undefined) return paint('bold', fit(printable(note.text, 300), columns))
  const [first, ...others] = keysNow(state)
  let text = first!
  for (const key of others) if (widthOf(text) + 2 + widthOf(key) <= columns) text += `  ${key}`
  return paint('dim', fit(text, columns))
}

function keysNow({ page, focus, news, links }: State): string[] {
  if (page !== undefined) return ['q back', '↑↓ scroll']
  const jobs = focus === 'jobs'
  return [
    '? help',
    'q quit',
    jobs ? 'Enter why' : 'Enter more',
    'k kill',
    news?.status.paused ? 'p lend' : 'p pause',
    's sort',
    jobs ? 'Tab machines' : 'Tab jobs',
    links ? 'l history' : 'l links',
    't time'
  ]
}

function page(state: State, paint: Paint): string[] {
  const height = Math.max(1, state.rows - 2)
  const first = Math.min(state.page!.first, pageEnd(state))
  const lines = pageLines(state).slice(first, first + height)
  return [title(state, paint), ...lines.map((line) => fit(line, state.columns))]
}

// --------------------------------------------------------------------------------------------------------- tables

/** The heading, and as many rows as have room, the selected one among them. */
function table<T extends { key: string }>(
  state: State,
  section: Section,
  rows: T[],
  columns: Column<T>[],
  height: number,
  paint: Paint
): string[] {
  const { key, index } = state.selected[section]
  const first = Math.max(0, Math.min(index - Math.floor(height / 2), rows.length - height))
  const shown = rows.slice(first, first + Math.max(0, height))
  const fitted = fitting(columns, state.columns)
  const cells = fitted.map(({ heading, width, right = false, gap = 2 }) => ' '.repeat(gap) + fit(heading, width, right))
  const range = ` ${first + 1}-${first + shown.length} of ${rows.length}`
  const whole = shown.length === 0 || shown.length === rows.length
  const part = whole || 2 * range.length > state.columns ? '' : range
  const before = splitAt(cells.join(''), state.columns - part.length)[0]
  const heading = before + ' '.repeat(Math.max(0, state.columns - widthOf(before) - part.length)) + part
  const lines = shown.map((row) => {
    const marker = state.focus === section && row.key === key ? '>' : ' '
    const line = fitted.map(({ text, style, width, right, gap = 2 }, column) => {
      const cell = fit(text(row), width, right)
      const look = style?.(row)
      const before = column === 0 ? marker + ' '.repeat(gap - 1) : ' '.repeat(gap)
      return before + (look === undefined ? cell : paint(look, cell))
    })
    return line.join('')
  })
  return [paint('bold', heading), ...lines]
}

/** The columns that have room, the last of them with what is left. */
function fitting<T>(columns: Column<T>[], width: number): Column<T>[] {
  const fitted: Column<T>[] = []
  let left = width
  for (const column of columns) {
    left -= column.gap ?? 2
    if (left <= 0) break
    fitted.push({ ...column, width: Math.min(column.width, left) })
    left -= column.width
  }
  return fitted
}

/** As wide as the widest text, within bounds. */
function widest(texts: string[], min: number, max: number): number {
  return Math.min(
    max,
    texts.reduce((width, text) => Math.max(width, widthOf(text)), min)
  )
}

// ------------------------------------------------------------------------------------------------------- machines

function peerColumns(state: State, rows: PeerRow[]): Column<PeerRow>[] {
  const width = widest(
    rows.map(({ name }) => name),
    7,
    NAME_MAX
  )
  const name: Column<PeerRow> = {
    heading: 'MACHINE',
    width,
    text: (row) => row.name,
    style: ({ self, note }) => (self ? 'bold' : note === 'away' ? 'dim' : undefined)
  }
  const notes = widest(
    rows.map(({ note }) => note),
    0,
    40
  )
  const note: Column<PeerRow> = {
    heading: '',
    width: notes,
    text: (row) => row.note,
    style: (row) => (row.note === 'away' ? 'red' : 'yellow')
  }
  const linked = linkColumns(rows)
  const fixed = 2 + width
  if (state.links && state.columns < WIDE) return [name, ...linked, note]
  const links = state.columns < WIDE ? [] : linked
  const taken = fixed + links.reduce((sum, { width: link }) => sum + 2 + link, 0)
  return [name, ...historyColumns(state, rows, state.columns - taken, notes), ...links, note]
}

function linkColumns(rows: PeerRow[]): Column<PeerRow>[] {
  const perSecond = (count: number | undefined) => (count === undefined ? '-' : bytes(count))
  return [
    {
      heading: 'TRIP',
      width: 7,
      right: true,
      text: ({ roundTripMs }) => (roundTripMs === null ? '-' : milliseconds(roundTripMs))
    },
    { heading: 'SENT/s', width: 8, right: true, text: ({ rate }) => perSecond(rate?.sent) },
    { heading: 'RECVD/s', width: 8, right: true, text: ({ rate }) => perSecond(rate?.received) },
    {
      heading: 'VIA',
      width: widest(
        rows.map(({ via }) => via),
        3,
        VIA_MAX
      ),
      text: ({ via }) => via || '-'
    }
  ]
}

/** How the machines fared, in so many cells: numbers, with what was before beside them where there is room. */
function historyColumns(state: State, rows: PeerRow[], width: number, notes: number): Column<PeerRow>[] {
  const numbers = 2 + 6 + 2 + 7 + 2 + 5
  const noteRoom = notes === 0 ? 0 : 2 + Math.min(notes, Math.max(12, Math.floor((width - numbers) / 3)))
  const room = Math.floor((width - numbers - noteRoom) / 3) - 1
  const spark = room < SPARK_MIN ? 0 : Math.min(SPARK_MAX, room)
  const everyMs = state.news?.figures?.everyMs ?? 0
  const past = spark === 0 || everyMs === 0 ? '' : duration(spark * everyMs)
  const heading = widthOf(past) + 5 <= spark ? `last ${past}` : past
  const best = rows.reduce((most, { figures }) => Math.max(most, ...known(figures?.metric, spark)), 1)
  const before = (values: (row: PeerRow) => string): Column<PeerRow>[] =>
    spark === 0 ? [] : [{ heading, width: spark, gap: 1, text: values, style: () => 'green' }]
  return [
    {
      heading: 'METRIC',
      width: 6,
      right: true,
      text: ({ metric }) => (metric === null ? '-' : short(metric, metric < 10 ? 1 : 0))
    },
    ...before(({ figures }) => sparkline(figures?.metric ?? [], best, spark)),
    { heading: 'BUSY', width: 7, right: true, text: ({ busy, cores }) => outOf(busy, cores, 1) },
    ...before(({ figures }) => (figures ? sparkline(busyCores(figures), most(figures.cores), spark) : '')),
    {
      heading: 'SLOTS',
      width: 5,
      right: true,
      text: ({ slots }) => outOf(slots?.used ?? null, slots?.total ?? null, 0)
    },
    ...before(({ figures }) => (figures ? sparkline(figures.slotsUsed, most(figures.slots), spark) : ''))
  ]
}

function known(values: readonly (number | null)[] | undefined, last: number): number[] {
  return (values ?? []).slice(-last || undefined).filter((value) => value !== null)
}

/** The largest of them; 1 when there is none above 0. */
function most(values: readonly (number | null)[]): number {
  return Math.max(0, ...known(values, SPARK_MAX)) || 1
}

/** `1.3/4`. */
function outOf(value: number | null, all: number | null, digits: number): string {
  return value === null || all === null ? '-' : `${short(value, digits)}/${short(all, digits)}`
}

function short(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)))
}

// ----------------------------------------------------------------------------------------------------------- jobs

function jobColumns(state: State, rows: JobRow[]): Column<JobRow>[] {
  const at = state.news?.at ?? 0
  const id = widest(
    rows.map(({ job }) => job.id),
    3,
    ID_MAX
  )
  const where = widest(
    rows.map((row) => row.where),
    7,
    WHERE_MAX
  )
  const style = ({ job }: JobRow): Style | undefined => {
    if (job.state === 'lost') return 'red'
    if (job.endedAt === null) return 'green'
    return job.exitCode === 0 ? 'dim' : 'yellow'
  }
  const over = ({ job }: JobRow): Style | undefined => (job.endedAt === null ? undefined : 'dim')
  return [
    { heading: 'JOB', width: id, text: ({ job }) => job.id, style: over },
    { heading: 'STATE', width: 11, text: ({ job }) => unstyled(stateOf(job)), style },
    { heading: 'MACHINE', width: where, text: (row) => row.where || '-', style: over },
    {
      heading: 'TIME',
      width: 7,
      right: true,
      text: ({ job }) => duration(Math.max(0, (job.endedAt ?? at) - job.startedAt)),
      style: over
    },
    { heading: 'COMMAND', width: state.columns, text: ({ job }) => commandOf(job), style: over }
  ]
}
