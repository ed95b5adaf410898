/**
 * What `kappa top` knows and shows, and what events make of it. Sans I/O: events come in, what is to be done goes out;
 * frame.ts makes the lines.
 */

import type { KillResult, PauseResult } from '../../daemon/control-results.ts'
import { printable } from '../../printable.ts'
import { wrapped } from '../cells.ts'
import {
  commandOf,
  JOB_ORDERS,
  type JobOrder,
  type JobRow,
  jobRows,
  type News,
  PEER_ORDERS,
  type PeerOrder,
  type PeerRow,
  peerPage,
  peerRows,
  ratesOf,
  type Traffic
} from './rows.ts'

export type Section = 'peers' | 'jobs'

/** A text that takes the whole screen until a key ends it. */
export interface Page {
  title: string
  text: string
  /** The first line that is shown. */
  first: number
}

/** What is asked before something is done; any key that is no answer takes it back. */
export interface Question {
  text: string
  answers: Record<string, Effect>
}

export interface State {
  rows: number
  columns: number
  news: News | undefined
  /** Why the daemon can't be asked; undefined while it can. */
  away: string | undefined
  /** By peer, bytes in a second; at most as many as there are neighbours. */
  rates: ReadonlyMap<string, Traffic>
  /** Undefined: nothing can be selected. */
  focus: Section | undefined
  /** The connections of the machines instead of how they fared, where there is no room for both. */
  links: boolean
  /** Values of each second, or of each 15 s. */
  span: 'minutes' | 'hours'
  order: { peers: PeerOrder; jobs: JobOrder }
  /** Key and place of the row that is selected, as it was last; no key: none is. */
  selected: Record<Section, { key: string; index: number }>
  page: Page | undefined
  question: Question | undefined
  /** What came of the last thing that was done; shown for a while. */
  note: { text: string; until: number } | undefined
}

export type Event =
  | { type: 'news'; news: News }
  | { type: 'away'; why: string; at: number }
  | { type: 'key'; key: string }
  | { type: 'size'; rows: number; columns: number }
  | { type: 'said'; text: string; at: number }
  | { type: 'page'; title: string; text: string }

export type Effect =
  | { type: 'kill'; params: { job: string; signal: number; guest?: boolean } }
  | { type: 'pause'; params: { forMs?: number; now?: boolean } }
  | { type: 'resume' }
  | { type: 'why'; job: string }
  /** The daemon is asked for news at once. */
  | { type: 'look' }
  /** All is drawn anew. */
  | { type: 'redraw' }
  /** As Ctrl-Z does to other programs. */
  | { type: 'stop' }
  | { type: 'quit' }

const SIGKILL = 9
const SIGTERM = 15
const NO_JOB = 'select a job first: ↑ ↓'
const HOUR_MS = 3_600_000
/** ms that a note stays. */
const NOTE_MS = 6_000
/** Rows that page up and page down leave in sight. */
const PAGE_OVERLAP = 2

export function beginning(rows: number, columns: number): State {
  return {
    rows,
    columns,
    news: undefined,
    away: undefined,
    rates: new Map(),
    focus: 'jobs',
    links: false,
    span: 'minutes',
    order: { peers: 'metric', jobs: 'newest' },
    selected: { peers: { key: '', index: -1 }, jobs: { key: '', index: -1 } },
    page: undefined,
    question: undefined,
    note: undefined
  }
}

/** Takes the event in; what is to be done, if anything. */
export function handle(state: State, event: Event): Effect | undefined {
  switch (event.type) {
    case 'news':
      state.rates = ratesOf(state.news, event.news, state.rates)
      state.news = event.news
      state.away = undefined
      passed(state, event.news.at)
      for (const section of ['peers', 'jobs'] as const) keepSelected(state, section)
      return undefined
    case 'away':
      state.away = event.why
      passed(state, event.at)
      return undefined
    case 'size':
      Object.assign(state, { rows: event.rows, columns: event.columns })
      return { type: 'redraw' }
    case 'said':
      state.note = { text: event.text, until: event.at + NOTE_MS }
      return { type: 'look' }
    case 'page':
      state.page = { title: event.title, text: event.text, first: 0 }
      return undefined
    case 'key':
      return pressed(state, event.key)
  }
}

/** At the bottom, for a while. */
function say(state: State, text: string): undefined {
  state.note = { text, until: (state.news?.at ?? 0) + NOTE_MS }
  return undefined
}

