import t from 'tap'
import { widthOf } from '../../../src/cli/cells.ts'
import { frameOf, type Paint, snapshotOf } from '../../../src/cli/top/frame.ts'
import type { News } from '../../../src/cli/top/rows.ts'
import { beginning, handle, type State } from '../../../src/cli/top/state.ts'
import { AT, figures, job, neighbour, news, past, ramp, reachable, status } from './news.ts'

process.env.TZ = 'UTC'

const plain: Paint = (_, text) => text

function stateOf(rows: number, columns: number, said: News | undefined, ...keys: string[]): State {
  const state = beginning(rows, columns)
  if (said) handle(state, { type: 'news', news: said })
  for (const key of keys) handle(state, { type: 'key', key })
  return state
}

/** The lines without the blanks behind them. */
function shown(rows: number, columns: number, said: News | undefined, ...keys: string[]): string[] {
  return frameOf(stateOf(rows, columns, said, ...keys), plain).map((line) => line.trimEnd())
}

const HOUSEHOLD = news({
  status: status({
    neighbours: [
      neighbour('nas'),
      neighbour('attic', { metric: 200, refuses: 'its owner paused lending until 18:00' }),
      neighbour('barn', { connected: false, metric: null, via: null, roundTripMs: null, traffic: null })
    ],
    reachable: [reachable('nas'), reachable('cave', { hops: 2, through: 'nas', metric: 3.14 })]
  }),
  jobs: [
    job('j7fa'),
    job('k2bb', {
      state: 'exited',
      startedAt: AT - 8_000,
      endedAt: AT - 1_000,
      exitCode: 2,
      argv: ['sh', '-c', 'x 2']
    }),
    job('m3cc', { state: 'queued', position: 2, target: null, startedAt: AT - 3_000 }),
    job('l0st', { state: 'lost', startedAt: AT - 3 * 3_600_000, endedAt: AT })
  ],
  guests: [job('gg22', { home: 'laptop', target: 'desktop', argv: ['ffmpeg', '-i', 'a b.wav'] })]
})

t.test('a household on 80 columns and 24 lines', async (t) => {
  t.strictSame(shown(24, 80, HOUSEHOLD, 'down', 'down'), [
    'kappa top  desktop                                                      14:03:22',
    '5 machines (1 away), 2 jobs (1 in line), 1 guest here, lends 8 slots',
    '  MACHINE  METRIC last 9 s      BUSY last 9 s   SLOTS last 9 s',
    '  desktop     312 ▅▅▆▆▇▇▇██    0.2/4 ▄▄▃▃▃▂▂▂▁    1/8 ▁▁▁▁▁▁▁▁▁',
    '  attic       200                  -                -            its owner paus…',
    '  nas          80       ▂▂▂    4.2/4       ███    1/4       ▂▂▂',
    '  cave        3.1                  -              1/4',
    '  barn          -                  -                -            away',
    '',
    '  JOB   STATE        MACHINE         TIME  COMMAND',
    '  m3cc  queued, 2    -                3 s  make -j8',
    '> j7fa  running      on nas          12 s  make -j8',
    "  gg22  running      from laptop     12 s  ffmpeg -i 'a b.wav'",
    "  k2bb  exited 2     on nas           7 s  sh -c 'x 2'",
    '  l0st  lost         on nas           3 h  make -j8',
    ...Array(8).fill(''),
    '? help  q quit  Enter why  k kill  p pause  s sort  Tab machines  l links'
  ])
})

t.test('their connections, in place of the past, or beside it', async (t) => {
  const later = { ...HOUSEHOLD, at: AT + 2_000 }
  const moved = { ...later.status.neighbours[0]!, traffic: { sent: 5_000_000, received: 2_500 } }
  const state = stateOf(24, 80, HOUSEHOLD, 'l')
  const neighbours = [moved, ...HOUSEHOLD.status.neighbours.slice(1)]
  handle(state, { type: 'news', news: { ...later, status: { ...later.status, neighbours } } })
  t.strictSame(
    frameOf(state, plain)
      .slice(2, 8)
      .map((line) => line.trimEnd()),
    [
      '  MACHINE     TRIP    SENT/s   RECVD/s  VIA',
      '  desktop        -         -         -  this machine',
      '  attic    0.41 ms       0 B       0 B  /ip4/192.168.1.7/tcp/5277  its owner pa…',
      '  nas      0.41 ms   2.4 MiB     250 B  /ip4/192.168.1.7/tcp/5277',
      '  cave           -         -         -  through nas',
      '  barn           -         -         -  -                          away'
    ]
  )
  Object.assign(state, { columns: 180 })
  t.match(frameOf(state, plain)[5], /^ {2}nas {10}80 +▂▂▂ +4\.2\/4 +███ +1\/4 +▂▂▂ +0\.41 ms +2\.4 MiB +250 B +\/ip4/)
})

