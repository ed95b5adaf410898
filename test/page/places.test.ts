import t from 'tap'
import { flowsOf, type Machine, type Snapshot } from '../../src/page/machines.ts'
import { beside, frameOf, placesOf, RADIUS } from '../../src/page/places.ts'
import { stepFor } from '../../src/page/scale.ts'

function machine(id: string, hops: number, through = 'self'): Machine {
  const nothing = { metric: undefined, cores: undefined, busyCores: undefined, slots: undefined, slotsUsed: undefined }
  return {
    id,
    name: id,
    kind: 'own',
    isConnected: true,
    ...nothing,
    note: '',
    through,
    hops,
    roundTripMs: undefined,
    colour: ''
  }
}

t.test('no machine lies on another one, and all are in sight', async (t) => {
  for (const neighbours of [0, 1, 2, 3, 5, 9]) {
    const near = Array.from({ length: neighbours }, (_, index) => machine(`n${index}`, 1))
    const far = near.slice(0, 3).map(({ id }) => machine(`behind ${id}`, 2, id))
    const places = placesOf([machine('self', 0), ...near, ...far])
    t.equal(places.size, 1 + neighbours + far.length)
    const all = [...places.values()]
    const { x, y, width, height } = frameOf(places)
    for (const [index, one] of all.entries()) {
      t.ok(one.x - RADIUS > x && one.x + RADIUS < x + width && one.y - RADIUS > y && one.y + RADIUS < y + height)
      for (const other of all.slice(index + 1))
        t.ok(Math.hypot(one.x - other.x, one.y - other.y) > 2 * RADIUS, `${neighbours}`)
    }
  }
})

t.test('who is behind somebody unknown has a place, too', async (t) => {
  t.equal(placesOf([machine('self', 0), machine('far', 3)]).size, 2)
})

t.test('ways back have a place of their own', async (t) => {
  const [a, b] = [
    { x: 0, y: 0 },
    { x: 100, y: 0 }
  ]
  t.same(
    beside([a, b], 6).map(({ y }) => y),
    [6, 6]
  )
  t.same(
    beside([b, a], 6).map(({ y }) => y),
    [-6, -6]
  )
})

t.test('steps of an axis are round, and reach what is largest', async (t) => {
  for (const [most, step] of [
    [97, 50],
    [100, 50],
    [8, 2],
    [1, 0.5],
    [0.03, 0.01],
    [1_234, 500],
    [0, 5e-10]
  ] as const) {
    t.equal(stepFor(most, 4), step, `${most}`)
    t.ok(stepFor(most, 4) * 4 >= most)
  }
})

t.test('jobs are counted by the way that they take', async (t) => {
  const job = (state: string, target: string | null, home = 'self') => ({ state, target, home })
  const snapshot = {
    status: { name: 'self' },
    jobs: [
      job('running', 'nas'),
      job('starting', 'nas'),
      job('running', 'self'),
      job('exited', 'nas'),
      job('queued', null)
    ],
    guests: [job('running', 'self', 'laptop'), job('exited', 'self', 'laptop')]
  } as unknown as Snapshot
  t.same(flowsOf(snapshot), [
    { from: 'self', to: 'nas', jobs: 2 },
    { from: 'laptop', to: 'self', jobs: 1 }
  ])
})
