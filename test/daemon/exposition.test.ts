import t from 'tap'
import { Counter, exposition, Histogram } from '../../src/daemon/exposition.ts'
import { readExposition } from '../prometheus.ts'

t.test('gauges, with whatever a name holds', async (t) => {
  const text = exposition([
    { name: 'k_info', help: 'What\n\\ it is.', type: 'gauge', samples: [{ labels: { name: 'a"b\\c\nd' }, value: 1 }] },
    { name: 'k_nothing', help: 'Nothing is known.', type: 'gauge', samples: [] },
    { name: 'k_ratio', help: 'How far.', type: 'gauge', samples: [{ value: 0.25 }] }
  ])
  t.equal(
    text,
    `# HELP k_info What\\n\\\\ it is.
# TYPE k_info gauge
k_info{name="a\\"b\\\\c\\nd"} 1
# HELP k_ratio How far.
# TYPE k_ratio gauge
k_ratio 0.25
`
  )
  t.same([...readExposition(text).keys()], ['k_info', 'k_ratio'])
})

t.test('a counter begins with nought for each kind, and knows no other', async (t) => {
  const counter = new Counter([{ outcome: 'good' }, { outcome: 'bad' }])
  counter.add({ outcome: 'bad' })
  counter.add({ outcome: 'bad' })
  const text = exposition([{ name: 'k_total', help: 'Ends.', type: 'counter', samples: counter.samples }])
  t.same(
    [...readExposition(text).get('k_total')!.samples],
    [
      ['k_total{outcome="good"}', 0],
      ['k_total{outcome="bad"}', 2]
    ]
  )
  t.throws(() => counter.add({ outcome: 'odd' }), RangeError)
})

t.test('a histogram counts what is at most its bounds', async (t) => {
  const histogram = new Histogram([0.1, 1])
  for (const value of [0.05, 0.1, 0.5, 7]) histogram.observe(value)
  const text = exposition([{ name: 'k_seconds', help: 'Time.', type: 'histogram', samples: histogram.samples }])
  t.same(
    [...readExposition(text).get('k_seconds')!.samples],
    [
      ['k_seconds_bucket{le="0.1"}', 2],
      ['k_seconds_bucket{le="1"}', 3],
      ['k_seconds_bucket{le="+Inf"}', 4],
      ['k_seconds_sum{}', 7.65],
      ['k_seconds_count{}', 4]
    ]
  )
})

t.test('what reads it is strict', async (t) => {
  const bad = [
    '# HELP a b\n# TYPE a gauge\na 1',
    '# TYPE a gauge\na 1\n',
    '# HELP a_total b\n# TYPE a_total gauge\na_total 1\n',
    '# HELP a b\n# TYPE a counter\na 1\n',
    '# HELP a_ms b\n# TYPE a_ms gauge\na_ms 1\n',
    '# HELP a b\n# TYPE a gauge\na 1\na 1\n',
    '# HELP a b\n# TYPE a gauge\nb 1\n',
    '# HELP a b\n# TYPE a gauge\na{x="\n"} 1\n'
  ]
  for (const text of bad) t.throws(() => readExposition(text), text)
})
