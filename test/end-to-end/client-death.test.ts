import t from 'tap'
import { jobProcesses, longJob, pair, TestPeer, until } from './peers.ts'

const [home, target] = await Promise.all([TestPeer.start(t, { name: 'home' }), TestPeer.start(t, { name: 'target' })])
await pair(home, target)

t.test('kill -9 of the client ends the job', async (t) => {
  const { mark, argv } = longJob()
  const run = await home.begun(target, argv)
  await until('the job runs', () => jobProcesses(mark).length > 0)
  run.child.kill('SIGKILL')
  await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
  await until('it is on record', async () => (await home.jobs())[0]!.state === 'exited')
  t.match((await home.jobs())[0], { signal: 'SIGTERM', exitCode: null, target: 'target' })
})

t.test('a job that says what it tidies up does not die of saying it', async (t) => {
  // More than is under way unread, so that it also waits for nobody.
  const tidies = 'trap "i=0; while [ $i -lt 300000 ]; do echo tidying; i=$((i+1)); done >&2; exit 3" TERM'
  const run = await home.begun(target, ['sh', '-c', `${tidies}; echo up; while :; do sleep 0.05; done`])
  run.child.kill('SIGKILL')
  await until('it is on record', async () => (await home.jobs())[0]!.state === 'exited')
  t.match((await home.jobs())[0], { exitCode: 3, signal: null })
})

/** It ignores TERM, and has a daemon that holds its stdout, a child that is stopped, one that leads a session, and more of them each moment. */
const STUBBORN = `trap "" TERM; (setsid nohup sleep "$1" &); setsid sleep "$1" & sleep "$1" & kill -STOP $!
echo up; i=0; while [ $i -lt 300 ]; do setsid sleep "$1" & i=$((i+1)); sleep 0.01 "$2"; done; wait`

t.test('a job that ignores TERM is killed, with all that it left around it', async (t) => {
  const { mark } = longJob()
  const run = await home.begun(target, ['sh', '-c', STUBBORN, 'sh', mark, '0'])
  run.child.kill('SIGKILL')
  await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
  await until('it is on record', async () => (await home.jobs())[0]!.state === 'exited')
  t.match((await home.jobs())[0], { signal: 'SIGKILL' })
})

t.test('the slot is free again', async (t) => {
  await until('it is', async () => (await target.status()).slots.used === 0)
  t.match(await home.there(target, ['echo', 'next']), { code: 0, stdout: 'next\n' })
})

t.test('a client that is killed while it waits for a slot', async (t) => {
  const full = await home.begun(target, longJob().argv, {
    options: ['--cores', String((await target.status()).slots.total)]
  })
  const waiting = home.spawn(['run', '--plain', '--on', 'target', '--wait', '-v', 'echo', 'never'])
  await until('it waits', async () => (await home.jobs())[0]!.state === 'queued')
  waiting.kill('SIGKILL')
  await until('it is given up', async () => (await home.jobs())[0]!.state === 'exited')
  full.child.kill('SIGTERM')
  await full.ended
  t.match(await home.there(target, ['echo', 'next'], { options: ['--wait'] }), { code: 0, stdout: 'next\n' })
})