t.test('narrow and low', async (t) => {
  t.strictSame(shown(12, 40, HOUSEHOLD), [
    'kappa top  desktop              14:03:22',
    '5 machines (1 away), 2 jobs (1 in line)…',
    '  MACHINE  METRIC     BUSY  SLO 1-3 of 5',
    '  desktop     312    0.2/4    1/8',
    '  attic       200        -      -  its …',
    '  nas          80    4.2/4    1/4',
    '',
    '  JOB   STATE        MACHINE    1-3 of 5',
    '  m3cc  queued, 2    -               3 s',
    '  j7fa  running      on nas         12 s',
    '  gg22  running      from laptop    12 s',
    '? help  q quit  Enter why  k kill'
  ])
  t.strictSame(shown(6, 30, HOUSEHOLD), [
    'kappa top  desktop    14:03:22',
    '  JOB   STATE         1-3 of 5',
    '  m3cc  queued, 2    -',
    '  j7fa  running      on nas',
    '  gg22  running      from lap…',
    '? help  q quit  Enter why'
  ])
  t.strictSame(shown(6, 30, HOUSEHOLD, 'tab').slice(1, 3), [
    '  MACHINE  METRIC     1-3 of 5',
    '  desktop     312    0.2/4  1…'
  ])
  t.strictSame(shown(1, 30, HOUSEHOLD), ['? help  q quit  Enter why'])
  t.strictSame(shown(0, 30, HOUSEHOLD), [])
})

t.test('wide characters, and those that would do something to the terminal', async (t) => {
  const said = news({
    status: status({
      name: '書斎',
      reachable: [],
      neighbours: [neighbour('居間のパソコン', { metric: 9 }), neighbour('evil\x1b[2J\u202e')]
    }),
    jobs: [job('j7fa', { target: '居間のパソコン', argv: ['echo', '日本語 😀', '\x1b]0;x\x07'] })],
    figures: past()
  })
  t.strictSame(shown(10, 60, said, 'down'), [
    'kappa top  書斎                                     14:03:22',
    '3 machines, 1 job, 0 guests here, lends 8 slots',
    '  MACHINE           METRIC 5 s       BUSY 5 s    SLOTS 5 s',
    '  書斎                 312            1/4          1/8',
    '  evil\\u{1b}[2J\\u…      80              -            -',
    '  居間のパソコン         9              -            -',
    '',
    '  JOB   STATE        MACHINE               TIME  COMMAND',
    "> j7fa  running      on 居間のパソコン     12 s  echo '日本…",
    '? help  q quit  Enter why  k kill  p pause  s sort  l links'
  ])
})

t.test('many machines and jobs: the selected one is in sight', async (t) => {
  const names = Array.from({ length: 60 }, (_, index) => `peer${String(index).padStart(2, '0')}`)
  const ids = Array.from({ length: 250 }, (_, index) => `j${String(index).padStart(3, '0')}`)
  const said = news({
    status: status({
      neighbours: names.map((name) => neighbour(name)),
      reachable: names.map((name) => reachable(name))
    }),
    jobs: ids.map((id, index) => job(id, { startedAt: AT - index * 1_000, argv: [`program-${id}`] })),
    figures: past(...names.map((name, index) => figures(name, ramp(60).slice(0, index))))
  })
  const page = Array(12).fill('page down')
  const lines = shown(24, 80, said, 'down', ...page, 'tab', 'end')
  t.match(lines[1], /^61 machines, 250 jobs,/)
  t.match(lines[2], / 53-61 of 61$/)
  t.match(lines[11], /^> peer59 /)
  t.match(lines[13], / 117-125 of 250$/)
  t.match(lines[18], /^ {2}j120 /)
  const jobs = shown(24, 80, said, 'down', ...page)
  t.match(
    jobs[18],
    /^> j120 {2}running {6}on nas {9}120 s {2}program-j120$|^> j120 {2}running +on nas +2 min {2}program-j120$/
  )
  t.match(jobs[2], / 1-9 of 61$/)
  // Few jobs leave the room to the machines.
  t.match(shown(24, 80, { ...said, jobs: said.jobs.slice(0, 2) })[2], / 1-16 of 61$/)
})

