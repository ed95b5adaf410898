import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { type Lan, lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { starve } from './middle.ts'
import { emulatedLan, gather, jobProcesses, longJob, pair, sees, TestPeer, until } from './peers.ts'

const HOMES = 3
const JOBS = 6
const SLOTS = 2
/** Hosts: the homes, then the one that leads on, then the target. */
const MIDDLE = HOMES
const TARGET = HOMES + 1

interface Scene {
  lan: Lan
  homes: TestPeer[]
  target: TestPeer
}

async function scene(t: Test): Promise<Scene> {
  const lan = (await emulatedLan(t, { hosts: TARGET + 1 }))!
  const names = ['home0', 'home1', 'home2', 'middle', 'target']
  for (let home = 0; home < HOMES; home++) await starve(lan, home)
  const peers = await Promise.all(
    names.map((name, host) => {
      const slots = host === TARGET ? SLOTS : 0
      return TestPeer.start(t, { name, lan, host, config: `slots = ${slots}` })
    })
  )
  const [middle, target] = [peers[MIDDLE]!, peers[TARGET]!]
  const homes = peers.slice(0, HOMES)
  await pair(middle, target)
  for (const home of homes) await pair(middle, home)
  for (const home of homes) await sees(home, target)
  return { lan, homes, target }
}

/** Jobs with that mark that run on the target: each has one such process. */
function guestsNow(mark: string): number {
  return jobProcesses(mark).filter((pid) => {
    try {
      const [name] = readFileSync(`/proc/${pid}/comm`, 'latin1').split('\n')
      return name === 'sleep' && readFileSync(`/proc/${pid}/cgroup`, 'latin1').includes(`/h${TARGET}`)
    } catch {
      // It ended meanwhile.
      return false
    }
  }).length
}

async function burst(t: Test, { homes, target }: Scene): Promise<void> {
  // As a fraction of a second it is told from all other arguments.
  const { mark } = longJob()
  const job = ['run', '--plain', 'sh', '-c', 'sleep "1.$1"; echo "ran on $' + '{KAPPA_TARGET:-home}"', 'sh', mark]
  const runs = homes.flatMap((home) => Array.from({ length: JOBS }, () => gather(home.spawn(job))))
  let over = false
  const ends = Promise.all(runs).finally(() => (over = true))
  let most = 0
  let used = 0
  const watching = until('all have ended', async () => {
    most = Math.max(most, guestsNow(mark))
    used = Math.max(used, (await target.status()).slots.used)
    return over
  })
  for (const end of await ends) t.match(end, { code: 0, stdout: /^ran on (home|target)\n$/, stderr: '' })
  await watching
  t.ok(most <= SLOTS && used <= SLOTS, `never more guests than slots: ${most} seen, ${used} said`)
  const shipped = (await ends).filter(({ stdout }) => stdout === 'ran on target\n').length
  t.ok(shipped > 0, `${shipped} ran there`)
  await accountedFor(t, { homes, target }, shipped)
  await until('no slot is taken', async () => (await target.status()).slots.used === 0)
}

/** Each job is in the books of its home once, and in those of the target if it ran there. */
async function accountedFor(t: Test, { homes, target }: Omit<Scene, 'lan'>, shipped: number): Promise<void> {
  const lists = await Promise.all(homes.map((home) => home.jobs()))
  const jobs = lists.flat()
  t.equal(jobs.length, HOMES * JOBS)
  t.ok(jobs.every(({ state, exitCode }) => state === 'exited' && exitCode === 0))
  const guests = (await target.ok(['ps', '--guests', '--json'])).split('\n').filter((line) => line !== '')
  const there = jobs.filter((job) => job.target === 'target').map(({ id }) => id)
  t.equal(there.length, shipped)
  t.same(guests.map((line) => JSON.parse(line).id).toSorted(), there.toSorted(), 'each once')
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('three homes want the same two slots at once', async (t) => {
    await burst(t, await scene(t))
  })
}
