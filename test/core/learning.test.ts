import fc from 'fast-check'
import t from 'tap'
import {
  type FinishedRun,
  type LearnedState,
  Learning,
  MAX_COMMANDS,
  MAX_LINKS,
  MEMORY_NEED_BYTES,
  metricWorth,
  RUNS_MIN,
  START_MS
} from '../../src/core/learning.ts'
import type { Claimed, JobUsage } from '../../src/core/types.ts'

const GiB = 2 ** 30
const LINK = { totalMs: 1_000, stagedBytes: 0, streamedBytes: 0, turns: 0 }

function here(learning: Learning, usage: JobUsage, times = RUNS_MIN, key = 'cc -c'): void {
  for (let run = 0; run < times; run++) learning.finished({ key, speed: 1, usage }, 0)
}

interface There {
  key: string
  claim: Claimed
  usage: JobUsage
  link: Partial<NonNullable<FinishedRun['link']>>
}

/** One core elsewhere: a second of CPU time unless said otherwise. */
function there(learning: Learning, peer: string, run: Partial<There>, times = 1): void {
  const { key = 'cc -c', claim = { speed: 1 }, usage = { wallMs: 1_000, cpuMs: 1_000 } } = run
  const sent = { id: 'j1', peer, claim, demand: 1 }
  const link = { ...LINK, ...run.link }
  for (let at = 0; at < times; at++) learning.finished({ key, sent, usage, link }, 0)
}

t.test('of an unknown command nothing is said', async (t) => {
  const learning = new Learning()
  t.same(learning.advice('cc -c', 1, 0), {})
  here(learning, { wallMs: 5, cpuMs: 5 }, RUNS_MIN - 1)
  t.same(learning.advice('cc -c', 1, 0), {}, 'nor of one that ran once or twice')
})

/** What another machine must reach when home is idle and has one core of the reference: infinite for what is too short. */
function worth(learning: Learning, key = 'cc -c', home = 100): number {
  const { work } = learning.advice(key, 1, 0)
  return work === undefined ? home : metricWorth(home, work.ms, learning.wayCost('nas', work, 0))
}

t.test('a job too short to gain is worth no way while home is idle, one that takes longer may go', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 12, cpuMs: 12 })
  t.equal(worth(learning), Number.POSITIVE_INFINITY)
  t.ok(worth(learning, 'cc -c', 10) < 20, 'where it would take ten times as long it may go')
  here(learning, { wallMs: 1_000, cpuMs: 1_000 }, RUNS_MIN, 'flac')
  t.same(learning.advice('flac', 1, 0), { demand: 1, work: { ms: 1_000, stagedBytes: 0, streamedBytes: 0, turns: 0 } })
})

t.test('one long run among short ones is enough to let it go again', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 10, cpuMs: 10 }, 50)
  t.equal(worth(learning), Number.POSITIVE_INFINITY)
  here(learning, { wallMs: 1_000, cpuMs: 1_000 }, 1)
  t.ok(worth(learning) < 110)
})

t.test('a job that only waits has nothing to gain', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 10_000, cpuMs: 8 })
  t.equal(worth(learning), Number.POSITIVE_INFINITY)
})

t.test('a job of which only the time is known counts as computing', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 500 })
  t.same(learning.advice('cc -c', 1, 0), { work: { ms: 500, stagedBytes: 0, streamedBytes: 0, turns: 0 } })
})

t.test('CPU time over time is what it can use', async (t) => {
  const cases: [number, number][] = [
    [100, 1],
    [1_000, 1],
    [1_200, 1],
    [3_600, 4],
    [1e9, 1_024]
  ]
  for (const [cpuMs, demand] of cases) {
    const learning = new Learning()
    here(learning, { wallMs: 1_000, cpuMs })
    t.equal(learning.advice('cc -c', 1, 0).demand, demand, `${cpuMs} ms of CPU in 1 s`)
  }
})

t.test('memory: much is believed at once, little not before some runs; with a margin', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 1_000, cpuMs: 1_000, peakBytes: 4 * GiB }, 1)
  t.ok(learning.advice('cc -c', 1, 0).memoryBytes! > 5 * GiB)
  here(learning, { wallMs: 1_000, cpuMs: 1_000, peakBytes: GiB / 64 }, 1, 'flac')
  t.equal(learning.advice('flac', 1, 0).memoryBytes, undefined)
  here(learning, { wallMs: 1_000, cpuMs: 1_000, peakBytes: GiB / 64 }, 2, 'flac')
  t.ok(learning.advice('flac', 1, 0).memoryBytes! < MEMORY_NEED_BYTES)
  here(learning, { wallMs: 1_000, cpuMs: 4_000, peakBytes: GiB }, 3, 'make')
  t.ok(learning.advice('make', 1, 0).memoryBytes! >= 4 * GiB, 'four processes may each have it')
})

