import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { jobProcesses, longJob, pair, sees, TestPeer, until } from './peers.ts'

/** Longer than lease, kill time and what home waits beyond them. */
const ASLEEP_MS = 14_000

t.jobs = 2

/** A daemon that is stopped stands for a machine that sleeps: its clock goes on, it hears and says nothing. */
for (const sleeper of ['target', 'home'] as const) {
  t.test(`the ${sleeper} sleeps while a job runs`, { buffered: true }, async (t) => {
    const [home, target] = await Promise.all([
      TestPeer.start(t, { name: 'home' }),
      TestPeer.start(t, { name: 'target' })
    ])
    await pair(home, target)
    const { mark, argv } = longJob()
    const run = await home.begun(target, argv)
    await until('the job runs', () => jobProcesses(mark).length > 0)
    const { daemon } = sleeper === 'home' ? home : target
    daemon.kill('SIGSTOP')
    await delay(ASLEEP_MS)
    daemon.kill('SIGCONT')
    t.match(await run.ended, { code: 123, stderr: /^kappa: the job \w+ on target is lost: [^\n]+\n$/ })
    await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
    await Promise.all([sees(home, target), sees(target, home)])
    t.match(await home.there(target, ['echo', 'awake']), { code: 0, stdout: 'awake\n' })
  })
}
