import t, { type Test } from 'tap'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { echoed, type Line, line } from './line.ts'
import { ranOn, stayed, WHERE } from './middle.ts'
import { sees, type TestPeer, until } from './peers.ts'

const B = 1
/** Three periods of silence, of each hop. */
const UNREACHABLE_WITHIN_MS = 30_000

type Three = [a: TestPeer, b: TestPeer, c: TestPeer]

/** While the one between is away a job stays at home, without much delay; when it is back the way is found again by itself. */
async function awayBefore(
  t: Test,
  { peers }: Line,
  leave: () => Promise<void> | void,
  comeBack: () => Promise<void> | void
): Promise<void> {
  const [a, , c] = peers as Three
  await sees(a, c)
  await leave()
  await stayed(t, a, [c], await a.kappa(['run', '--plain', ...WHERE]))
  await comeBack()
  await findsAgain(t, peers as Three)
}

/** Without a word to anyone the next jobs go to the target again. */
async function findsAgain(t: Test, [a, , c]: Three): Promise<void> {
  await until('a job goes there again', async () => {
    await sees(a, c)
    return (await a.kappa(['run', '--plain', ...WHERE])).stdout === 'ran on c\n'
  })
  t.same(await ranOn(a, [c]), ['c'])
}

/** A machine that stays away is no candidate any more. */
async function forgotten(a: TestPeer, c: TestPeer): Promise<void> {
  const gone = async () => !(await a.status()).reachable.some(({ name }) => name === c.name)
  await until(`${a.name} knows no way to ${c.name}`, gone, UNREACHABLE_WITHIN_MS)
}

/** Home and target have a connection of their own. */
async function awayWhile(t: Test, { peers }: Line, happens: () => Promise<void> | void): Promise<void> {
  const [a, , c] = peers as Three
  await sees(a, c)
  await echoed(t, a, c, async () => happens())
  t.same(await ranOn(a, [c]), ['c'], 'once')
}

async function faults(t: Test): Promise<void> {
  const all = await line(t, ['a', 'b', 'c'])
  const { lan, peers } = all
  const [a, b, c] = peers as Three
  const pause = () => void b.daemon.kill('SIGSTOP')
  const goOn = () => void b.daemon.kill('SIGCONT')
  await t.test('is paused before', (t) => awayBefore(t, all, pause, goOn))
  await t.test('is unplugged before', (t) =>
    awayBefore(
      t,
      all,
      () => lan.cut(B, 'unplug'),
      () => lan.mend(B)
    )
  )
  await t.test('is restarted before', (t) =>
    awayBefore(
      t,
      all,
      () => b.killDaemon(),
      () => b.startDaemon()
    )
  )
  await t.test('is paused while a job runs', (t) => awayWhile(t, all, pause))
  await forgotten(a, c)
  goOn()
  await t.test('is unplugged while a job runs', async (t) => {
    await awayWhile(t, all, () => lan.cut(B, 'unplug'))
    await lan.mend(B)
  })
  await t.test('is restarted while a job runs', (t) =>
    awayWhile(t, all, async () => {
      await b.killDaemon()
      await b.startDaemon()
    })
  )
  await findsAgain(t, peers as Three)
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) t.test('the one between', faults)
