import t from 'tap'
import { Network, type Service } from '../../src/simulator/network.ts'
import { randomFrom } from '../../src/simulator/random.ts'
import type { Edge } from '../../src/simulator/topology.ts'
import { VirtualTime } from '../../src/simulator/virtual-time.ts'

const SURELY: Service = { reliable: true, late: false }

/** A line of peers that all run; what they see of their connections is in `seen`, with the times in whole seconds. */
function lineOf(peers: number, delayMs = 1) {
  const time = new VirtualTime()
  const seen: string[] = []
  const states: ('up' | 'muted' | 'down')[] = Array.from({ length: peers }, () => 'up')
  const strangers: number[] = []
  const note = (what: string) => seen.push(`${Math.floor(time.now / 1_000)} ${what}`)
  const edges: Edge[] = Array.from({ length: peers - 1 }, (_, index) => [index, index + 1])
  const network = new Network(
    time,
    randomFrom(1),
    {
      stateOf: (peer) => states[peer]!,
      admits: (one, other) => !strangers.includes(one) && !strangers.includes(other),
      connected: (side, other, neighbours) => note(`${side}${neighbours ? '=' : '-'}${other}`),
      disconnected: (side, other) => note(`${side}x${other}`)
    },
    { peers, edges, quality: { delayMs, jitterMs: 5 }, everybody: false }
  )
  for (let peer = 0; peer < peers; peer++) network.runs(peer)
  time.runUntil(10_000)
  const arrived: string[] = []
  const send = (from: number, to: number, what: string, service?: Service) =>
    network.send(from, to, () => arrived.push(what), service)
  return { time, network, states, strangers, seen, arrived, send, reset: () => seen.splice(0).sort() }
}

t.test('peers that run are connected; messages arrive in order after the delay', async (t) => {
  const { time, network, arrived, send, reset } = lineOf(3)
  t.same(
    reset()
      .map((line) => line.slice(2))
      .sort(),
    ['0=1', '1=0', '1=2', '2=1']
  )
  t.ok(network.stands(0, 1) && network.isNeighbour(1, 0) && !network.isNeighbour(0, 2))
  for (let index = 0; index < 20; index++) send(0, 1, `${index}`)
  send(0, 2, 'to nobody that is connected')
  t.same(arrived, [])
  time.runUntil(time.now + 100)
  t.same(
    arrived,
    Array.from({ length: 20 }, (_, index) => `${index}`)
  )
  const path = network.delayMs(0, 1) + network.delayMs(1, 2)
  t.ok(Math.abs(network.delayMs(0, 2) - path) < 1e-9)
})

t.test('a cut is known to both at once, and what was under way is gone', async (t) => {
  const { time, network, arrived, send, reset } = lineOf(2, 100)
  reset()
  send(0, 1, 'lost')
  network.cut(0, 1, 5_000)
  t.same(reset(), ['10 0x1', '10 1x0'])
  time.runUntil(14_900)
  t.notOk(network.stands(0, 1))
  time.runUntil(20_000)
  t.ok(network.stands(0, 1))
  t.same(arrived, [])
})

t.test(
  'a short block holds up, a long one is noticed by the listener, and told back where a way is clear',
  async (t) => {
    const { time, network, arrived, send, reset } = lineOf(2)
    reset()
    network.block(0, 1, 1_000)
    send(0, 1, 'first')
    time.runUntil(10_900)
    t.same(arrived, [])
    t.notOk(network.hears(1, 0))
    t.ok(network.hears(0, 1))
    time.runUntil(12_000)
    t.same(arrived, ['first'])
    t.same(reset(), [], 'nobody noticed')
    network.block(0, 1, 10_000)
    time.runUntil(15_600)
    t.same(reset(), ['15 0x1', '15 1x0'])
    time.runUntil(30_000)
    t.same(reset().length, 2, 'connected again')
  }
)

t.test('a partition is noticed by each side for itself; no connection crosses it meanwhile', async (t) => {
  const { time, network, reset } = lineOf(3)
  reset()
  network.partition([0, 1, 1], 8_000)
  network.dial(0, 2)
  time.runUntil(17_900)
  t.same(reset(), ['13 0x1', '13 1x0'])
  t.notOk(network.stands(0, 2))
  time.runUntil(25_000)
  t.ok(network.stands(0, 1) && network.stands(0, 2))
})

t.test('peers that are no neighbours dial each other', async (t) => {
  const { time, network, strangers, arrived, send, reset } = lineOf(3)
  reset()
  network.dial(0, 2)
  time.runUntil(10_100)
  t.same(reset(), ['10 0-2', '10 2-0'])
  send(0, 2, 'direct')
  time.runUntil(10_200)
  t.same(arrived, ['direct'])
  strangers.push(0)
  network.cut(0, 2, 10)
  network.dial(0, 2)
  time.runUntil(20_000)
  t.notOk(network.stands(0, 2), 'nobody is let in who has nothing to do there')
})

t.test('who stands still is given up by the others, and who died at once', async (t) => {
  const { time, network, states, reset } = lineOf(3)
  reset()
  states[1] = 'muted'
  network.muted(1, () => states[1] === 'muted')
  time.runUntil(14_000)
  t.same(reset(), ['13 0x1', '13 1x0', '13 1x2', '13 2x1'], 'its own side learns of it when it goes on')
  states[1] = 'up'
  network.runs(1)
  time.runUntil(20_000)
  reset()
  states[1] = 'down'
  network.died(1)
  time.runUntil(21_000)
  t.same(reset(), ['20 0x1', '20 2x1'])
  time.runUntil(60_000)
  t.notOk(network.stands(0, 1))
})

t.test('loss spares what is reliable', async (t) => {
  const { time, network, arrived, send } = lineOf(2)
  network.unreliability.loss = 0.5
  for (let index = 0; index < 200; index++) send(0, 1, 'lossy')
  for (let index = 0; index < 200; index++) send(0, 1, 'sure', SURELY)
  time.runUntil(time.now + 1_000)
  t.equal(arrived.filter((what) => what === 'sure').length, 200)
  const lossy = arrived.filter((what) => what === 'lossy').length
  t.ok(lossy > 70 && lossy < 130, `${lossy} of 200`)
})

t.test('only a new connection shows what is late or comes twice', async (t) => {
  const { time, network, arrived, send } = lineOf(2)
  Object.assign(network.unreliability, { late: 1, duplication: 1 })
  send(0, 1, 'calm')
  time.runUntil(time.now + 5_000)
  t.same(arrived.splice(0), ['calm'], 'once, while the connection stands')
  send(0, 1, 'twice')
  time.runUntil(time.now + 7)
  send(0, 1, 'late')
  send(0, 1, 'gone', SURELY)
  network.cut(0, 1, 1)
  time.runUntil(time.now + 5_000)
  t.same(arrived.filter((what) => what !== 'twice').sort(), ['late'])
  t.ok(arrived.filter((what) => what === 'twice').length >= 1)
})
