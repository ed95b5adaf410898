import fc from 'fast-check'
import t from 'tap'
import { Judging, type Known, MAX_RUNNING, type RunOf } from '../../src/core/judging.ts'
import { Learning } from '../../src/core/learning.ts'
import { emptyCommand, HERE, learnRun } from '../../src/core/places.ts'
import { record } from './scenario.ts'

const LINK = { stagedBytes: 0, streamedBytes: 0, turns: 0 }

/** A command that took a second on two honest machines of speed 1. */
function known(times = 6): RunOf {
  const command = emptyCommand()
  for (let run = 0; run < times; run++) {
    for (const peer of ['nas', 'desktop']) {
      learnRun(command, peer, { workMs: 1_000, compares: true, wallMs: 1_000, cpuMs: 1_000 })
    }
  }
  return { command, any: emptyCommand() }
}

function judging(changes: Partial<Known> = {}): Judging {
  const made = new Judging()
  made.known = { recordOf: () => undefined, nextSpeed: () => undefined, ...changes }
  return made
}

const sent = (peer: string, id = peer, speed = 10) => ({ id, peer, claim: { speed, metric: 100 * speed }, demand: 1 })

t.test('a job that should have been over long ago is evidence before its end', async (t) => {
  const judge = judging()
  const runOf = known()
  for (const id of ['a', 'b', 'c']) judge.began(sent('liar', id), runOf, 15, 0)
  t.equal(judge.trust('liar', 100), 1, 'it is due after a tenth of a second')
  t.equal(judge.trust('liar', 180), 1, 'and a bit later')
  t.ok(judge.trust('liar', 2_000) < 0.3, String(judge.trust('liar', 2_000)))
  for (const id of ['a', 'b', 'c']) judge.ended(id)
  t.equal(judge.trust('liar', 2_000), 1, 'nothing runs there')
})

t.test('one whose owner came back meanwhile, by its own word, is not to blame', async (t) => {
  const busy = record({ speed: 10, cores: 1, idleCores: 0.1, guestDemand: 1 })
  const judge = judging({ recordOf: () => busy })
  for (const id of ['a', 'b', 'c']) judge.began(sent('nas', id), known(), 15, 0)
  t.equal(judge.trust('nas', 900), 1)
  t.ok(judge.trust('nas', 90_000) < 1, 'however busy, not as slow as that')
})

t.test('a command that waits, or of which little is known, blames nobody', async (t) => {
  const waits = known()
  for (const place of waits.command!.places) place.waitMs = 5_000
  const judge = judging()
  judge.began(sent('nas', 'a'), waits, 15, 0)
  judge.began(sent('nas', 'b'), { command: emptyCommand(), any: emptyCommand() }, 15, 0)
  judge.began(sent('nas', 'c'), known(1), 15, 0)
  t.equal(judge.trust('nas', 60_000), 1)
})

t.test('distrust is forgotten with time, but for one job at a time', async (t) => {
  const judge = judging()
  for (let job = 0; job < 10; job++) {
    judge.judge(sent('hot', 'x', 1), known(), 10_000, { ms: 10_000, streamedBytes: 0 }, 0)
  }
  const before = judge.trust('hot', 0)
  const later = 20 * 60_000
  t.ok(judge.trust('hot', later) > 2 * before)
  const runOf: RunOf = { command: undefined, any: emptyCommand() }
  judge.began(sent('hot', 'a', 1), runOf, 15, 60_000)
  t.ok(judge.trust('hot', later) < 1.5 * before, 'the first must show it')
})

t.test('who claims to be far faster than everybody else gets one job until it has shown that', async (t) => {
  const judge = judging({ recordOf: () => record({ speed: 10 }), nextSpeed: () => 1 })
  const runOf = known()
  t.equal(judge.trust('fast', 0), 1)
  judge.began(sent('fast', 'a'), runOf, 15, 0)
  t.equal(judge.trust('fast', 1), 0.1, 'no more than the next one')
  judge.ended('a')
  for (let job = 0; job < 2; job++) judge.judge(sent('fast'), runOf, 100, { ms: 100, streamedBytes: 0 }, 1)
  judge.began(sent('fast', 'b'), runOf, 15, 2)
  t.equal(judge.trust('fast', 3), 1)
  const usual = judging({ recordOf: () => record({ speed: 2 }), nextSpeed: () => 1 })
  usual.began(sent('desktop', 'a', 2), runOf, 15, 0)
  t.equal(usual.trust('desktop', 1), 1, 'machines differ by that')
})

