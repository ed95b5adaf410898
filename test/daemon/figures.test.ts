import t from 'tap'
import { FIGURES_MS, FIGURES_PEERS_MAX, type Figure, Figures, SPANS } from '../../src/daemon/figures.ts'

const named = (peer: string) => `name of ${peer}`
const one = (peer: string, figure: Figure) => new Map([[peer, figure]])

t.test('the last samples, oldest first', async (t) => {
  const figures = new Figures()
  t.strictSame(figures.read('minutes', 3, 7, named), { everyMs: 1_000, at: 7, peers: [] }, 'none yet')
  figures.take(one('a', { metric: 100, busyCores: 0.256, cores: 4, homeCores: 0, slotsUsed: 1, slots: 8 }), 5_000)
  figures.take(
    new Map([
      ['a', { metric: 50.004, cores: 4 }],
      ['b', { metric: 10 }]
    ]),
    6_999
  )
  t.strictSame(figures.read('minutes', 3, 7, named), {
    everyMs: 1_000,
    at: 7,
    peers: [
      {
        ...{ peerId: 'a', name: 'name of a', metric: [null, 100, 50], busyCores: [null, 0.26, null] },
        ...{ cores: [null, 4, 4], homeCores: [null, 0, null], slotsUsed: [null, 1, null], slots: [null, 8, null] }
      },
      {
        ...{ peerId: 'b', name: 'name of b', metric: [null, null, 10], busyCores: [null, null, null] },
        ...{ cores: [null, null, null], homeCores: [null, null, null] },
        ...{ slotsUsed: [null, null, null], slots: [null, null, null] }
      }
    ]
  })
  t.equal(figures.read('minutes', 1e9, 7, named).peers[0]?.metric.length, SPANS.minutes.samples)
})

t.test('a second sample of the same second is none, and a late one stands for what it missed', async (t) => {
  const figures = new Figures()
  const metrics = () => figures.read('minutes', 12, 0, named).peers[0]?.metric
  figures.take(one('a', { metric: 1 }), 20_000)
  figures.take(one('a', { metric: 2 }), 20_900)
  figures.take(one('a', { metric: 3 }), 23_100)
  const none = Array(8).fill(null)
  t.strictSame(metrics(), [...none, 1, 3, 3, 3])
  figures.take(one('a', { metric: 4 }), 29_100)
  t.strictSame(metrics(), [null, null, 1, 3, 3, 3, null, null, null, null, null, 4], 'the machine slept')
})

t.test('rings go round, and the coarse ones are means', async (t) => {
  const figures = new Figures()
  const seconds = 2 * SPANS.hours.samples * 15
  for (let second = 0; second < seconds; second++) figures.take(one('a', { metric: second }), second * FIGURES_MS)
  const [minutes, hours] = (['minutes', 'hours'] as const).map((span) => {
    const { everyMs, peers } = figures.read(span, 1e9, 0, named)
    return { everyMs, metric: peers[0]?.metric as number[] }
  })
  t.strictSame(minutes!.metric.slice(-2), [seconds - 2, seconds - 1])
  t.equal(minutes!.metric[0], seconds - SPANS.minutes.samples)
  t.equal(hours!.everyMs, 15_000)
  t.equal(hours!.metric.length, SPANS.hours.samples)
  t.strictSame(hours!.metric.slice(-2), [seconds - 23, seconds - 8])
  t.equal(hours!.metric[0], seconds / 2 + 7)
  // One that has only begun is the mean of what there is.
  figures.take(one('a', { metric: 7 }), seconds * FIGURES_MS)
  t.strictSame(figures.read('hours', 1, 0, named).peers[0]?.metric, [7])
})

t.test('who is away keeps its past for as long as the rings do', async (t) => {
  const figures = new Figures()
  const both = new Map([
    ['a', { metric: 1 }],
    ['b', { metric: 2 }]
  ])
  const known = (span: keyof typeof SPANS) => figures.read(span, 1e9, 0, named).peers.map(({ peerId }) => peerId)
  for (let second = 0; second < 100; second++) figures.take(both, second * FIGURES_MS)
  let second = 100
  for (; second < 399; second++) figures.take(one('a', { metric: 1 }), second * FIGURES_MS)
  t.strictSame(known('minutes'), ['a', 'b'])
  for (; second < 400; second++) figures.take(one('a', { metric: 1 }), second * FIGURES_MS)
  t.strictSame(known('minutes'), ['a'])
  t.strictSame(known('hours'), ['a', 'b'])
  figures.take(one('a', { metric: 1 }), 3 * 3_600_000)
  t.strictSame(known('hours'), ['a'], 'a sleep of hours')
  figures.forget('a')
  t.strictSame(known('hours'), [])
})

t.test('of more machines than are kept those that are there stay', async (t) => {
  const figures = new Figures()
  const many = (from: number, count: number) =>
    new Map(Array.from({ length: count }, (_, index) => [`p${from + index}`, { metric: 1 }]))
  const known = () => figures.read('minutes', 10, 0, named).peers.map(({ peerId }) => peerId)
  figures.take(many(0, FIGURES_PEERS_MAX + 5), 0)
  t.equal(known().length, FIGURES_PEERS_MAX)
  t.equal(known()[0], 'p0', 'the first come first')
  figures.take(many(0, 10), 1_000)
  figures.take(new Map([...many(0, 10), ...many(100, 3)]), 2_000)
  const after = known()
  t.equal(after.length, FIGURES_PEERS_MAX)
  for (const peer of ['p0', 'p9', 'p100', 'p102']) t.ok(after.includes(peer), peer)
  for (const peer of ['p10', 'p11', 'p12']) t.notOk(after.includes(peer), `${peer} was away longest`)
})
