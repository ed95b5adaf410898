import t from 'tap'
import { apart, type Hosts, simulate, stepByStep } from '../../benchmarks/agreement-simulator.ts'
import {
  APART_MS,
  isAsGood,
  isSame,
  type Place,
  type Played,
  partOf,
  traceOf
} from '../../benchmarks/agreement-trace.ts'

const LINE: Place = { topology: 'line', cores: [0.25, 0.45, 0.6], bound: [0, 1, 0] }
const COSTS = { daemon: 0.007, placed: 5, shipped: 4, guest: 12 }
const HOSTS: Hosts = { speed: 0.8, costs: COSTS, slots: 4, delayMs: 0.25 }

t.test('a trace is the same for the same seed, in order, and asks for about the load that was wanted', async (t) => {
  const jobs = traceOf(LINE, 0.5, 600_000, 1)
  t.same(jobs, traceOf(LINE, 0.5, 600_000, 1))
  t.not(jobs[0]!.at, traceOf(LINE, 0.5, 600_000, 2)[0]!.at)
  t.ok(jobs.every(({ at }, index) => at >= (jobs[index - 1]?.at ?? 0) + APART_MS))
  const asked = jobs.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / 600_000
  t.ok(Math.abs(asked / 1.3 - 0.5) < 0.05, `${asked} cores of 1.3`)
  const atFirst = jobs.filter(({ home }) => home === 0).length / jobs.length
  t.ok(atFirst > 0.6 && atFirst < 0.75, `${atFirst} at h0: a half, and a third of the others`)
})

t.test('apart: no job is asked for when another one ends', async (t) => {
  const jobs = traceOf(LINE, 0.6, 40_000, 3)
  const moved = apart(LINE, HOSTS, jobs, 7)
  t.same(
    moved.map(({ home, cpuMs }) => ({ home, cpuMs })),
    jobs.map(({ home, cpuMs }) => ({ home, cpuMs }))
  )
  const ends = (of: typeof jobs) =>
    simulate(LINE, HOSTS, of, 7).map(({ responseMs }, index) => of[index]!.at + responseMs)
  const near = (of: typeof jobs) =>
    ends(of).filter((end) => of.some(({ at }) => Math.abs(end - at) < APART_MS - 1e-6)).length
  t.ok(near(jobs) > 0)
  t.equal(near(moved), 0)
})

t.test('a simulated trace repeats, and its own history leads to the same targets', async (t) => {
  const jobs = apart(LINE, HOSTS, traceOf(LINE, 0.5, 20_000, 2), 2)
  const played = simulate(LINE, HOSTS, jobs, 2)
  t.same(played, simulate(LINE, HOSTS, jobs, 2))
  const targets = played.map(({ target }) => target)
  t.ok(new Set(targets).size > 1)
  t.ok(partOf(played, simulate(LINE, HOSTS, jobs, 2, targets), isSame) === 1, 'they go where they are told')
  const elsewhere = jobs.map(({ home }) => 2 - home)
  t.same(
    simulate(LINE, HOSTS, jobs.slice(0, 2), 2, elsewhere).map(({ target }) => target),
    elsewhere.slice(0, 2)
  )
  t.equal(partOf(played, stepByStep(LINE, HOSTS, jobs, 2, targets), isSame), 1)
})

t.test('what counts as the same, and as good', async (t) => {
  const played = (target: number, ...metrics: (number | undefined)[]): Played => ({ target, metrics, responseMs: 1 })
  t.ok(isSame(played(1, 10, 40), played(1, 10, 20)))
  t.notOk(isSame(played(1, 10, 40), played(0, 10, 20)))
  t.ok(isAsGood(played(1, 30, 40), played(0, 40, 31)), 'each within a quarter in the eyes of the other')
  t.notOk(isAsGood(played(1, 29, 40), played(0, 40, 31)))
  t.notOk(isAsGood(played(1, 30, 40), played(0, 40, undefined)), 'one knew nothing of it')
  t.equal(partOf([played(0), played(1)], [played(0), played(0)], isSame), 0.5)
})
