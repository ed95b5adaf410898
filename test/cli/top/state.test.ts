import t from 'tap'
import type { News } from '../../../src/cli/top/rows.ts'
import { ratesOf } from '../../../src/cli/top/rows.ts'
import {
  beginning,
  type Effect,
  handle,
  jobsOf,
  outcome,
  pageEnd,
  peersOf,
  type State
} from '../../../src/cli/top/state.ts'
import { AT, figures, job, neighbour, news, past, status } from './news.ts'

const JOBS = [
  job('j1', { startedAt: AT - 3_000 }),
  job('j2', { startedAt: AT - 2_000 }),
  job('j3', { startedAt: AT - 1_000 })
]
const OVER = job('j4', { startedAt: AT - 500, endedAt: AT, state: 'exited', exitCode: 0 })
const GUEST = job('g1', { home: 'laptop', startedAt: AT - 10_000 })

function stateOf(said: News = news({ jobs: [...JOBS, OVER], guests: [GUEST] })): State {
  const state = beginning(24, 80)
  handle(state, { type: 'news', news: said })
  return state
}

/** What the last of these keys wants done. */
function press(state: State, ...keys: string[]): Effect | undefined {
  let effect: Effect | undefined
  for (const key of keys) effect = handle(state, { type: 'key', key })
  return effect
}

const order = (state: State) => jobsOf(state).map(({ job }) => job.id)

t.test('keys that leave, stop and draw anew, wherever one is', async (t) => {
  for (const before of [[], ['?'], ['p'], ['tab']]) {
    t.strictSame(press(stateOf(), ...before, 'ctrl c'), { type: 'quit' })
    t.strictSame(press(stateOf(), ...before, 'ctrl z'), { type: 'stop' })
    t.strictSame(press(stateOf(), ...before, 'ctrl l'), { type: 'redraw' })
  }
  t.strictSame(press(stateOf(), 'q'), { type: 'quit' })
  t.strictSame(press(stateOf(), '?', 'q'), undefined, 'a page is left first')
  t.strictSame(press(stateOf(), '?', 'q', 'q'), { type: 'quit' })
  t.equal(press(beginning(24, 80), 'k'), undefined)
  t.strictSame(press(beginning(24, 80), 'p', 'w', 's', 'down', 'up', 'end', 'l', 'tab', 'enter', 'q'), { type: 'quit' })
  t.strictSame(handle(stateOf(), { type: 'size', rows: 10, columns: 20 }), { type: 'redraw' })
})

t.test('a job is ended only when its name was seen and y pressed', async (t) => {
  const state = stateOf()
  t.equal(press(state, 'k', 'y'), undefined, 'none is selected')
  press(state, 'down', 'down', 'k')
  t.equal(state.question?.text, 'End it? y: by TERM  9: by KILL  else: no   j2: make -j8')
  t.strictSame(press(state, 'y'), { type: 'kill', params: { job: 'j2', signal: 15 } })
  t.strictSame(press(state, 'k', '9'), { type: 'kill', params: { job: 'j2', signal: 9 } })
  for (const no of ['n', 'q', 'escape', 'enter', 'down', 'constructor']) t.equal(press(state, 'k', no), undefined, no)
  t.equal(press(state, 'y'), undefined)
  t.strictSame(press(stateOf(), 'down', 'down', 'down', 'down', 'k', 'y'), {
    type: 'kill',
    params: { job: 'g1', signal: 9, guest: true }
  })
  const over = stateOf()
  t.equal(press(over, 'end', 'k', 'y'), undefined)
  press(over, 'k')
  t.equal(over.note?.text, 'j4 is over')
  t.equal(press(stateOf(), 'down', 'tab', 'k', 'y'), undefined, 'a machine is no job')
})

t.test('while a question stands, news that come change nothing of what it means', async (t) => {
  const state = stateOf()
  press(state, 'down', 'k')
  handle(state, { type: 'news', news: news({ jobs: [job('new', { startedAt: AT }), ...JOBS] }) })
  t.strictSame(press(state, 'y'), { type: 'kill', params: { job: 'j3', signal: 15 } })
})

t.test('what is selected stays so, wherever it is; nothing takes its place', async (t) => {
  const state = stateOf()
  press(state, 'down')
  t.equal(state.selected.jobs.key, 'home j3')
  handle(state, { type: 'news', news: news({ jobs: [job('new', { startedAt: AT }), ...JOBS] }) })
  t.strictSame(state.selected.jobs, { key: 'home j3', index: 1 })
  press(state, 's')
  t.strictSame(order(state), ['j1', 'j2', 'j3', 'new'])
  t.strictSame(state.selected.jobs, { key: 'home j3', index: 2 })
  handle(state, { type: 'news', news: news({ jobs: [JOBS[0]!, JOBS[1]!] }) })
  t.strictSame(state.selected.jobs, { key: '', index: 2 })
  t.equal(press(state, 'k', 'y'), undefined)
  press(state, 'up')
  t.equal(state.selected.jobs.key, 'home j2')
  press(state, 'page up', 'page down', 'end', 'home')
  t.equal(state.selected.jobs.key, 'home j1')
})