t.test('before the first news, without them, and without jobs', async (t) => {
  t.strictSame(shown(4, 40, undefined), ['kappa top', 'asking the daemon', '', '? help  q quit  Enter why  k kill'])
  const state = stateOf(10, 80, news({ jobs: [], figures: past() }))
  handle(state, { type: 'away', why: 'the daemon has ended; kappa status starts it', at: AT + 60_000 })
  t.strictSame(
    frameOf(state, plain).map((line) => line.trimEnd()),
    [
      'kappa top  desktop                                                      14:03:22',
      'the daemon has ended; kappa status starts it; this is what it said at 14:03:22',
      '  MACHINE  METRIC last 14 s          BUSY last 14 s       SLOTS last 14 s',
      '  desktop     312                     1/4                   1/8',
      '  nas          80                       -                   1/4',
      '',
      '  No job of this machine or on it. Try: kappa run CMD',
      '',
      '',
      '? help  q quit  Enter why  k kill  p pause  s sort  Tab machines  l links'
    ]
  )
  const { figures: _, ...old } = news()
  t.match(shown(10, 80, old)[3], /^ {2}desktop +312 +1\/4 +1\/8$/, 'a daemon that keeps no figures')
})

t.test('questions, notes and pages', async (t) => {
  const last = (...keys: string[]) => shown(10, 60, HOUSEHOLD, ...keys).at(-1)
  t.equal(last('down', 'down', 'k'), 'End it? y: by TERM  9: by KILL  else: no   j7fa: make -j8')
  t.equal(last('down', 'down', 'down', 'k'), 'End this guest of laptop? y: yes  else: no   gg22: ffmpeg -…')
  t.equal(last('k'), 'select a job first: ↑ ↓')
  t.equal(last('p'), 'Lend no more? y: yes  h: for an hour  e: and end its guests…')
  t.equal(last('s'), 'longest jobs first')
  t.strictSame(shown(8, 60, HOUSEHOLD, 'tab', 'down', 'down', 'enter'), [
    'kappa top  attic                                    14:03:22',
    'peer id     id of attic',
    'metric      200',
    'via         /ip4/192.168.1.7/tcp/5277',
    'kind        own',
    'round trip  0.41 ms',
    'traffic     1.0 KiB sent, 2.0 KiB received since it',
    'q back  ↑↓ scroll'
  ])
  t.strictSame(shown(5, 60, HOUSEHOLD, 'tab', 'down', 'down', 'enter', 'end').slice(1, 4), [
    'version     0.1.0',
    'lends       no: its owner paused lending until 18:00',
    'state       connected'
  ])
  const help = shown(24, 80, HOUSEHOLD, '?')
  t.ok(help.at(-3) === '' || help.at(-2) === '', 'the help fits on 80 columns and 24 lines')
})

t.test('no line is wider than the screen, and there are as many as it has', async (t) => {
  const wrong: string[] = []
  for (const pressed of [[], ['l'], ['?'], ['down', 'k'], ['tab', 'down', 'enter'], ['p']]) {
    const state = stateOf(24, 80, HOUSEHOLD, ...pressed)
    for (let columns = 1; columns <= 200; columns += columns < 60 ? 1 : 7) {
      for (const rows of [1, 2, 3, 5, 8, 9, 10, 24, 60]) {
        Object.assign(state, { rows, columns })
        const lines = frameOf(state, plain)
        if (lines.length !== rows || lines.some((line) => widthOf(line) > columns))
          wrong.push(`${columns}×${rows} ${pressed}`)
      }
    }
  }
  t.strictSame(wrong, [])
})

t.test('colours are around whole cells', async (t) => {
  const painted = frameOf(stateOf(24, 80, HOUSEHOLD), (style, text) => `<${style}>${text}</>`)
  const bare = frameOf(stateOf(24, 80, HOUSEHOLD), plain)
  t.strictSame(
    painted.map((line) => line.replaceAll(/<\w+>|<\/>/g, '')),
    bare
  )
  t.match(painted[1], /^5 machines/)
  t.match(painted.at(-1), /^<dim>\? help/)
})

t.test('all at once, where no terminal bounds it', async (t) => {
  t.strictSame(snapshotOf(stateOf(0, 60, HOUSEHOLD), plain), [
    'kappa top  desktop                                  14:03:22',
    '5 machines (1 away), 2 jobs (1 in line), 1 guest here, lend…',
    '  MACHINE  METRIC     BUSY  SLOTS',
    '  desktop     312    0.2/4    1/8',
    '  attic       200        -      -  its owner paused lending…',
    '  nas          80    4.2/4    1/4',
    '  cave        3.1        -    1/4',
    '  barn          -        -      -  away',
    '',
    '  JOB   STATE        MACHINE         TIME  COMMAND',
    '  m3cc  queued, 2    -                3 s  make -j8',
    '  j7fa  running      on nas          12 s  make -j8',
    "  gg22  running      from laptop     12 s  ffmpeg -i 'a b.w…",
    "  k2bb  exited 2     on nas           7 s  sh -c 'x 2'",
    '  l0st  lost         on nas           3 h  make -j8'
  ])
  t.equal(snapshotOf(stateOf(0, 60, news({ jobs: [] })), plain).length, 7)
})
