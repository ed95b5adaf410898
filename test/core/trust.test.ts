import fc from 'fast-check'
import t from 'tap'
import { Trust } from '../../src/core/trust.ts'

const MINUTE = 60_000

t.test('strangers are believed', async (t) => {
  t.equal(new Trust().of('nas', 0), 1)
})

t.test('one that is ten times slower than it says is believed less with each job, down to what was seen', async (t) => {
  const trust = new Trust()
  const seen: number[] = []
  for (let job = 0; job < 12; job++) {
    trust.judge('liar', 0.1, 0.5, 0)
    seen.push(trust.of('liar', 0))
  }
  t.ok(Math.abs(seen[0]! - 0.5) < 1e-9, 'one job halves it at most')
  t.ok(seen.every((value, index) => index === 0 || value < seen[index - 1]!))
  t.ok(seen[3]! < 0.16 && seen.at(-1)! > 0.0999, String(seen))
})

t.test('it recovers with time, and with jobs that take as long as expected', async (t) => {
  const trust = new Trust()
  for (let job = 0; job < 20; job++) trust.judge('hot', 0.25, 0.5, 0)
  const before = trust.of('hot', 0)
  t.ok(Math.abs(trust.of('hot', 10 * MINUTE) - Math.sqrt(before)) < 1e-6, 'half of it in ten minutes')
  t.ok(trust.of('hot', 120 * MINUTE) > 0.999)
  trust.judge('hot', 1, 0.5, MINUTE)
  t.ok(trust.of('hot', MINUTE) > 0.5)
  t.equal(trust.of('nas', 0), 1, 'others are not touched')
})

t.test('what is nearly as claimed is as claimed, and faster is no more than that', async (t) => {
  const trust = new Trust()
  for (const ratio of [0.8, 1, 5, Number.POSITIVE_INFINITY, Number.NaN, 0, -1]) trust.judge('nas', ratio, 0.5, 0)
  t.equal(trust.of('nas', 0), 1)
  t.equal(trust.size, 0)
})

t.test('whatever is told, it stays in (0, 1], falls with slowness, and the table is bounded', async () => {
  const trust = new Trust()
  fc.assert(
    fc.property(fc.nat(1_000), fc.double(), fc.double({ min: 0, max: 1e9, noNaN: true }), (peer, ratio, now) => {
      trust.judge(String(peer), ratio, 0.5, now)
      const value = trust.of(String(peer), now)
      return value > 0 && value <= 1 && trust.size <= 256
    })
  )
  fc.assert(
    fc.property(
      fc.double({ min: 0.01, max: 2, noNaN: true }),
      fc.double({ min: 0.01, max: 2, noNaN: true }),
      (a, b) => {
        const two = new Trust()
        two.judge('a', a, 0.5, 0)
        two.judge('b', b, 0.5, 0)
        return a < b ? two.of('a', 0) <= two.of('b', 0) : two.of('b', 0) <= two.of('a', 0)
      }
    )
  )
})
