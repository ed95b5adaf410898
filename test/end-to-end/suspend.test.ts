import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Logind, logindAvailable } from '../logind.ts'
import { jobProcesses, longJob, pair, sees, TestPeer, until } from './peers.ts'

/** Longer than lease, kill time and what home waits beyond them. */
const ASLEEP_MS = 14_000
/** Longer than the lease alone. */
const HELD_MS = 10_000
/** Longer than the silence after which a connection is given up, within the lease. */
const NAP_MS = 5_000

const DELAY = 'kappa sleep delay'
const BLOCK = 'kappa idle:sleep block-weak'

t.jobs = 6

interface Two {
  home: TestPeer
  target: TestPeer
}

async function two(t: Test, env: { home?: string; target?: string } = {}, config = ''): Promise<Two> {
  const bus = (address: string | undefined): Record<string, string> =>
    address === undefined ? {} : { DBUS_SYSTEM_BUS_ADDRESS: address }
  const [home, target] = await Promise.all([
    TestPeer.start(t, { name: 'home', env: bus(env.home) }),
    TestPeer.start(t, { name: 'target', env: bus(env.target), config })
  ])
  await pair(home, target)
  return { home, target }
}

/** Stopped processes stand for a machine that sleeps: its clock goes on, it hears and says nothing. */
function stop(pids: readonly number[]): () => void {
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  return () => {
    for (const pid of pids) process.kill(pid, 'SIGCONT')
  }
}

for (const sleeper of ['target', 'home'] as const) {
  t.test(`the ${sleeper} sleeps while a job runs`, { buffered: true }, async (t) => {
    const { home, target } = await two(t)
    const { mark, argv } = longJob()
    const run = await home.begun(target, argv)
    await until('the job runs', () => jobProcesses(mark).length > 0)
    const { pid } = sleeper === 'home' ? home.daemon : target.daemon
    // With the target sleep its jobs.
    const wake = stop([pid!, ...(sleeper === 'home' ? [] : jobProcesses(mark))])
    await delay(ASLEEP_MS)
    if (sleeper === 'target') t.match(await run.ended, { code: 123 }, 'home says so meanwhile')
    wake()
    t.match(await run.ended, { code: 123, stderr: /^kappa: the job \w+ on target is lost: [^\n]+\n$/ })
    await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
    await Promise.all([sees(home, target), sees(target, home)])
    t.match(await home.there(target, ['echo', 'awake']), { code: 0, stdout: 'awake\n' })
  })

  t.test(`the ${sleeper} sleeps for less than the lease`, { buffered: true }, async (t) => {
    const { home, target } = await two(t)
    const run = await home.begun(target, [
      'sh',
      '-c',
      'echo up; i=0; while [ $i -lt 80 ]; do echo $i; i=$((i+1)); sleep 0.1; done; cat; exit 7'
    ])
    const wake = stop([(sleeper === 'home' ? home : target).daemon.pid!])
    run.say('typed meanwhile')
    await delay(NAP_MS)
    wake()
    run.child.stdin!.end()
    const numbers = Array.from({ length: 80 }, (_, number) => `${number}\n`).join('')
    t.match(await run.ended, { code: 7, signal: null, stdout: `up\n${numbers}typed meanwhile\n`, stderr: '' })
  })
}

t.test('home announces that it sleeps, and a job goes on meanwhile', { buffered: true }, async (t) => {
  if (!logindAvailable(t)) return
  const logind = await Logind.start(t)
  const { home, target } = await two(t, { home: logind.address, target: logind.address })
  // It writes while home sleeps, and waits for input when home is back.
  const script = 'echo up; i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); sleep 0.1; done; cat; exit 7'
  const run = await home.begun(target, ['sh', '-c', script])
  await Promise.all([logind.says(`taken ${DELAY}`), logind.says(`taken ${BLOCK}`)])

  logind.announce('sleep')
  await logind.says(`released ${DELAY}`)
  t.notOk(logind.lines.includes(`released ${BLOCK}`), 'the target stays awake')
  const wake = stop([home.daemon.pid!])
  await delay(HELD_MS)
  wake()
  logind.announce('wake')
  await logind.says(`taken ${DELAY}`, 2)

  run.say('good morning')
  run.child.stdin!.end()
  const numbers = Array.from({ length: 100 }, (_, number) => `${number}\n`).join('')
  t.match(await run.ended, { code: 7, signal: null, stdout: `up\n${numbers}good morning\n`, stderr: '' })
  await Promise.all([logind.says(`released ${DELAY}`, 2), logind.says(`released ${BLOCK}`)])
})

const title = 'the owner wants no guest to keep the machine awake, and logind grants nothing'
t.test(title, { buffered: true }, async (t) => {
  if (!logindAvailable(t)) return
  const [grants, refuses] = await Promise.all([Logind.start(t), Logind.start(t, ['delay', 'block', 'block-weak'])])
  const buses = { home: refuses.address, target: grants.address }
  const { home, target } = await two(t, buses, '[guests]\nkeep_awake = false')
  const run = await home.begun(target, ['sh', '-c', 'echo up; cat'])
  await refuses.says(`refused ${DELAY}`)
  const told = () => home.log().match(/ warn .*sleep can't be delayed.*denied/g)?.length
  await until('it is in the log', () => told() !== undefined)
  // It still says when it sleeps, as well as it can.
  refuses.announce('sleep')
  await until('it is in the log', () => home.log().includes('goes to sleep'))
  refuses.announce('wake')
  run.child.stdin!.end()
  t.match(await run.ended, { code: 0, stdout: 'up\n', stderr: '' })
  t.equal(told(), 1, 'once')
  t.same(grants.lines, [])
})
