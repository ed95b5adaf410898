import { mock } from 'node:test'
import t, { type Test } from 'tap'
import type { Sent } from '../../src/core/judging.ts'
import type { Advice, FinishedRun } from '../../src/core/learning.ts'
import type { JobUsage, PlaceRequest, Ticket } from '../../src/core/types.ts'
import type { ControlConnection } from '../../src/daemon/control.ts'
import { FRAME, type RunEnd, type RunParams } from '../../src/daemon/control-codec.ts'
import type { CoreDriver, Placement } from '../../src/daemon/core-driver.ts'
import type { DetachedJobs } from '../../src/daemon/detached.ts'
import type { History, JobRecord } from '../../src/daemon/history.ts'
import { Runs } from '../../src/daemon/runs.ts'
import type { Woken } from '../../src/daemon/waking.ts'
import { KappaError } from '../../src/errors.ts'
import { dataHeader, frameHeader, parseFrame, STREAM } from '../../src/protocols/exec/frames.ts'
import type { ExecHome, HomeListener } from '../../src/protocols/exec/home.ts'

const TRACE = { reason: '', candidates: [], hops: [], refusals: [], placedMs: 1 }
const HERE: Placement = { where: 'here', reason: 'it is idle', trace: TRACE }

function there(target: string, through: string[] = []): Placement {
  return {
    where: 'there',
    ticket: { id: `ticket-${target}`, target, epoch: 1, validMs: 2_000 },
    probeId: `probe-${target}`,
    kind: 'own',
    name: target,
    path: ['me', ...through, target],
    addresses: through.length === 0 ? [] : [`/dns/${target}/tcp/1`],
    reason: 'it is faster',
    trace: TRACE
  }
}

/** A job that was handed to the exec protocol. */
class FakeRemote {
  readonly ticket: Ticket
  readonly listener: HomeListener
  readonly signals: number[] = []
  readonly closed: number[] = []
  cancelled = false
  /** The start message has left: it can't be cancelled any more. */
  sent = false

  constructor(ticket: Ticket, listener: HomeListener) {
    this.ticket = ticket
    this.listener = listener
  }

  cancel(): boolean {
    this.cancelled ||= !this.sent
    return !this.sent
  }

  signal(number: number): void {
    this.signals.push(number)
  }

  closeOutput(stream: number): void {
    this.closed.push(stream)
  }

  consumed(): void {}

  write(): void {}
}

/** The client's end of a control connection. */
class FakeConnection {
  gone = false
  readonly told: { type: number; value: unknown }[] = []
  #onFrame: (frame: never) => void = () => undefined
  #onGone: () => void = () => undefined

  onFrame(handler: (frame: never) => void): void {
    this.#onFrame = handler
  }

  onGone(listener: () => void): void {
    this.#onGone = listener
  }

  tell(type: number, value: unknown): void {
    this.told.push({ type, value })
  }

  send(): void {}

  signal(number: number): void {
    this.say(FRAME.signal, { number })
  }

  say(type: number, value: unknown): void {
    this.frame(frameHeader(type, 0), Buffer.from(JSON.stringify(value)))
  }

  frame(...parts: Buffer[]): void {
    this.#onFrame(parseFrame(Buffer.concat(parts)) as never)
  }

  die(): void {
    this.gone = true
    this.#onGone()
  }

  get end(): RunEnd | undefined {
    return this.told.find(({ type }) => type === FRAME.end)?.value as RunEnd | undefined
  }
}