t.test('runs on machines of different speed compare', async (t) => {
  const learning = new Learning()
  there(learning, 'fast', { claim: { speed: 4 }, usage: { wallMs: 250, cpuMs: 250 } }, RUNS_MIN)
  t.equal(learning.advice('cc -c', 1, 0).work?.ms, 1_000)
})

t.test('what was measured here counts before what others tell', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 1_000, cpuMs: 1_000 })
  there(learning, 'liar', { claim: { speed: 1_000 } }, 10)
  t.equal(learning.advice('cc -c', 1, 0).work?.ms, 1_000)
})

t.test('what a command took long ago and many runs since says nothing of it any more', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 2_000, cpuMs: 2_000 })
  there(learning, 'nas', { usage: { wallMs: 10, cpuMs: 10 } }, 10)
  t.equal(learning.advice('cc -c', 1, 0).work?.ms, 2_000)
  there(learning, 'nas', { usage: { wallMs: 10, cpuMs: 10 } }, 10)
  t.equal(learning.advice('cc -c', 1, 0).work?.ms, 10)
  const slow = { usage: { wallMs: 9_000, cpuMs: 9_000 }, link: { ...LINK, totalMs: 9_020 } }
  there(learning, 'nas', slow, 10)
  t.equal(learning.trust('nas', 0), 1, 'nor is anybody compared with that')
})

t.test('the way costs the start, round trips, and bytes at what the link has shown', async (t) => {
  const learning = new Learning()
  const cost = (stagedBytes: number, streamedBytes: number, roundTripMs = 0) =>
    learning.wayCost('nas', { stagedBytes, streamedBytes, turns: 0 }, roundTripMs)
  t.same(cost(0, 0), { addedMs: START_MS, streamMs: 0 })
  t.same(cost(0, 0, 30), { addedMs: START_MS + 90, streamMs: 0 })
  t.same(cost(12_500_000, 25_000_000), { addedMs: START_MS + 1_000, streamMs: 2_000 }, '100 Mbit/s until known')
  there(learning, 'nas', {
    link: { totalMs: 1_000 + START_MS + 100, stagedBytes: 10_000_000, streamedBytes: 0, turns: 0 }
  })
  t.same(cost(10_000_000, 0), { addedMs: START_MS + 100, streamMs: 0 })
  const link = { totalMs: 1_000, stagedBytes: 0, streamedBytes: 1e9 }
  there(learning, 'nas', { link }, 2)
  t.same(cost(0, 1e9), { addedMs: START_MS, streamMs: 1_000 }, 'at least as much as was seen')
  t.match(learning.advice('cc -c', 1, 0).work, { streamedBytes: 1e9 })
})

t.test(
  'the metric that is worth the way rises with its cost, and nothing is worth more than the job takes',
  async (t) => {
    const worth = (home: number, workMs: number, addedMs: number, streamMs = 0) =>
      metricWorth(home, workMs, { addedMs, streamMs })
    t.equal(worth(100, 1_000, 0), 100)
    t.equal(worth(100, 1_000, 500), 200)
    t.equal(worth(100, 1_000, 500, 400), 200, 'what travels meanwhile costs nothing')
    t.equal(worth(100, 1_000, 500, 500), Number.POSITIVE_INFINITY, 'unless it takes longer')
    t.equal(worth(50, 1_000, 500), 50 / 0.75, 'a loaded home has more to gain')
    t.equal(worth(100, 10, 15), Number.POSITIVE_INFINITY)
    t.equal(worth(0, 10, 15), 0, 'nothing is to be had here')
    const positive = fc.double({ min: 0.001, max: 1e9, noNaN: true })
    fc.assert(
      fc.property(positive, positive, positive, positive, (home, workMs, cost, more) => {
        const least = worth(home, workMs, cost)
        return least >= home && worth(home, workMs, cost + more) >= least && worth(home, workMs + more, cost) <= least
      })
    )
  }
)