t.test('orders', async (t) => {
  const jobs = [
    job('a', { startedAt: AT - 5_000, target: 'nas', argv: ['z'] }),
    job('b', { startedAt: AT - 9_000, target: 'attic', argv: ['y'] }),
    job('c', { startedAt: AT - 1_000, target: null, argv: ['x'] }),
    job('d', { startedAt: AT - 900, endedAt: AT - 800, state: 'exited', exitCode: 0 }),
    job('e', { startedAt: AT - 90_000, endedAt: AT - 80_000, state: 'lost' })
  ]
  const state = stateOf(news({ jobs, guests: [GUEST] }))
  t.equal(order(state).join(''), 'cabg1de')
  press(state, 's')
  t.equal(order(state).join(''), 'g1baced', 'longest')
  press(state, 's')
  t.equal(order(state).join(''), 'cg1bade', 'by machine')
  press(state, 's')
  t.equal(order(state).join(''), 'g1cbade', 'by command')
  press(state, 's')
  t.equal(order(state).join(''), 'cabg1de')

  const peers = stateOf(
    news({
      status: status({
        neighbours: [
          neighbour('b', { metric: 10, roundTripMs: 1 }),
          neighbour('a', { metric: 30, roundTripMs: null }),
          neighbour('c', { metric: null, connected: false, roundTripMs: null })
        ],
        reachable: []
      }),
      figures: past(figures('a', [300]), figures('b', [10]))
    })
  )
  const names = () => peersOf(peers).map(({ name }) => name)
  t.strictSame(names(), ['desktop', 'a', 'b', 'c'], 'this machine first; then the best')
  press(peers, 'tab', 's')
  t.strictSame(names(), ['desktop', 'a', 'b', 'c'], 'by name')
  press(peers, 's')
  t.strictSame(names(), ['desktop', 'b', 'a', 'c'], 'the busiest')
  press(peers, 's')
  t.strictSame(names(), ['desktop', 'b', 'a', 'c'], 'the nearest')
})

t.test('why, and what is known of a machine', async (t) => {
  const state = stateOf()
  t.equal(press(state, 'w'), undefined)
  t.equal(state.note?.text, 'select a job first: ↑ ↓')
  t.strictSame(press(state, 'down', 'enter'), { type: 'why', job: 'j3' })
  handle(state, { type: 'page', title: 'why j3', text: 'one\n'.repeat(40) })
  t.equal(pageEnd(state), 41 - 22)
  press(state, 'end')
  press(state, 'up')
  t.equal(state.page?.first, pageEnd(state) - 1, 'the end is the last line, however far one went')
  press(state, 'home', 'page down')
  t.equal(state.page?.first, 20)
  press(state, 'escape')
  t.equal(state.page, undefined)
  t.equal(press(state, 'down', 'down', 'down', 'w'), undefined)
  t.equal(state.page!.text, 'make -j8\n\nA job of laptop: kappa why there says why it came here.')
})

t.test('lending', async (t) => {
  t.strictSame(press(stateOf(), 'p', 'y'), { type: 'pause', params: {} })
  t.strictSame(press(stateOf(), 'p', 'h'), { type: 'pause', params: { forMs: 3_600_000 } })
  t.strictSame(press(stateOf(), 'p', 'e'), { type: 'pause', params: { now: true } })
  t.equal(press(stateOf(news()), 'p', 'e'), undefined, 'there are no guests to end')
  t.equal(press(stateOf(), 'p', 'n'), undefined)
  const paused = status({ paused: true, refuses: 'its owner paused lending' })
  t.strictSame(press(stateOf(news({ status: paused })), 'p'), { type: 'resume' })
})

t.test('what came of it is said for a while, and looked at', async (t) => {
  const state = stateOf()
  t.strictSame(handle(state, { type: 'said', text: 'done', at: AT }), { type: 'look' })
  handle(state, { type: 'news', news: news({ at: AT + 5_000 }) })
  t.equal(state.note?.text, 'done')
  handle(state, { type: 'away', why: 'it is away', at: AT + 6_000 })
  t.equal(state.note, undefined)
  t.equal(state.away, 'it is away')
  handle(state, { type: 'news', news: news({ at: AT + 7_000 }) })
  t.equal(state.away, undefined)
  const kill = { type: 'kill', params: { job: 'j1', signal: 15 } } as const
  t.equal(outcome(kill, { id: 'j1', waitsFor: null }), 'j1 is told to end')
  t.equal(outcome(kill, { id: 'j1', waitsFor: 'n\x1b' }), "n\\u{1b} can't be reached now: j1 gets it when it is back")
  const pause = { type: 'pause', params: {} } as const
  t.equal(outcome(pause, { until: null, ended: 0, running: 0 }), 'this machine is not lent')
  t.equal(
    outcome(pause, { until: 1, ended: 0, running: 2 }),
    'this machine is not lent for an hour; 2 guest(s) may finish'
  )
  t.equal(outcome(pause, { until: null, ended: 1, running: 0 }), 'this machine is not lent; 1 guest(s) ended')
  t.equal(outcome({ type: 'resume' }, {}), 'this machine is lent again')
})

t.test('the span is asked for at once', async (t) => {
  const state = stateOf()
  t.strictSame(press(state, 't'), { type: 'look' })
  t.equal(state.span, 'hours')
  press(state, 't')
  t.equal(state.span, 'minutes')
})

t.test('bytes in a second', async (t) => {
  const at = (ms: number, traffic: { sent: number; received: number } | null) =>
    news({ at: AT + ms, status: status({ neighbours: [neighbour('nas', { traffic })] }) })
  const first = at(0, { sent: 1_000, received: 50 })
  t.equal(ratesOf(undefined, first, new Map()).size, 0)
  const rates = ratesOf(first, at(2_000, { sent: 3_000, received: 50 }), new Map())
  t.strictSame([...rates], [['id of nas', { sent: 1_000, received: 0 }]])
  t.equal(ratesOf(first, at(0, { sent: 9_000, received: 50 }), rates), rates, 'no time has passed')
  t.equal(ratesOf(first, at(2_000, { sent: 10, received: 60 }), rates).size, 0, 'a new connection')
  t.equal(ratesOf(first, at(2_000, null), rates).size, 0)
})