/** `most`: so many targets may be met through others. */
function setUp(
  _t: Test,
  options: RunParams['options'] = {},
  most = 1,
  {
    argv = ['zstd'],
    advice = {},
    inputBytes = 0,
    asleep = {}
  }: {
    argv?: string[]
    advice?: Record<string, Advice>
    inputBytes?: number
    asleep?: Record<string, Promise<Woken>>
  } = {}
) {
  const clock = { now: 0 }
  const places: { request: PlaceRequest; decide: (placement: Placement) => void }[] = []
  const cancelled: string[] = []
  const ended: string[] = []
  const sent: unknown[] = []
  const remotes: FakeRemote[] = []
  const records: JobRecord[] = []
  const met: unknown[] = []
  const unreachable: { peer: string; reason: string }[] = []
  const learnt: FinishedRun[] = []
  const used: number[][] = []
  const began: [Sent, string | undefined][] = []
  const over: string[] = []
  const driver = {
    core: {
      homeLack: () => undefined,
      farJobEnded: () => [],
      homeJobEnded: (id: string) => {
        ended.push(id)
        return []
      }
    },
    place: (_: string, request: PlaceRequest) =>
      new Promise<Placement>((decide) => places.push({ request: structuredClone(request), decide })),
    cancel: (id: string) => cancelled.push(id),
    perform: (effects: unknown[]) => sent.push(...effects)
  }
  const exec = {
    start: (ticket: Ticket, _message: unknown, _within: number, listener: HomeListener) => {
      const remote = new FakeRemote(ticket, listener)
      remotes.push(remote)
      return remote
    },
    outcomes: [] as unknown[],
    asked: [] as string[],
    resolve: async (ticket: Ticket) => {
      exec.asked.push(ticket.id)
      return exec.outcomes.shift()
    }
  }
  const earlier: JobRecord[] = []
  const history = {
    newId: () => 'a234',
    record: (record: JobRecord) => records.push({ ...record }),
    lost: () => earlier
  }
  const host = {
    self: 'me',
    name: 'home',
    now: () => clock.now,
    nameOf: (peer: string) => peer,
    find: (name: string) => name,
    meet: (...meeting: unknown[]) => met.push(meeting) <= most,
    unreachable: () => unreachable,
    sleepers: (among: readonly string[]) =>
      Object.keys(asleep).filter((peer) => among.length === 0 || among.includes(peer)),
    wake: (peer: string) => asleep[peer]!,
    tooFar: () => undefined,
    paired: () => true,
    coresMax: () => 4,
    speed: () => 2,
    advice: (key: string) => advice[key] ?? {},
    learn: (run: FinishedRun) => learnt.push(run),
    trusts: () => true,
    class: () => ({ os: 'linux', arch: 'x64' }),
    show: () => Promise.reject(new Error('no files are asked for here')),
    used: (root: number, cpuMs: number) => used.push([root, cpuMs]),
    began: (sent: Sent, key: string | undefined) => began.push([sent, key]),
    over: () => undefined,
    ended: (id: string) => over.push(id)
  }
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const runs = new Runs(
    host,
    driver as unknown as CoreDriver,
    exec as unknown as ExecHome,
    history as unknown as History,
    { get: (id: string) => (id === 'detached' ? {} : undefined) } as unknown as DetachedJobs,
    log
  )
  const connection = new FakeConnection()
  const start = () =>
    runs.start(connection as unknown as ControlConnection, {
      ...PARAMS,
      argv,
      options: { plain: true, ...options },
      inputBytes
    })
  start()
  const told = { learnt, used, began, over, connection, earlier }
  return { clock, places, cancelled, ended, sent, remotes, records, met, unreachable, exec, runs, start, ...told }
}

