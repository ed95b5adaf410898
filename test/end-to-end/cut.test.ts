import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Cut, type Lan, lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { emulatedLan, jobProcesses, load, longJob, pair, sees, TestPeer, until } from './peers.ts'

/** The bars are 14 s and 15 s; as much again for a machine that is busy. */
const LOST_WITHIN_MS = 28_000
const NOTHING_LEFT_WITHIN_MS = 30_000
/** What the bar of 500 ms and the start of a client may take on such a machine. */
const STARTED_WITHIN_MS = 5_000

const TARGET = 1
const SHIP_TRIES = 20
const WHERE = 'echo "${KAPPA_TARGET:-home}"'

interface Pair {
  lan: Lan
  how: Cut
  home: TestPeer
  target: TestPeer
}

/** What goes to the job before, during and after the cut comes back, and nothing else. */
async function shortCut(t: Test, { lan, how, home, target }: Pair, ms: number): Promise<void> {
  const run = await home.begun(target, ['sh', '-c', 'echo up; cat; echo done; exit 7'])
  let expected = 'up\n'
  const write = (count: number) => {
    for (let index = 0; index < count; index++) {
      const line = `${expected.length} ${'x'.repeat(index % 100)}`
      expected += `${line}\n`
      run.say(line)
    }
  }
  write(2_000)
  await until('some came back', () => run.stdout.length > 1_000)
  await lan.cut(TARGET, how)
  write(2_000)
  await delay(ms)
  await lan.mend(TARGET)
  write(2_000)
  run.child.stdin!.end()
  const end = await run.ended
  t.match(end, { code: 7, signal: null, stderr: '' })
  t.equal(end.stdout === `${expected}done\n`, true, 'every byte once and in order')
}

async function beforeStart(t: Test, { lan, how, home }: Pair): Promise<void> {
  await load(t, home, 2)
  // So that it would ship; unless whatever else runs on this machine makes both look equally busy.
  for (let tries = 0; tries < SHIP_TRIES; tries++) {
    if ((await home.kappa(['run', '--plain', 'sh', '-c', WHERE])).stdout === 'target\n') break
  }
  await lan.cut(TARGET, how)
  const at = performance.now()
  t.match(await home.kappa(['run', '--plain', 'sh', '-c', WHERE]), { code: 0, stdout: 'home\n' }, 'it runs at home')
  t.ok(performance.now() - at < STARTED_WITHIN_MS, 'without much delay')
  const remote = await home.kappa(['run', '--plain', '--remote', 'true'])
  t.match(remote, { code: 125, stderr: /^kappa: nobody could take the job: [^\n]+\n$/ })
  t.ok(performance.now() - at < 2 * STARTED_WITHIN_MS, 'that is said soon')
  await lan.mend(TARGET)
}

async function longCut(t: Test, { lan, how, home, target }: Pair): Promise<void> {
  const { mark, argv } = longJob()
  const run = await home.begun(target, argv)
  await until('the job runs', () => jobProcesses(mark).length > 0)
  const at = performance.now()
  await lan.cut(TARGET, how)
  t.match(await run.ended, { code: 123, stdout: 'up\n', stderr: /^kappa: the job \w+ on target is lost: [^\n]+\n$/ })
  t.ok(performance.now() - at < LOST_WITHIN_MS, 'lost in time')
  await until('nothing of the job is left', () => jobProcesses(mark).length === 0, NOTHING_LEFT_WITHIN_MS)
  t.ok(performance.now() - at < NOTHING_LEFT_WITHIN_MS, 'ended in time')
  t.match((await home.jobs())[0], { state: 'lost', signal: null })
  await lan.mend(TARGET)
  await Promise.all([sees(home, target), sees(target, home)])
  await until('the history is corrected', async () => (await home.jobs())[0]!.state === 'exited')
  t.match((await home.jobs())[0], { exitCode: null, signal: 'SIGTERM' })
  t.match(await home.there(target, ['echo', 'again']), { code: 0, stdout: 'again\n' })
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.jobs = 2
  for (const how of ['unplug', 'drop'] as const) {
    t.test(`a cable that is cut: ${how}`, { buffered: true }, async (t) => {
      const lan = (await emulatedLan(t, { hosts: 2, cores: [0.75, 0.75] }))!
      const [home, target] = (await Promise.all(
        ['home', 'target'].map((name, host) => TestPeer.start(t, { name, lan, host }))
      )) as [TestPeer, TestPeer]
      await pair(home, target)
      const cable = { lan, how, home, target }
      await t.test('before a start', (t) => beforeStart(t, cable))
      await Promise.all([sees(home, target), sees(target, home)])
      // TCP itself survives the first; for the second the connection is given up and made anew.
      await t.test('for 2 s while a job runs', (t) => shortCut(t, cable, 2_000))
      await t.test('for 5 s while a job runs', (t) => shortCut(t, cable, 5_000))
      await t.test('for good while a job runs', (t) => longCut(t, cable))
    })
  }
}