t.test('a peer that is slower than it says is believed less, an honest one of any speed is not', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 1_000, cpuMs: 1_000 })
  const slow = { totalMs: 4_020, stagedBytes: 0, streamedBytes: 0, turns: 0 }
  there(learning, 'slow', { claim: { speed: 0.25 }, usage: { wallMs: 4_000, cpuMs: 4_000 }, link: slow }, 10)
  t.equal(learning.trust('slow', 0), 1)
  there(learning, 'hot', { claim: { speed: 1 }, usage: { wallMs: 4_000, cpuMs: 4_000 }, link: slow }, 1)
  t.ok(learning.trust('hot', 0) >= 0.4, 'one job proves little')
  there(learning, 'hot', { claim: { speed: 1 }, usage: { wallMs: 4_000, cpuMs: 4_000 }, link: slow }, 9)
  t.ok(learning.trust('hot', 0) < 0.4 && learning.trust('hot', 0) > 0.25, String(learning.trust('hot', 0)))
  t.ok(learning.trust('hot', 60 * 60_000) > 0.97)
})

t.test('one that tells less CPU time than it used is found out by the time that it took', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 1_000, cpuMs: 1_000 }, 12)
  const claim = { speed: 10, metric: 1_000 }
  there(learning, 'liar', { claim, usage: { wallMs: 1_000, cpuMs: 100 }, link: { ...LINK, totalMs: 1_020 } }, 20)
  t.ok(learning.trust('liar', 0) < 0.2, String(learning.trust('liar', 0)))
})

t.test('a long run of a command whose runs differ says little of who ran it', async (t) => {
  const learning = new Learning()
  for (let run = 0; run < 12; run++) {
    const ms = [100, 1_000, 10_000][run % 3]!
    here(learning, { wallMs: ms, cpuMs: ms }, 1)
  }
  const usage = { wallMs: 10_000, cpuMs: 10_000 }
  there(learning, 'nas', { usage, link: { ...LINK, totalMs: 10_020 } }, 3)
  t.equal(learning.trust('nas', 0), 1)
})

t.test('what is not its fault costs a peer nothing', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 1_000, cpuMs: 1_000 })
  const usage = { wallMs: 4_000, cpuMs: 1_000 }
  const slow = { totalMs: 4_020, stagedBytes: 0, streamedBytes: 0, turns: 0 }
  there(learning, 'shared', { claim: { speed: 1, metric: 25 }, usage, link: slow }, 10)
  t.equal(learning.trust('shared', 0), 1, 'it said before that it gives a quarter')
  there(learning, 'piped', { usage, link: { ...slow, streamedBytes: 1e6 } }, 10)
  t.equal(learning.trust('piped', 0), 1, 'it may have waited for what came from here')
  here(learning, { wallMs: 1_000, cpuMs: 200 }, RUNS_MIN, 'rsync')
  there(learning, 'disk', { key: 'rsync', usage: { wallMs: 9_000, cpuMs: 200 }, link: { ...slow, totalMs: 9_020 } }, 10)
  t.equal(learning.trust('disk', 0), 1, 'a command that waits everywhere')
  there(learning, 'only', { key: 'unknown', usage: { wallMs: 9_000, cpuMs: 9_000 } }, 10)
  t.equal(learning.trust('only', 0), 1, 'a command that never ran anywhere else')
})

t.test('it goes on with what was kept, and forgets when told', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 1_000, cpuMs: 2_000, peakBytes: GiB })
  there(learning, 'nas', { link: { totalMs: 2_000, stagedBytes: 1e7, streamedBytes: 5 } }, 3)
  const kept = JSON.parse(JSON.stringify(learning.state())) as LearnedState
  const again = new Learning(kept)
  t.same(again.advice('cc -c', 1, 0), learning.advice('cc -c', 1, 0))
  const work = { stagedBytes: 1e6, streamedBytes: 1e6, turns: 2 }
  t.same(again.wayCost('nas', work, 1), learning.wayCost('nas', work, 1))
  t.same(again.state(), kept)
  again.forgetPeer('nas')
  t.notOk(JSON.stringify(again.state()).includes('nas'))
  again.forgetAll()
  t.same(again.state(), { version: 2, commands: [], links: [] })
})

t.test('tables are bounded: what was used longest ago goes first', async (t) => {
  const learning = new Learning()
  for (let index = 0; index < MAX_COMMANDS + 10; index++) {
    here(learning, { wallMs: 1 }, 1, `tool${index}`)
    if (index % 100 === 0) here(learning, { wallMs: 1 }, 1, 'kept')
    there(learning, `peer${index}`, { key: 'kept', link: { ...LINK, stagedBytes: 1e6 } })
  }
  const { commands, links } = learning.state()
  t.equal(commands.length, MAX_COMMANDS)
  t.equal(links.length, MAX_LINKS)
  const places = commands.find(({ key }) => key === 'kept')!.places.map(({ peer }) => peer)
  t.ok(places.length <= 6 && places.includes(''), 'this machine among them')
})

