import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { echoed, heal, type Line, line, part } from './line.ts'
import { ranOn, stayed, WHERE } from './middle.ts'
import { jobProcesses, longJob, sees, type TestPeer, until } from './peers.ts'

/** The bar is 14 s; as much again for a machine that is busy. */
const LOST_WITHIN_MS = 28_000
/** Less than the lease, more than the silence that closes a connection. */
const SHORT_MS = 4_000

const HERE = [0, 1]
const THERE = [2, 3]

type Four = [a: TestPeer, b: TestPeer, c: TestPeer, d: TestPeer]

/** The job goes on where it was, over a connection that is made anew. */
async function short(t: Test, { lan, peers }: Line): Promise<void> {
  const [a, , , d] = peers as Four
  await echoed(t, a, d, async () => {
    await part(lan, HERE, THERE)
    await delay(SHORT_MS)
    await heal(lan, HERE, THERE)
  })
  t.same(await ranOn(a, [d]), ['d'], 'once')
}

/** What home knows of it may be older than the way: a job gets there by itself when all on it have found each other again. */
async function leadsThere(a: TestPeer, d: TestPeer): Promise<void> {
  await until('a job gets there', async () => (await a.kappa(['run', '--plain', '--on', d.name, 'true'])).code === 0)
}

/** What ran there is lost, what was asked for meanwhile runs at home, and afterwards all is as before. */
async function long(t: Test, { lan, peers }: Line): Promise<void> {
  const [a, b, c, d] = peers as Four
  await leadsThere(a, d)
  const { mark, argv } = longJob()
  const run = await a.begun(d, argv)
  await until('the job runs', () => jobProcesses(mark).length > 0)
  const at = performance.now()
  await part(lan, HERE, THERE)
  await stayed(t, a, [b], await a.kappa(['run', '--plain', ...WHERE]))
  t.match(await run.ended, { code: 123, stdout: 'up\n', stderr: /^kappa: the job \w+ on d is lost: [^\n]+\n$/ })
  t.ok(performance.now() - at < LOST_WITHIN_MS, `lost in time: ${performance.now() - at}`)
  await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
  const far = async () => (await a.status()).reachable.every(({ name }) => name === 'b')
  await until('nothing beyond is known', far)
  await heal(lan, HERE, THERE)
  await Promise.all([sees(a, c), sees(a, d), sees(c, b)])
  await leadsThere(a, d)
  t.match(await a.there(d, WHERE), { code: 0, stdout: 'ran on d\n', stderr: '' })
  t.same(await ranOn(a, [b, c, d]), ['d'])
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('a line of four parts in the middle', async (t) => {
    const all = await line(t, ['a', 'b', 'c', 'd'], ['c', 'd'])
    await t.test('for a while', (t) => short(t, all))
    await t.test('for long', (t) => long(t, all))
  })
}