function passed(state: State, at: number): void {
  if (state.note !== undefined && at >= state.note.until) state.note = undefined
}

// ----------------------------------------------------------------------------------------------------------- keys

function pressed(state: State, key: string): Effect | undefined {
  if (key === 'ctrl c' || key === 'ctrl \\') return { type: 'quit' }
  if (key === 'ctrl z') return { type: 'stop' }
  if (key === 'ctrl l') return { type: 'redraw' }
  state.note = undefined
  if (state.question !== undefined) {
    const { answers } = state.question
    state.question = undefined
    return Object.hasOwn(answers, key) ? answers[key] : undefined
  }
  if (state.page !== undefined) return turnPage(state, state.page, key)
  return inTables(state, key)
}

function turnPage(state: State, page: Page, key: string): undefined {
  const steps = stepsOf(key, state.rows - 2)
  // The frame knows how many lines there are, and stays within them.
  if (steps !== undefined) page.first = Math.max(0, Math.min(page.first, pageEnd(state)) + steps)
  else if (['q', 'escape', 'enter', 'w', '?', ' '].includes(key)) state.page = undefined
  return undefined
}

/** The lines of a page, as wide as the screen is. */
export function pageLines({ page, columns }: State): string[] {
  return (page?.text ?? '').split('\n').flatMap((line) => wrapped(line, Math.max(2, columns)))
}

/** The first line of a page when its last one is shown. */
export function pageEnd(state: State): number {
  return Math.max(0, pageLines(state).length - Math.max(1, state.rows - 2))
}

/** Rows that a key moves by; undefined for other keys. */
function stepsOf(key: string, height: number): number | undefined {
  const page = Math.max(1, height - PAGE_OVERLAP)
  const steps: Record<string, number> = { up: -1, down: 1, 'page up': -page, 'page down': page, home: -1e6, end: 1e6 }
  return steps[key]
}

function inTables(state: State, key: string): Effect | undefined {
  const steps = stepsOf(key, state.rows / 2)
  if (steps !== undefined) return select(state, steps)
  switch (key) {
    case 'q':
      return { type: 'quit' }
    case '?':
    case 'h':
      state.page = { title: 'keys', text: KEYS_HELP, first: 0 }
      return undefined
    case 'tab':
    case 'back tab':
      state.focus = state.focus === 'jobs' ? 'peers' : 'jobs'
      return undefined
    case 's':
      return sortOtherwise(state)
    case 'l':
      state.links = !state.links
      return undefined
    case 't':
      state.span = state.span === 'minutes' ? 'hours' : 'minutes'
      return { type: 'look' }
    case 'p':
      return pauseOrResume(state)
    case 'k':
      return askToKill(state)
    case 'w':
    case 'enter':
      return tellMore(state)
    default:
      return undefined
  }
}

const KEYS_HELP = `↑ ↓        select a machine or a job; also page up and down, home, end
Tab        machines or jobs
Enter, w   a job: why it runs where it runs; a machine: all that is known of it
k          end the selected job, of this machine or a guest of it
p          lend this machine no more, or again
s          sort the machines or the jobs by something else
l          machines: their connections (round trip, bytes), or how they fared
t          machines: the last seconds, or the last minutes
Ctrl-L     draw the screen anew
q, Ctrl-C  leave

METRIC  what one more job would get: 100 is an idle reference core
BUSY    cores that other programs use or jobs were promised, of how many
SLOTS   cores that guests hold, of those that they may

Beside each are its last values, the newest at the right: METRIC to one scale
for all machines, BUSY and SLOTS to the cores and slots of each. A job "on" a
machine is one of this home; one "from" a machine is its guest here.`

function sortOtherwise(state: State): undefined {
  const { order, focus } = state
  if (focus === undefined) return undefined
  if (focus === 'peers') order.peers = next(PEER_ORDERS, order.peers)
  else order.jobs = next(JOB_ORDERS, order.jobs)
  const { key } = state.selected[focus]
  const index = keysOf(state, focus).indexOf(key)
  if (index >= 0) state.selected[focus] = { key, index }
  return say(state, focus === 'peers' ? `machines by ${order.peers}` : JOB_ORDER_TEXT[order.jobs])
}

const JOB_ORDER_TEXT: Record<JobOrder, string> = {
  newest: 'newest jobs first',
  longest: 'longest jobs first',
  machine: 'jobs by machine',
  command: 'jobs by command'
}