const PARAMS: RunParams = {
  argv: ['zstd'],
  env: [],
  cwd: '/',
  umask: 0o22,
  nice: 0,
  limits: [],
  options: {},
  ins: false,
  outs: [],
  outAlways: false,
  terminal: false,
  pid: process.pid
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('what happened and the status that the client gets for it', async (t) => {
  const cases: [Parameters<HomeListener['ended']>[0], Partial<RunEnd>][] = [
    [
      { exitCode: 7, signal: null },
      { exitCode: 7, signal: null, status: undefined as never }
    ],
    [
      { exitCode: null, signal: 'SIGTERM' },
      { exitCode: null, signal: 'SIGTERM', status: undefined as never }
    ],
    [failed('CommandNotFoundError', 127), { status: 127, message: 'why (on desktop)' }],
    [failed('NotExecutableError', 126), { status: 126, message: 'why (on desktop)' }],
    [failed('SandboxError', null), { status: 125 }],
    [failed('StagingError', null), { status: 125 }],
    [failed('StagingError', 0), { status: 1, exitCode: 0 }],
    [failed('StagingError', 3), { status: undefined as never, exitCode: 3 }]
  ]
  for (const [end, told] of cases) {
    const { places, remotes, connection, runs, records } = setUp(t)
    places[0]!.decide(there('desktop'))
    await turn()
    remotes[0]!.listener.started()
    remotes[0]!.listener.ended(end)
    t.match(connection.end, told)
    t.equal(runs.live, 0)
    t.match(records.at(-1), { state: 'exited', exitCode: end.exitCode, signal: end.signal, endedAt: Number })
  }
  const { places, remotes, connection } = setUp(t)
  places[0]!.decide(there('desktop'))
  await turn()
  remotes[0]!.listener.lost('silence', 5_000)
  const again = { afterMs: 5_000, without: 'desktop' }
  t.match(connection.end, { status: 123, message: /lost.*may have run/, again })
})

t.test('a job for a machine that sleeps is placed when that is awake', async (t) => {
  const nas = Promise.withResolvers<Woken>()
  const { places, connection } = setUp(t, { on: ['nas'], verbose: true }, 1, { asleep: { nas: nas.promise } })
  await turn()
  t.equal(places.length, 0)
  t.match(connection.told[0], { type: FRAME.notice, value: { text: 'waking nas, for up to 60 s' } })
  nas.resolve('up')
  await turn()
  t.equal(places.length, 1)
})

t.test('of several the first that is awake will do, and only who was asked for is woken', async (t) => {
  const [nas, desk] = [Promise.withResolvers<Woken>(), Promise.withResolvers<Woken>()]
  const asleep = { nas: nas.promise, desk: desk.promise }
  const { places } = setUp(t, { wake: true }, 1, { asleep })
  desk.resolve('up')
  await turn()
  t.equal(places.length, 1)
  const other = setUp(t, { on: ['attic'] }, 1, { asleep })
  t.equal(other.places.length, 1, 'at once: that one does not sleep')
  t.equal(setUp(t, {}, 1, { asleep }).places.length, 1, 'nor is anybody woken for nothing')
  t.equal(setUp(t, { local: true, wake: true }, 1, { asleep }).places.length, 1)
})

t.test('who does not wake is told of', async (t) => {
  const { places, connection } = setUp(t, { on: ['nas'] }, 1, { asleep: { nas: Promise.resolve('it did not come') } })
  await turn()
  places[0]!.decide({ where: 'nowhere', trace: TRACE })
  await turn()
  t.match(JSON.stringify(connection.told.map(({ value }) => value)), /nas: it did not come/)
})

t.test('who gives up while a machine is woken waits no longer, and nothing is placed', async (t) => {
  const nas = Promise.withResolvers<Woken>()
  const { places, connection, runs } = setUp(t, { on: ['nas'] }, 1, { asleep: { nas: nas.promise } })
  await turn()
  connection.die()
  await turn()
  t.equal(runs.live, 0)
  nas.resolve('up')
  await turn()
  t.equal(places.length, 0)
})

t.test('what a staged program needs of a machine decides where it may go', async (t) => {
  const { places, runs, connection } = setUp(t)
  const programClass = { os: 'linux', arch: 'arm64' }
  const start = (options: RunParams['options']) =>
    runs.start(connection as unknown as ControlConnection, { ...PARAMS, ins: true, programClass, options })
  start({})
  t.match(places[1]!.request.needs, { class: programClass, mode: 'staged' })
  start({ local: true })
  t.equal(places[2]!.request.needs.class, undefined, 'unless its user knows better')
})

t.test("an end that is not the command's own may be tried again at once, elsewhere", async (t) => {
  for (const [end, again] of [
    [
      { ...failed('RefusedError', null), signal: 'SIGKILL' },
      { afterMs: 0, without: 'desktop' }
    ],
    [failed('SandboxError', null), { afterMs: 0, without: 'desktop' }],
    [failed('CommandNotFoundError', 127), undefined],
    [{ ...failed('LimitError', null), signal: 'SIGKILL' }, undefined],
    [{ exitCode: null, signal: 'SIGKILL' }, undefined]
  ] as const) {
    const { places, remotes, connection } = setUp(t)
    places[0]!.decide(there('desktop'))
    await turn()
    remotes[0]!.listener.started()
    remotes[0]!.listener.ended(end)
    t.same(connection.end?.again, again)
  }
  t.same(setUp(t, { avoid: ['desktop'], not: ['nas'] }).places[0]!.request.not, ['nas', 'desktop'])
  t.same(setUp(t, { avoid: ['desktop'], remote: true }).places[0]!.request.not, [], 'rather there than nowhere')
})

function failed(name: string, exitCode: number | null) {
  return { exitCode, signal: null, error: { name, message: 'why' } }
}

t.test('nobody can take it: 125, with who was asked', async (t) => {
  const { places, connection, runs } = setUp(t)
  const refusals = [{ peer: 'nas', code: 'slots', reason: 'no free slot' }]
  places[0]!.decide({ where: 'nowhere', trace: { ...TRACE, refusals } })
  await turn()
  t.match(connection.end, { status: 125, message: /nas: no free slot/ })
  t.equal(runs.live, 0)
})

t.test('a free job goes elsewhere, without that target; its slot there is given back', async (t) => {
  const { places, remotes, sent } = setUp(t)
  places[0]!.decide(there('desktop'))
  await turn()
  remotes[0]!.listener.free('slots', 'no')
  await turn()
  t.same(places[1]!.request.not, ['desktop'])
  t.equal(places[1]!.request.local, false)
  t.same(sent, [{ type: 'send', to: 'desktop', message: { type: 'release', id: 'probe-desktop' } }])
})

t.test('a target met through others is dialled where it says it is', async (t) => {
  const { places, remotes, sent, met, unreachable, records, start } = setUp(t)
  places[0]!.decide(there('attic', ['nas']))
  await turn()
  t.same(met, [['attic', 'attic', { path: ['me', 'nas', 'attic'], addresses: ['/dns/attic/tcp/1'] }]])
  unreachable.push({ peer: 'attic', reason: 'it does not answer' })
  remotes[0]!.listener.free('not-connected', 'it could not be reached in time')
  await turn()
  t.same(sent, [{ type: 'send', to: 'nas', message: { type: 'release', id: 'probe-attic' } }], 'by the same way')
  t.same(places[1]!.request.not, ['attic'])
  places[1]!.decide(HERE)
  await turn()
  const refusals = [{ peer: 'attic', code: 'unreachable', reason: 'it does not answer' }]
  t.match(records.at(-1)!.trace, { refusals }, 'as why shows')
  start()
  t.same(places[2]!.request.not, ['attic'], 'the next job loses no time with it')
  places[2]!.decide(HERE)
  await turn()
  t.match(records.at(-1)!.trace, { refusals })
})

t.test('a target that could not be reached is asked again by name', async (t) => {
  const { places, unreachable, start } = setUp(t, { on: ['attic'] })
  unreachable.push({ peer: 'attic', reason: 'it does not answer' })
  start()
  t.same(places[1]!.request.not, [])
})

t.test('one target too many: the job goes elsewhere', async (t) => {
  const { places, remotes } = setUp(t, {}, 0)
  places[0]!.decide(there('attic', ['nas']))
  await turn()
  t.same(remotes, [])
  t.same(places[1]!.request.not, ['attic'])
})

t.test('when the time for going elsewhere is up it stays here, unless told not to', async (t) => {
  for (const [options, stays] of [
    [{}, 'desktop: no'],
    [{ remote: true }, undefined],
    [{ on: ['desktop'] }, undefined]
  ] as const) {
    const { places, remotes, clock } = setUp(t, { ...options } as never)
    places[0]!.decide(there('desktop'))
    await turn()
    clock.now = 501
    remotes[0]!.listener.free('not-connected', 'no')
    await turn()
    t.equal(places[1]!.request.stays, stays)
    t.equal(places[1]!.request.local, false, 'nobody asked for that')
    t.equal(places[1]!.request.budgetMs, undefined)
  }
})

t.test('a second try has what is left of the time', async (t) => {
  const { places, remotes, clock } = setUp(t)
  places[0]!.decide(there('desktop'))
  await turn()
  clock.now = 150
  remotes[0]!.listener.free('slots', 'no')
  await turn()
  t.match(places[1]!.request, { budgetMs: 250, stays: undefined as never })
  places[1]!.decide(there('nas'))
  await turn()
  clock.now = 351
  remotes[1]!.listener.free('slots', 'no')
  await turn()
  t.match(places[2]!.request, { stays: 'desktop: no' }, 'too little for a walk')
})

t.test('a start that went unanswered has cost so much that one more short walk adds little', async (t) => {
  const { places, remotes, clock } = setUp(t)
  places[0]!.decide(there('desktop'))
  await turn()
  clock.now = 2_001
  remotes[0]!.listener.free('void', 'no')
  await turn()
  t.match(places[1]!.request, { budgetMs: 100, not: ['desktop'], stays: undefined as never })
  places[1]!.decide(there('nas'))
  await turn()
  clock.now = 4_101
  remotes[1]!.listener.free('void', 'no')
  await turn()
  t.match(places[2]!.request, { stays: 'desktop: no' }, 'once')
})

t.test('what all tries saw is told, and why it stayed', async (t) => {
  const { places, remotes, clock, records } = setUp(t)
  const seen = (peer: string, metric: number) => ({ peer, metric, hops: 1, ageMs: 0 })
  const first = there('attic', ['nas'])
  const asked = { peer: 'nas', code: 'not-better', reason: 'found nobody better' }
  first.trace = {
    ...TRACE,
    candidates: [seen('me', 1), seen('attic', 9)],
    refusals: [asked],
    names: { attic: 'attic' }
  }
  places[0]!.decide(first)
  await turn()
  clock.now = 500
  remotes[0]!.listener.free('not-connected', 'it could not be reached in time')
  await turn()
  places[1]!.decide({ ...HERE, trace: { ...TRACE, candidates: [seen('me', 2), seen('shed', 3)] } })
  await turn()
  const { reason, trace } = records.at(-1)!
  t.equal(reason, 'attic: it could not be reached in time')
  t.same(trace?.candidates, [seen('me', 1), seen('attic', 9), seen('shed', 3)], 'as known when it was first considered')
  const failed = {
    peer: 'attic',
    code: 'unreachable',
    reason: 'it could not be reached in time',
    hops: ['nas', 'attic']
  }
  t.same(trace?.refusals, [asked, failed])
  t.match(trace, { names: { attic: 'attic' }, placedMs: 500, hops: [] })
})

t.test('with --wait the time in line does not count, and a target that refused may be asked again later', async (t) => {
  const { places, remotes, clock } = setUp(t, { wait: true })
  clock.now = 60_000
  places[0]!.decide(there('desktop'))
  await turn()
  remotes[0]!.listener.free('slots', 'no')
  await turn()
  t.match(places[1]!.request, { not: ['desktop'], local: false })
  places[1]!.decide(there('nas'))
  await turn()
  remotes[1]!.listener.free('slots', 'no')
  await turn()
  t.match(places[2]!.request, { not: ['nas'], local: false })
  t.same(places[2]!.request.not, ['nas'])
})

t.test('Ctrl-C while it is placed, as in line with --wait, ends it there and then', async (t) => {
  const { places, cancelled, connection, runs, ended } = setUp(t, { wait: true })
  connection.signal(2)
  t.same(cancelled, ['a234'])
  t.match(connection.end, { exitCode: null, signal: 'SIGINT' })
  t.equal(runs.live, 0)
  places[0]!.decide(HERE)
  await turn()
  t.same(ended, ['a234'], 'a decision that came too late holds nothing')
  t.notOk(connection.told.some(({ type }) => type === FRAME.local))
})

t.test('Ctrl-Z and fg while it is placed end nothing', async (t) => {
  const { places, cancelled, connection } = setUp(t, { wait: true })
  for (const number of [20, 18, 28]) connection.signal(number)
  t.same(cancelled, [])
  t.equal(connection.end, undefined)
  places[0]!.decide(HERE)
  await turn()
  t.ok(connection.told.some(({ type }) => type === FRAME.local))
})

t.test('a signal before the start was handed over: nothing runs', async (t) => {
  const { places, remotes, connection, runs, sent } = setUp(t)
  places[0]!.decide(there('desktop'))
  await turn()
  connection.signal(15)
  await turn()
  t.ok(remotes[0]!.cancelled)
  t.match(connection.end, { signal: 'SIGTERM' })
  t.equal(runs.live, 0)
  t.equal(places.length, 1)
  t.match(sent, [{ type: 'send', to: 'desktop', message: { type: 'release' } }])
})

t.test('a signal while the start is under way, and then it turns out free: it goes nowhere else', async (t) => {
  const { places, remotes, connection, runs } = setUp(t)
  places[0]!.decide(there('desktop'))
  await turn()
  remotes[0]!.sent = true
  connection.signal(2)
  t.same(remotes[0]!.signals, [2])
  t.equal(connection.end, undefined)
  remotes[0]!.listener.free('void', 'no')
  await turn()
  t.match(connection.end, { signal: 'SIGINT' })
  t.equal(runs.live, 0)
  t.equal(places.length, 1)
})

t.test('signals of a running job are its own business', async (t) => {
  const { places, remotes, connection } = setUp(t)
  places[0]!.decide(there('desktop'))
  await turn()
  remotes[0]!.sent = true
  remotes[0]!.listener.started()
  for (const number of [2, 20, 18]) connection.signal(number)
  t.same(remotes[0]!.signals, [2, 20, 18])
  t.equal(connection.end, undefined)
})

t.test('the client dies', async (t) => {
  await t.test('while it is placed', async (t) => {
    const { places, cancelled, connection, runs, ended } = setUp(t)
    connection.die()
    t.same(cancelled, ['a234'])
    t.equal(runs.live, 0)
    places[0]!.decide(HERE)
    await turn()
    t.same(ended, ['a234'])
  })
  await t.test('before the start was handed over', async (t) => {
    const { places, remotes, connection, runs } = setUp(t)
    places[0]!.decide(there('desktop'))
    await turn()
    connection.die()
    await turn()
    t.ok(remotes[0]!.cancelled)
    t.equal(runs.live, 0)
    t.equal(places.length, 1)
  })
  await t.test('while the start is under way, and then it is refused', async (t) => {
    const { places, remotes, connection, runs } = setUp(t)
    places[0]!.decide(there('desktop'))
    await turn()
    remotes[0]!.sent = true
    connection.die()
    remotes[0]!.listener.free('slots', 'no')
    await turn()
    t.equal(runs.live, 0)
    t.equal(places.length, 1, 'nobody waits for it')
  })
  await t.test('while it runs elsewhere: TERM, and KILL until it is heard', async (t) => {
    const { places, remotes, connection, runs } = setUp(t)
    places[0]!.decide(there('desktop'))
    await turn()
    const [remote] = remotes as [FakeRemote]
    remote.sent = true
    remote.listener.started()
    const clock = t.capture(globalThis, 'setInterval')
    connection.die()
    t.same(remote.signals, [15])
    t.same(remote.closed, [4])
    const [repeat, every] = clock()[0]!.args as [() => void, number]
    t.equal(every, 4_000)
    repeat()
    repeat()
    t.same(remote.signals, [15, 9, 9])
    remote.listener.ended({ exitCode: null, signal: 'SIGKILL' })
    t.equal(runs.live, 0)
  })
  await t.test('while it runs here', async (t) => {
    const { places, connection, runs, ended, records } = setUp(t)
    places[0]!.decide(HERE)
    await turn()
    connection.die()
    t.equal(runs.live, 0)
    t.same(ended, ['a234'])
    t.match(records.at(-1), { state: 'lost' })
  })
})

t.test('a job that can not be reached is given up when its user says so twice', async (t) => {
  const asks = {
    'by signals': (connection: FakeConnection) => connection.say(FRAME.signal, { number: 2 }),
    'by keys': (connection: FakeConnection) => connection.frame(dataHeader(0, STREAM.keys, 0), Buffer.from('q\x03'))
  }
  for (const [how, ask] of Object.entries(asks)) {
    const { places, remotes, connection, runs, records } = setUp(t)
    places[0]!.decide(there('desktop'))
    await turn()
    const [remote] = remotes
    remote!.sent = true
    remote!.listener.started()
    for (let times = 0; times < 3; times++) ask(connection)
    t.equal(connection.end, undefined, 'as long as it can, the job decides')
    remote!.listener.hanging(true)
    ask(connection)
    remote!.listener.hanging(false)
    remote!.listener.hanging(true)
    connection.say(FRAME.signal, { number: 18 })
    ask(connection)
    t.equal(connection.end, undefined)
    ask(connection)
    t.match(connection.end, { status: 123, message: /given up.*desktop/ }, how)
    connection.die()
    t.ok(remote!.signals.includes(15), 'ended when it can be reached')
    t.equal(runs.live, 1)
    remote!.listener.ended({ exitCode: null, signal: 'SIGTERM' })
    t.match(records.at(-1), { state: 'exited', signal: 'SIGTERM' })
  }
})

t.test('kappa kill of a job whose client is ending is no failure', async (t) => {
  const { places, runs } = setUp(t)
  places[0]!.decide(HERE)
  await turn()
  t.same(runs.signal('a234', 0), { reached: true })
  t.equal(runs.signal('other', 15), undefined)
})

t.test('what is lost is corrected when its target can be asked again', async (t) => {
  const { runs, exec, records } = setUp(t)
  const ticket = (id: string, target = 'desktop') => ({ id, target, epoch: 1, validMs: 2_000 })
  const record = (id: string) => ({ id, state: 'lost', exitCode: null, signal: null }) as JobRecord
  for (const id of ['void', 'running', 'ended']) runs.lost(ticket(id), record(id))
  runs.lost(ticket('elsewhere', 'nas'), record('elsewhere'))
  exec.outcomes.push(
    { state: 'void' },
    { state: 'running' },
    { state: 'ended', end: { exitCode: 4, signal: null } },
    { state: 'ended', end: { exitCode: null, signal: 'SIGKILL' } }
  )
  await runs.correctLost('desktop')
  t.same(exec.asked, ['void', 'running', 'ended'])
  t.match(records.at(-1), { id: 'ended', state: 'exited', exitCode: 4 })
  await runs.correctLost('desktop')
  t.same(exec.asked.slice(3), ['running'], 'what still ran is asked again')
  t.match(records.at(-1), { id: 'running', state: 'exited', signal: 'SIGKILL' })
})

t.test('so is what earlier daemons lost', async (t) => {
  const { runs, exec, records, earlier } = setUp(t)
  const ticket = (id: string) => ({ id, target: 'desktop', epoch: 1, validMs: 2_000 })
  for (const id of ['void', 'ended', 'detached', 'a234']) {
    earlier.push({ id, state: 'lost', exitCode: null, signal: null, ticket: ticket(id) } as JobRecord)
  }
  exec.outcomes.push({ state: 'void' }, { state: 'ended', end: { exitCode: null, signal: 'SIGTERM' } })
  await runs.correctLost('desktop')
  t.same(exec.asked, ['void', 'ended'], 'but those that live or are asked for otherwise')
  t.match(records.at(-2), { id: 'void', state: 'lost', ticket: null })
  t.match(records.at(-1), { id: 'ended', state: 'exited', signal: 'SIGTERM', ticket: null })
  await runs.correctLost('desktop')
  t.equal(exec.asked.length, 2, 'once')
})

t.test('a target that does not say how it ended is asked again', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const { runs, exec, records, earlier } = setUp(t)
  const ticket = { id: 'x', target: 'desktop', epoch: 1, validMs: 2_000 }
  earlier.push({ id: 'job', state: 'lost', exitCode: null, signal: null, ticket } as JobRecord)
  exec.outcomes.push(undefined, { state: 'running' }, { state: 'ended', end: { exitCode: 4, signal: null } })
  await runs.correctLost('desktop')
  for (const asked of [2, 3]) {
    mock.timers.tick(10_000)
    await turn()
    t.equal(exec.asked.length, asked)
  }
  t.match(records.at(-1), { id: 'job', state: 'exited', exitCode: 4, ticket: null })
  mock.timers.tick(60_000)
  await turn()
  t.equal(exec.asked.length, 3, 'no more when it is known')
})

