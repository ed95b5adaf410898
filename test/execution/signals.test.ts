import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import t from 'tap'
import { collect, processesWith, sandboxed, specOf, uniqueSeconds, until } from './executing.ts'

const { SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1 } = constants.signals

t.test('signals have their default effect', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  for (const [name, signal] of Object.entries({ SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 })) {
    const job = await executor.begin(specOf(['sh', '-c', 'ulimit -c 0; echo up; exec sleep 1000']))
    job.start()
    await new Promise((resolve) => job.stdout.once('data', resolve))
    t.equal(job.signal(signal), true)
    t.same(await job.ended, { exitCode: null, signal: name })
    t.equal(job.signal(signal), false, 'there is nobody left')
    await job.close()
  }
})

t.test('a signal that comes before the command has begun counts', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  for (let round = 0; round < 10; round++) {
    const job = await executor.begin(specOf(['sleep', '1000']))
    job.start()
    t.equal(job.signal(SIGTERM), true)
    t.same(await job.ended, { exitCode: null, signal: 'SIGTERM' })
    await job.close()
  }
})

t.test('signals reach the whole group and can be caught', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const seconds = uniqueSeconds()
  const script = `sleep ${seconds} & trap 'wait; echo caught; exit 9' USR1; echo up; while :; do wait; done`
  const job = await executor.begin(specOf(['sh', '-c', script]))
  job.start()
  await new Promise((resolve) => job.stdout.once('data', resolve))
  job.signal(SIGUSR1)
  t.equal((await collect(job.stdout)).toString(), 'caught\n')
  t.same(await job.ended, { exitCode: 9, signal: null })
  t.same(processesWith(seconds), [])
  await job.close()
})

t.test('TSTP stops a job, CONT lets it go on', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const seconds = uniqueSeconds()
  const job = await executor.begin(specOf(['sleep', seconds]))
  job.start()
  const state = () => {
    const pid = processesWith(`sleep\0${seconds}`)[0]
    return pid === undefined ? undefined : / (\w) /.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1]
  }
  await until(t, 'it sleeps', () => state() === 'S')
  job.signal(SIGTSTP)
  await until(t, 'it is stopped', () => state() === 'T')
  job.signal(SIGCONT)
  await until(t, 'it goes on', () => state() === 'S')
  job.signal(SIGTERM)
  t.same(await job.ended, { exitCode: null, signal: 'SIGTERM' })
  await job.close()
})

t.test('a job leads its own session and group', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(specOf(['sh', '-c', 'trap "echo got; exit 4" TERM; kill -TERM 0; sleep 1000']))
  job.start()
  t.equal((await collect(job.stdout)).toString(), 'got\n')
  t.same(await job.ended, { exitCode: 4, signal: null })
  await job.close()
})