t.test("this machine's own score is doubted when several others show that it is wrong", async (t) => {
  const learning = new Learning()
  const usage = { wallMs: 1_000, cpuMs: 1_000 }
  const here = () => learning.finished({ key: 'cc', speed: 10, usage }, 0)
  for (let run = 0; run < 4; run++) here()
  t.equal(learning.trustHere(0), 1, 'alone it knows nothing')
  for (let run = 0; run < 4; run++) {
    for (const peer of ['nas', 'desktop']) {
      const one = { id: 'x', peer, claim: { speed: 1 }, demand: 1 }
      learning.finished({ key: 'cc', sent: one, usage, link: { totalMs: 1_020, ...LINK } }, 0)
    }
    here()
  }
  t.ok(learning.trustHere(0) < 0.3, String(learning.trustHere(0)))
  t.equal(learning.trust('nas', 0), 1)
  t.equal(learning.trust('desktop', 0), 1)
})

t.test('one that tells too little CPU time makes the honest ones look slow to nobody', async (t) => {
  const learning = new Learning()
  for (let run = 0; run < 12; run++) {
    for (const [peer, cpuMs] of [
      ['sly', 1],
      ['nas', 1_000]
    ] as const) {
      const one = { id: 'x', peer, claim: { speed: 1 }, demand: 1 }
      learning.finished({ key: 'cc', sent: one, usage: { wallMs: 1_000, cpuMs }, link: { totalMs: 1_020, ...LINK } }, 0)
    }
  }
  t.equal(learning.trust('nas', 0), 1)
})

t.test('jobs of names that nobody knows compare with all others', async (t) => {
  const learning = new Learning()
  const run = (peer: string, speed: number, ms: number) => {
    const one = { id: 'x', peer, claim: { speed }, demand: 1 }
    learning.finished({ sent: one, usage: { wallMs: ms, cpuMs: ms }, link: { totalMs: ms + 20, ...LINK } }, 0)
  }
  for (let round = 0; round < 12; round++) {
    const ms = [400, 1_000, 2_500][round % 3]!
    run('nas', 1, ms)
    run('desktop', 1, ms)
    run('liar', 10, ms)
  }
  t.ok(learning.trust('liar', 0) < 0.3, String(learning.trust('liar', 0)))
  t.equal(learning.trust('nas', 0), 1)
  t.equal(learning.trust('desktop', 0), 1)
})

t.test('whatever runs and ends, the tables are bounded and trust is in (0, 1]', async () => {
  const step = fc.record({
    id: fc.nat(20).map(String),
    peer: fc.constantFrom(HERE, 'p', 'q'),
    speed: fc.double({ min: 1e-3, max: 1e3, noNaN: true }),
    metric: fc.double(),
    cpuMs: fc.option(fc.double({ min: 0, max: 1e9, noNaN: true }), { nil: undefined }),
    ms: fc.double({ min: -10, max: 1e9, noNaN: true }),
    ends: fc.boolean()
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const judge = judging({ recordOf: () => record({ speed: 2, guestDemand: 3 }), nextSpeed: () => 0.5 })
      const runOf = known(2)
      let now = 0
      return steps.every(({ id, peer, speed, metric, cpuMs, ms, ends }) => {
        now += Math.abs(ms) / 1_000
        const one = { id, peer, claim: { speed, metric }, demand: 1 }
        judge.began(one, runOf, 15, now)
        if (ends) {
          judge.ended(id)
          judge.judge(one, runOf, cpuMs, { ms, streamedBytes: 0 }, now)
        }
        return ['p', 'q', HERE].every((each) => {
          const trust = judge.trust(each, now)
          return trust > 0 && trust <= 1
        })
      })
    })
  )
  const judge = judging()
  for (let job = 0; job < MAX_RUNNING + 10; job++) judge.began(sent('nas', String(job)), known(1), 15, 0)
  if (judge.running !== MAX_RUNNING) throw new Error(`${judge.running} jobs are remembered`)
})
