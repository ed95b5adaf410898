import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { KappaError } from '../../src/errors.ts'
import { Benchmark, type BenchmarkInit } from '../../src/machine/benchmark.ts'
import { BENCHMARK_PROGRAMS, BENCHMARK_VERSION, speedOf } from '../../src/machine/benchmark-programs.ts'

/** A worker that prints these results at once; `quick` and `full` say how much faster than the reference it claims to be. */
function fakeWorker(quick: number, full: number[]): string {
  const results = BENCHMARK_PROGRAMS.map(({ name, referenceMs }) => ({ name, ms: referenceMs }))
  return `
    const { readFileSync, writeFileSync } = require('node:fs')
    const count = __dirname + '/count'
    let runs = 0
    try { runs = Number(readFileSync(count)) } catch {}
    const full = process.argv[3] === 'full'
    if (full) writeFileSync(count, String(runs + 1))
    const speed = full ? ${JSON.stringify(full)}[runs] : ${quick}
    console.log(JSON.stringify(${JSON.stringify(results)}.map((result) => ({ ...result, ms: result.ms / speed }))))`
}

function setUp(t: Test, worker: string, init: Partial<BenchmarkInit> = {}) {
  const root = t.testdir({ 'worker.cjs': worker })
  const errors: KappaError[] = []
  const abort = new AbortController()
  t.teardown(() => abort.abort())
  const open = (overrides: Partial<BenchmarkInit> = {}) =>
    new Benchmark({
      cacheFile: join(root, 'state', 'score.json'),
      kappaVersion: '1.0.0',
      workerFile: join(root, 'worker.cjs'),
      signal: abort.signal,
      onError: (error) => errors.push(error),
      ...init,
      ...overrides
    })
  return { root, errors, abort, open, cacheFile: join(root, 'state', 'score.json') }
}

const IDLE = { cores: 2, idleCores: 1.9 }

t.test('the programs compute what they must', async (t) => {
  for (const { name, checksum, round } of BENCHMARK_PROGRAMS) {
    t.equal(round(), checksum, name)
    t.equal(round(), checksum, `${name}, again`)
  }
})

t.test('speed: mean of (reference time / time here)', async (t) => {
  const times = (factors: number[]) =>
    BENCHMARK_PROGRAMS.slice(0, factors.length).map(({ name, referenceMs }, i) => ({
      name,
      ms: referenceMs * factors[i]!
    }))
  t.equal(speedOf(times([1, 1, 1, 1])), 1)
  t.equal(speedOf(times([0.5, 1, 2, 4])), (2 + 1 + 0.5 + 0.25) / 4)
  t.equal(speedOf(times([0.5])), 2, 'of the programs that ran')
  t.equal(speedOf([...times([1]), { name: 'chess', ms: 1 }]), 1)
  t.ok(Number.isNaN(speedOf([])))
})

t.test('an estimate first, then the measured score, kept for the next start', async (t) => {
  const { open, errors } = setUp(t, fakeWorker(3, [2]))
  const benchmark = open()
  t.strictSame(benchmark.score, { speed: 1, benchmarkVersion: BENCHMARK_VERSION, confidence: 'none' })
  await benchmark.start()
  t.match(benchmark.score, { speed: 3, confidence: 'estimated' })
  await benchmark.settled()
  t.match(benchmark.score, { speed: 2, confidence: 'measured' }, 'lower than the estimate')
  const next = open()
  await next.start()
  t.match(next.score, { speed: 2, confidence: 'measured' })
  t.equal(next.child, undefined, 'nothing runs')
  t.strictSame(errors, [])
})

