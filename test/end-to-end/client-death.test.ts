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

t.test('a job that ignores TERM is killed', async (t) => {
  const { mark } = longJob()
  const script = 'trap "" TERM; setsid sleep "$1" & echo up; while :; do sleep 0.1 "$2"; done'
  const run = await home.begun(target, ['sh', '-c', script, 'sh', mark, '0'])
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
  const waiting = home.spawn(['run', '--on', 'target', '--wait', '-v', 'echo', 'never'])
  await until('it waits', async () => (await home.jobs())[0]!.state === 'queued')
  waiting.kill('SIGKILL')
  await until('it is given up', async () => (await home.jobs())[0]!.state === 'exited')
  full.child.kill('SIGTERM')
  await full.ended
  t.match(await home.there(target, ['echo', 'next'], { options: ['--wait'] }), { code: 0, stdout: 'next\n' })
})
