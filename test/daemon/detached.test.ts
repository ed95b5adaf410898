import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type DetachedEnd, DetachedJobs, type DetachedState } from '../../src/daemon/detached.ts'
import { DetachedRun } from '../../src/daemon/detached-run.ts'
import { OUTPUT_BYTES_MAX } from '../../src/execution/recording.ts'
import { STREAM } from '../../src/protocols/exec/frames.ts'
import type { ExecHome, RemoteJob } from '../../src/protocols/exec/home.ts'

const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
const DAY_MS = 86_400_000

const state = (change: Partial<DetachedState> = {}): DetachedState => ({
  id: 'a234',
  argv: ['sh'],
  startedAt: 1_000,
  reason: null,
  target: 'desktop',
  targetName: 'desktop',
  kind: 'own',
  ticket: { id: '0'.repeat(32), target: 'desktop', epoch: 1, validMs: 2_000 },
  meeting: null,
  outs: [],
  outAlways: false,
  directory: '/',
  started: false,
  end: null,
  forgotten: false,
  unkept: null,
  ...change
})

const exited = (endedAt: number): DetachedEnd => ({ state: 'exited', exitCode: 0, signal: null, error: null, endedAt })

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'kappa-detached-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

t.test('the next daemon finds what this one knew', async (t) => {
  const path = directory(t)
  const jobs = await DetachedJobs.open(path, log)
  const job = await jobs.create(state())
  await job.output.stdout.append(Buffer.from('out'))
  await job.update({ started: true })
  await jobs.close()
  mkdirSync(join(path, 'detached/half'))
  writeFileSync(join(path, 'detached/half/stdout'), 'of a job that was just being made')
  const next = await DetachedJobs.open(path, log)
  t.same(next.get('a234')?.state, state({ started: true }))
  t.equal((await next.get('a234')!.output.stdout.read(0, 9)).toString(), 'out')
  t.same(readdirSync(join(path, 'detached')), ['a234'])
  await next.close()
})

t.test('what is old is forgotten, but never what is not over', async (t) => {
  const path = directory(t)
  const clock = { now: 100 * DAY_MS }
  const jobs = await DetachedJobs.open(path, log, () => clock.now)
  await jobs.create(state({ id: 'old', end: exited(69 * DAY_MS), forgotten: true }))
  await jobs.create(state({ id: 'young', end: exited(71 * DAY_MS), forgotten: true }))
  await jobs.create(state({ id: 'asked', end: exited(1), forgotten: false }))
  await jobs.create(state({ id: 'runs' }))
  await jobs.create(state({ id: 'last' }))
  t.same([...jobs.all()].map((job) => job.state.id).sort(), ['asked', 'last', 'runs', 'young'])
  t.same(readdirSync(join(path, 'detached')).sort(), ['asked', 'last', 'runs', 'young'])
  await jobs.close()
})

t.test('those who follow hear of every change once', async (t) => {
  const jobs = await DetachedJobs.open(directory(t), log)
  const job = await jobs.create(state())
  const never = new AbortController()
  const { version } = job
  job.changed()
  await job.news(version, never.signal)
  const next = job.news(job.version, never.signal)
  await jobs.remove(job)
  await next
  t.equal(job.removed, true)
  t.equal(existsSync(job.output.directory), false)
  const stopped = job.news(job.version, never.signal)
  never.abort()
  await stopped
})

t.test('a target that sends more than is kept is stopped, and the rest is whole', async (t) => {
  const jobs = await DetachedJobs.open(directory(t), log)
  t.teardown(() => jobs.close())
  const job = await jobs.create(state())
  const [closed, consumed]: number[][] = [[], []]
  const ends: DetachedEnd[] = []
  const host = {
    exec: undefined as unknown as ExecHome,
    log,
    over: (_: string, end: DetachedEnd) => void ends.push(end),
    running: () => undefined,
    discard: async () => undefined
  }
  const run = new DetachedRun(host, job, new AbortController().signal)
  const remote = {
    rest: () => undefined,
    closeOutput: (stream: number) => closed!.push(stream),
    consumed: (_: number, bytes: number) => consumed!.push(bytes)
  }
  run.begin(remote as unknown as RemoteJob)
  const piece = Buffer.alloc(4 * 2 ** 20, 'x')
  const pieces = OUTPUT_BYTES_MAX / piece.length + 2
  for (let index = 0; index < pieces; index++) run.data(STREAM.stdout, index * piece.length, piece)
  run.data(STREAM.stderr, 0, Buffer.from('err'))
  t.equal(await run.keep({ exitCode: 3, signal: null }), true)
  t.equal(job.output.stdout.bytes, OUTPUT_BYTES_MAX)
  t.equal((await job.output.stderr.read(0, 9)).toString(), 'err')
  t.same(closed, [STREAM.stdout])
  t.equal(consumed!.length, pieces + 1, 'everything was taken')
  t.match(job.state.unkept, { reason: /^here the first 64 MiB/ })
  t.match(ends, [{ state: 'exited', exitCode: 3 }])
  t.equal(await run.keep({ exitCode: 4, signal: null }), true, 'a second end changes nothing')
  t.match(job.state.end, { exitCode: 3 })
})