t.test('a start that can not be sent: nothing ran, and it is said', async (t) => {
  const { places, exec, connection, runs } = setUp(t)
  exec.start = () => {
    throw new KappaError('NothingRanError', 'too long')
  }
  places[0]!.decide(there('desktop'))
  await turn()
  await turn()
  t.match(connection.end, { status: 125, message: 'too long' })
  t.equal(runs.live, 0)
})

t.test('what a job took here is learnt, as the client tells it or else by the clock', async (t) => {
  const ends: [object, JobUsage][] = [
    [
      { wallMs: 20, cpuMs: 15, peakBytes: 1e6 },
      { wallMs: 20, cpuMs: 15, peakBytes: 1e6 }
    ],
    [{}, { wallMs: 30 }]
  ]
  for (const [told, usage] of ends) {
    const { places, connection, clock, learnt, used } = setUp(t)
    places[0]!.decide(HERE)
    await turn()
    clock.now += 30
    connection.say(FRAME.localEnded, { exitCode: 0, signal: null, ...told })
    t.strictSame(learnt, [{ key: 'zstd', speed: 2, usage }])
    t.strictSame(used, usage.cpuMs === undefined ? [] : [[process.pid, usage.cpuMs]], 'and is no load, whatever it was')
  }
})

t.test('what a job took there is learnt, with what went both ways', async (t) => {
  const { places, remotes, connection, clock, learnt, began, over } = setUp(t, {}, 1, { inputBytes: 200 })
  places[0]!.decide({ ...there('desktop'), claim: { speed: 3, metric: 250 } } as Placement)
  await turn()
  const { listener } = remotes[0]!
  listener.started()
  const sent = { id: 'a234', peer: 'desktop', claim: { speed: 3, metric: 250 }, demand: 1 }
  t.strictSame(began, [[sent, 'zstd <4']])
  t.same(over, [])
  clock.now += 100
  connection.frame(dataHeader(0, STREAM.stdin, 0), Buffer.alloc(10))
  connection.frame(dataHeader(0, STREAM.ins, 0), Buffer.alloc(200))
  listener.data(STREAM.stdout, 0, Buffer.alloc(30))
  listener.data(STREAM.outs, 0, Buffer.alloc(400))
  listener.ended({ exitCode: 0, signal: null, usage: { wallMs: 80, cpuMs: 70 } })
  t.same(over, ['a234'])
  t.strictSame(learnt, [
    {
      key: 'zstd <4',
      sent: { id: 'a234', peer: 'desktop', claim: { speed: 3, metric: 250 }, demand: 1 },
      usage: { wallMs: 80, cpuMs: 70 },
      link: { totalMs: 100, stagedBytes: 600, streamedBytes: 40, turns: 1 }
    }
  ])
})

