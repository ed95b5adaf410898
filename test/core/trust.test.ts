import fc from 'fast-check'
import t from 'tap'
import { Trust } from '../../src/core/trust.ts'

const MINUTE = 60_000

/** One job of a command whose runs are all alike. */
function judge(trust: Trust, peer: string, ratio: number, now = 0): void {
  trust.judge(peer, { ratio, spread: 0, sure: 1, mostDown: 0.5 }, now)
}

t.test('strangers are believed', async (t) => {
  t.equal(new Trust().of('nas', 0), 1)
})

t.test('one that is ten times slower than it says is believed less with each job, down to what was seen', async (t) => {
  const trust = new Trust()
  const seen: number[] = []
  for (let job = 0; job < 40; job++) {
    judge(trust, 'liar', 0.1)
    seen.push(trust.of('liar', 0))
  }
  t.ok(seen[0]! >= 0.5, 'one job halves it at most')
  t.ok(seen.every((value, index) => index === 0 || value < seen[index - 1]!))
  t.ok(seen[3]! < 0.2 && seen.at(-1)! < 0.102 && seen.at(-1)! > 0.1, String(seen))
})

t.test('it recovers with time, and with jobs that take as long as expected', async (t) => {
  const trust = new Trust()
  for (let job = 0; job < 20; job++) judge(trust, 'hot', 0.1)
  const before = trust.of('hot', 0)
  t.ok(Math.abs(trust.of('hot', 10 * MINUTE) - Math.sqrt(before)) < 1e-6, 'half of it in ten minutes')
  t.equal(trust.of('hot', 60 * MINUTE), 1)
  for (let job = 0; job < 20; job++) judge(trust, 'hot', 1, MINUTE)
  t.ok(trust.of('hot', MINUTE) > 0.8)
  t.equal(trust.of('nas', 0), 1, 'others are not touched')
})

t.test('what is nearly as claimed is as claimed, and faster is no more than that', async (t) => {
  const trust = new Trust()
  for (const ratio of [0.8, 1, 5, Number.POSITIVE_INFINITY, Number.NaN, 0, -1]) judge(trust, 'nas', ratio)
  t.equal(trust.of('nas', 0), 1)
})

t.test('a command whose runs differ teaches slowly, and nothing wrong', async (t) => {
  const trust = new Trust()
  const varies = (ratio: number) => trust.judge('nas', { ratio, spread: 2, sure: 1, mostDown: 0.5 }, 0)
  varies(0.05)
  t.equal(trust.of('nas', 0), 1, 'one long run')
  for (let job = 0; job < 50; job++) varies(job % 2 === 0 ? 0.4 : 2.5)
  t.equal(trust.of('nas', 0), 1, 'long and short ones')
  for (let job = 0; job < 500; job++) varies(job % 2 === 0 ? 0.04 : 0.25)
  t.ok(trust.of('nas', 0) < 0.2, 'ten times slower on the whole')
})

t.test('whatever is told, it stays in (0, 1], falls with slowness, and the table is bounded', async () => {
  const trust = new Trust()
  const time = fc.double({ min: 0, max: 1e9, noNaN: true })
  fc.assert(
    fc.property(fc.nat(1_000), fc.double(), fc.double(), time, (peer, ratio, spread, now) => {
      trust.judge(String(peer), { ratio, spread, sure: 0.7, mostDown: 0.5 }, now)
      const value = trust.of(String(peer), now)
      return value > 0 && value <= 1 && trust.size <= 256
    })
  )
  const ratios = fc.double({ min: 0.01, max: 2, noNaN: true })
  fc.assert(
    fc.property(ratios, ratios, (a, b) => {
      const two = new Trust()
      judge(two, 'slower', Math.min(a, b))
      judge(two, 'faster', Math.max(a, b))
      return two.of('slower', 0) <= two.of('faster', 0)
    })
  )
})

t.test('jobs that are overdue count before their end, against it alone, and are not kept', async (t) => {
  const trust = new Trust()
  const overdue = (ratio: number) => ({ ratio, spread: 0.3, sure: 0.8, mostDown: 0.4 })
  t.equal(trust.of('nas', 0, [overdue(0.05)]), 1, 'one may have met with something')
  t.ok(trust.of('nas', 0, Array<ReturnType<typeof overdue>>(4).fill(overdue(0.05))) < 0.2)
  t.equal(trust.of('nas', 0), 1)
  for (let job = 0; job < 20; job++) judge(trust, 'hot', 0.1)
  t.equal(trust.of('hot', 0, [overdue(5)]), trust.of('hot', 0))
})

t.test('who was judged by enough jobs, and found about as fast as it says, is confirmed', async (t) => {
  const trust = new Trust()
  t.notOk(trust.isConfirmed('nas', 0), 'a stranger')
  judge(trust, 'nas', 0.8)
  judge(trust, 'liar', 0.1)
  t.ok(trust.isConfirmed('nas', 0))
  t.notOk(trust.isConfirmed('liar', 0))
  t.notOk(trust.isConfirmed('nas', 60 * MINUTE), 'long ago')
})