function next<T>(all: readonly T[], one: T): T {
  return all[(all.indexOf(one) + 1) % all.length]!
}

// ------------------------------------------------------------------------------------------------------ selection

/** The machines as they are listed. */
export function peersOf({ news, rates, order }: State): PeerRow[] {
  return news === undefined ? [] : peerRows(news, rates, order.peers)
}

/** The jobs as they are listed. */
export function jobsOf({ news, order }: State): JobRow[] {
  return news === undefined ? [] : jobRows(news, order.jobs)
}

function keysOf(state: State, section: Section): string[] {
  return (section === 'peers' ? peersOf(state) : jobsOf(state)).map(({ key }) => key)
}

function select(state: State, steps: number): undefined {
  if (state.focus === undefined) return undefined
  const keys = keysOf(state, state.focus)
  const index = Math.max(0, Math.min(keys.length - 1, state.selected[state.focus].index + steps))
  state.selected[state.focus] = { key: keys[index] ?? '', index }
  return undefined
}

/** The same row wherever it is now. None in place of one that is gone: a key that was meant for it must not meet another. */
function keepSelected(state: State, section: Section): void {
  const { key, index } = state.selected[section]
  const found = keysOf(state, section).indexOf(key)
  state.selected[section] = found < 0 ? { key: '', index } : { key, index: found }
}

// -------------------------------------------------------------------------------------------------------- actions

function tellMore(state: State): Effect | undefined {
  if (state.news === undefined) return undefined
  if (state.focus === 'peers') {
    const row = peersOf(state).find(({ key }) => key === state.selected.peers.key)
    if (row) state.page = { title: row.name, text: peerPage(row, state.news.status), first: 0 }
    else say(state, 'select a machine first: ↑ ↓')
    return undefined
  }
  const row = selectedJob(state)
  if (row === undefined) return say(state, NO_JOB)
  const { job, guest } = row
  if (!guest) return { type: 'why', job: job.id }
  const text = `${commandOf(job)}\n\nA job of ${printable(job.home)}: kappa why there says why it came here.`
  state.page = { title: `guest ${job.id}`, text, first: 0 }
  return undefined
}

function selectedJob(state: State): JobRow | undefined {
  return jobsOf(state).find(({ key }) => key === state.selected.jobs.key)
}

function askToKill(state: State): undefined {
  if (state.news === undefined) return undefined
  const row = state.focus === 'jobs' ? selectedJob(state) : undefined
  if (row === undefined || row.job.endedAt !== null) {
    return say(state, row === undefined ? NO_JOB : `${row.job.id} is over`)
  }
  const { job, guest } = row
  const kill = (signal: number): Effect => ({ type: 'kill', params: { job: job.id, signal, ...(guest && { guest }) } })
  const what = `${job.id}: ${commandOf(job)}`
  state.question = guest
    ? { text: `End this guest of ${printable(job.home)}? y: yes  else: no   ${what}`, answers: { y: kill(SIGKILL) } }
    : { text: `End it? y: by TERM  9: by KILL  else: no   ${what}`, answers: { y: kill(SIGTERM), 9: kill(SIGKILL) } }
  return undefined
}

function pauseOrResume(state: State): Effect | undefined {
  const { news } = state
  if (news === undefined) return undefined
  if (news.status.paused) return { type: 'resume' }
  const guests = news.guests.some(({ endedAt }) => endedAt === null)
  state.question = {
    text: `Lend no more? y: yes  h: for an hour${guests ? '  e: and end its guests now' : ''}  else: no`,
    answers: {
      y: { type: 'pause', params: {} },
      h: { type: 'pause', params: { forMs: HOUR_MS } },
      ...(guests && { e: { type: 'pause', params: { now: true } } })
    }
  }
  return undefined
}

/** What came of an effect, in words. */
export function outcome(effect: Effect, result: unknown): string {
  if (effect.type === 'kill') {
    const { id, waitsFor } = result as KillResult
    return waitsFor
      ? `${printable(waitsFor)} can't be reached now: ${id} gets it when it is back`
      : `${id} is told to end`
  }
  if (effect.type === 'resume') return 'this machine is lent again'
  const { until, ended, running } = result as PauseResult
  const guests = ended > 0 ? `; ${ended} guest(s) ended` : running > 0 ? `; ${running} guest(s) may finish` : ''
  return `this machine is not lent${until === null ? '' : ' for an hour'}${guests}`
}
