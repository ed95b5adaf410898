import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { line } from './line.ts'
import { PLACED_WITHIN_MS, ranOn, WHERE, why } from './middle.ts'
import { pair, sees, TestPeer, until } from './peers.ts'

const C = 2
const JOBS_MAX = 20
/** Three periods of silence, of each hop. */
const FORGOTTEN_WITHIN_MS = 20_000

type Four = [a: TestPeer, b: TestPeer, c: TestPeer, d: TestPeer]

/** What is known of it is as good as ever and worth nothing: whoever asks it goes elsewhere in time, and says so. */
async function silent(t: Test, [a, , c, d]: Four): Promise<void> {
  for (let jobs = 0; jobs < JOBS_MAX; jobs++) {
    const ended = await a.kappa(['run', '--plain', ...WHERE])
    t.match(ended, { code: 0, stdout: /^ran on (d|home)\n$/ })
    const where = ended.stdout === 'ran on d\n' ? 'd' : 'a'
    t.same(await ranOn(a, [d]), [where], 'once')
    const { refusals, timesMs } = await why(a)
    t.ok(timesMs.placed < PLACED_WITHIN_MS, `in time: ${timesMs.placed}`)
    if (refusals.some(({ name, code }) => name === c.name && code === 'no-answer')) return
  }
  t.fail('nobody says that it is silent')
}

/** So that others are asked first. */
function slowDown({ directory }: TestPeer): void {
  const file = join(directory, 'cache/benchmark.json')
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), speed: 0.01 }))
}

async function forgotten([a, , c]: Four): Promise<void> {
  const gone = async () => !(await a.status()).reachable.some(({ name }) => name === c.name)
  await until('it is known no more', gone, FORGOTTEN_WITHIN_MS)
}

/** The next one finds it gone, or is told so in time. */
async function afterwards(t: Test, [a, , , d]: Four): Promise<void> {
  const ended = await a.kappa(['run', '--plain', ...WHERE])
  t.match(ended, { code: 0, stdout: /^ran on (d|home)\n$/ })
  t.same(await ranOn(a, [d]), [ended.stdout === 'ran on d\n' ? 'd' : 'a'], 'once')
  t.ok((await why(a)).timesMs.placed < PLACED_WITHIN_MS)
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('a machine that others still tell of', async (t) => {
    // a – b – c, and d beyond b as well.
    const { lan, peers } = await line(t, ['a', 'b', 'c'], ['c'], 1)
    const d = TestPeer.prepare(t, { name: 'd', lan, host: 3 })
    slowDown(d)
    await d.startDaemon()
    await pair(peers[1]!, d)
    const four = [...peers, d] as Four
    const [a, , c] = four
    await t.test('is cut off silently', async (t) => {
      await Promise.all([sees(a, c), sees(a, d)])
      await lan.cut(C, 'drop')
      await silent(t, four)
      await forgotten(four)
      await lan.mend(C)
    })
    await t.test('dies', async (t) => {
      await Promise.all([sees(a, c), sees(a, d)])
      await c.killDaemon()
      await afterwards(t, four)
      await forgotten(four)
    })
  })
}