t.test('measured again once the machine has been idle for long, the higher value kept', async (t) => {
  for (const [again, kept] of [
    [1.5, 2],
    [2.5, 2.5]
  ] as const) {
    const { open } = setUp(t, fakeWorker(1, [2, again]))
    const benchmark = open()
    await benchmark.start()
    await benchmark.settled()
    benchmark.observe(IDLE, false, 0)
    benchmark.observe({ cores: 2, idleCores: 1.5 }, false, 10_000)
    benchmark.observe(IDLE, false, 20_000)
    benchmark.observe(IDLE, true, 30_000)
    benchmark.observe(IDLE, false, 40_000)
    benchmark.observe(IDLE, false, 69_999)
    await benchmark.settled()
    t.match(benchmark.score, { confidence: 'measured' }, 'not idle for long enough')
    benchmark.observe(IDLE, false, 70_000)
    await benchmark.settled()
    t.match(benchmark.score, { speed: kept, confidence: 'confirmed' })
    benchmark.observe(IDLE, false, 200_000)
    benchmark.observe(IDLE, false, 300_000)
    await benchmark.settled()
    const next = open()
    await next.start()
    t.match(next.score, { speed: kept, confidence: 'confirmed' }, 'once only')
  }
})

t.test('a cache of another version, boot or CPU, or a garbled one, is no score', async (t) => {
  const { open, cacheFile, root } = setUp(t, fakeWorker(1, [2, 3, 4, 5]))
  const start = async (init?: Partial<BenchmarkInit>) => {
    const benchmark = open(init)
    await benchmark.start()
    await benchmark.settled()
    return benchmark.score.speed
  }
  t.equal(await start(), 2)
  t.equal(await start({ kappaVersion: '1.0.1' }), 3)
  t.equal(await start({ procRoot: root, kappaVersion: '1.0.1' }), 4)
  writeFileSync(cacheFile, '{"key":1')
  t.equal(await start(), 5)
  t.match(JSON.parse(readFileSync(cacheFile, 'utf8')), { speed: 5 })
})

t.test('a worker that fails is told of, and the score stays what it was', async (t) => {
  const failing = "process.stderr.write('tree: checksum 1 instead of 2'); process.exit(1)"
  for (const [worker, reason] of [
    [failing, /^benchmark: the static score could not be measured: tree: checksum 1 instead of 2$/],
    ['console.log("[]")', /^benchmark: the static score could not be measured: /],
    ['console.log("nonsense")', /^benchmark: the static score could not be measured: /],
    ['console.log(JSON.stringify([{ name: "chess", ms: 1 }]))', /no program of it is known/]
  ] as const) {
    const { open, errors } = setUp(t, worker)
    const benchmark = open()
    await benchmark.start()
    await benchmark.settled()
    t.match(benchmark.score, { speed: 1, confidence: 'none' })
    t.match(errors, [
      { name: 'DaemonError', message: reason },
      { name: 'DaemonError', message: reason }
    ])
  }
})

t.test('a cache that cannot be written is told of, and the score counts', async (t) => {
  const { open, errors, root } = setUp(t, fakeWorker(1, [2]))
  const benchmark = open({ cacheFile: join(root, 'worker.cjs', 'score.json') })
  await benchmark.start()
  await benchmark.settled()
  t.equal(benchmark.score.speed, 2)
  t.match(errors, [{ name: 'StateError' }])
})

t.test('aborting ends the child, silently', async (t) => {
  const { open, errors, abort, cacheFile } = setUp(t, 'setInterval(() => {}, 1000)')
  const benchmark = open()
  const started = benchmark.start()
  while (benchmark.child === undefined) await new Promise((resolve) => setImmediate(resolve))
  const { child } = benchmark
  abort.abort()
  await started
  await benchmark.settled()
  while (existsSync(`/proc/${child}`)) await new Promise((resolve) => setImmediate(resolve))
  t.strictSame(errors, [])
  t.notOk(existsSync(cacheFile))
})

t.test('the real worker: the quick estimate runs the real programs', async (t) => {
  const root = t.testdir()
  const abort = new AbortController()
  const errors: KappaError[] = []
  const init = {
    cacheFile: join(root, 'score.json'),
    kappaVersion: '1.0.0',
    onError: (error: KappaError) => errors.push(error)
  }
  const benchmark = new Benchmark({ ...init, signal: abort.signal })
  await benchmark.start()
  t.equal(benchmark.score.confidence, 'estimated')
  t.ok(benchmark.score.speed > 0.01 && benchmark.score.speed < 100, String(benchmark.score.speed))
  abort.abort()
  await benchmark.settled()
  t.strictSame(errors, [])
})