t.test('whatever is told or was kept, what it says is finite and in range', async () => {
  const odd = fc.oneof(fc.double(), fc.constantFrom(Number.NaN, -1, 0, 1e300, Number.POSITIVE_INFINITY))
  const run = fc.record({
    wall: odd,
    cpu: odd,
    peak: odd,
    speed: odd,
    metric: odd,
    total: odd,
    staged: odd,
    bytes: odd,
    turns: odd
  })
  const keys = fc.constantFrom('a', 'b')
  fc.assert(
    fc.property(fc.array(fc.tuple(keys, fc.constantFrom(undefined, 'p', 'q'), run), { maxLength: 40 }), (runs) => {
      let learning = new Learning()
      for (const [key, peer, it] of runs) {
        const usage = { wallMs: it.wall, cpuMs: it.cpu, peakBytes: it.peak }
        if (peer === undefined) learning.finished({ key, speed: it.speed, usage }, 0)
        else {
          const sent = { id: key, peer, claim: { speed: it.speed, metric: it.metric }, demand: it.turns }
          learning.began(sent, key, it.total)
          const link = { totalMs: it.total, stagedBytes: it.staged, streamedBytes: it.bytes, turns: it.turns }
          learning.finished({ key, sent, usage, link }, 0)
        }
      }
      learning = new Learning(JSON.parse(JSON.stringify(learning.state())))
      for (const key of ['a', 'b']) {
        const {
          demand = 1,
          memoryBytes = 1,
          work = { ms: 1, stagedBytes: 1, streamedBytes: 1, turns: 1 }
        } = learning.advice(key, 1, 0)
        if (!(Number.isInteger(demand) && demand >= 1 && demand <= 1_024)) return false
        if (!(Number.isSafeInteger(memoryBytes) && memoryBytes > 0)) return false
        if (!Object.values(work).every((value) => value >= 0 && Number.isFinite(value))) return false
      }
      return ['p', 'q'].every((peer) => {
        const { addedMs, streamMs } = learning.wayCost(peer, { stagedBytes: 1e6, streamedBytes: 1e6, turns: 1 }, 1)
        return learning.trust(peer, 0) > 0 && learning.trustHere(0) > 0 && Number.isFinite(addedMs + streamMs)
      })
    })
  )
})

t.test('what is short with a larger input is so with a smaller one of which nothing is known', async (t) => {
  const learning = new Learning()
  here(learning, { wallMs: 10, cpuMs: 10 }, RUNS_MIN, 'cc -c <7')
  here(learning, { wallMs: 2_000, cpuMs: 2_000 }, RUNS_MIN, 'cc -c <11')
  t.equal(learning.advice('cc -c <5', 1, 0).work?.ms, 10)
  t.equal(learning.advice('cc -c <7', 1, 0).work?.ms, 10)
  t.equal(learning.advice('cc -c <9', 1, 0).work, undefined, 'it may be as long as the next larger, or not')
  t.equal(learning.advice('cc -c <11', 1, 0).work?.ms, 2_000)
  t.equal(learning.advice('cc -c <12', 1, 0).work, undefined)
})

t.test('what others tell of memory is believed within bounds, and beside what was measured here', async (t) => {
  const told = (peakBytes: number) => {
    const learning = new Learning()
    there(learning, 'nas', { usage: { wallMs: 1_000, cpuMs: 1_000, peakBytes } }, RUNS_MIN)
    return learning
  }
  t.ok(told(1_000).advice('cc -c', 1, 0).memoryBytes! >= 128 * 2 ** 20, 'no less than that')
  const much = told(2 ** 49)
  t.ok(much.advice('cc -c', 1, 0).memoryBytes! <= 11 * GiB, 'nor more')
  const usual = told(2 * GiB)
  t.ok(usual.advice('cc -c', 1, 0).memoryBytes! > 2 * GiB)
  here(usual, { wallMs: 1_000, cpuMs: 1_000, peakBytes: 3 * GiB }, 1)
  t.ok(usual.advice('cc -c', 1, 0).memoryBytes! > 3 * GiB)
  const small = told(GiB / 8)
  here(small, { wallMs: 1_000, cpuMs: 1_000, peakBytes: GiB / 64 }, 1)
  t.ok(small.advice('cc -c', 1, 0).memoryBytes! > GiB / 8, 'the larger of both')
})