t.test('nothing is learnt from a failure, a signal, or what is in the arguments of an interpreter', async (t) => {
  const ends = [
    { exitCode: 1, signal: null },
    { exitCode: null, signal: 'SIGTERM' }
  ]
  for (const end of ends) {
    const { places, connection, learnt } = setUp(t)
    places[0]!.decide(HERE)
    await turn()
    connection.say(FRAME.localEnded, end)
    t.same(learnt, [])
  }
  const { places, connection, learnt } = setUp(t, {}, 1, { argv: ['sh', '-c', 'a; b'] })
  places[0]!.decide(HERE)
  await turn()
  connection.say(FRAME.localEnded, { exitCode: 0, signal: null })
  t.same(learnt, [])
})

t.test('what is known of a command fills in what neither the user nor the command says', async (t) => {
  const known: Advice = {
    demand: 3,
    memoryBytes: 7,
    work: { ms: 10, stagedBytes: 20, streamedBytes: 30, turns: 40 }
  }
  const advice = { zstd: known, 'zstd -T': known, make: known }
  const request = (options: RunParams['options'], argv = ['zstd']) =>
    setUp(t, options, 1, { argv, advice }).places[0]!.request
  t.match(request({}), {
    needs: { demand: 3, memoryBytes: 7 },
    work: { ms: 10, stagedBytes: 20, streamedBytes: 30, turns: 40 }
  })
  t.match(request({ cores: 2, memoryBytes: 9 }).needs, { demand: 2, memoryBytes: 9 })
  t.equal(request({}, ['make', '-j8']).needs.demand, 8)
  t.match(setUp(t).places[0]!.request, { needs: { demand: 1, memoryBytes: 2 ** 29 }, transferFactor: 1.05 })
})
