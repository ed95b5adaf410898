import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { place, processesWith, run, sandboxed, specOf, uniqueSeconds, until } from './executing.ts'

/** Leaves processes in every way that usually outlives a parent, then ends. */
function leaving(seconds: string): string {
  return `nohup sleep ${seconds} & setsid sleep ${seconds} & (setsid sh -c "sleep ${seconds} & sleep ${seconds}" &)
    (trap "" TERM HUP INT; exec sleep ${seconds}) & exec >&- 2>&-; exit 3`
}

t.test('nothing stays of a job that ended', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const seconds = uniqueSeconds()
  t.same((await run(executor, specOf(['sh', '-c', leaving(seconds)]))).end, { exitCode: 3, signal: null })
  t.same(processesWith(seconds), [], 'no process is left when the end is told')
})

t.test('nothing stays of a job that was killed amid a fork storm', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const seconds = uniqueSeconds()
  const storm = `i=0; while [ $i -lt 200 ]; do setsid sleep ${seconds} & i=$((i+1)); done; echo up; while :; do (:) & wait; done`
  const job = await executor.begin(specOf(['sh', '-c', storm]))
  job.start()
  await new Promise((resolve) => job.stdout.once('data', resolve))
  job.kill()
  t.same(await job.ended, { exitCode: null, signal: 'SIGKILL' })
  t.same(processesWith(seconds), [])
  await job.close()
})

const parentOf = (pid: number) => Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
const isStopped = (pid: number) => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))

t.test('nothing stays of a job that was killed while it was stopped', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const seconds = uniqueSeconds()
  const job = await executor.begin(
    specOf(['sh', '-c', `(setsid sleep ${seconds} &); sleep ${seconds} & kill -STOP $! $$`])
  )
  job.start()
  await until(t, 'both are stopped', () => processesWith(seconds).filter(isStopped).length === 2)
  job.signal(15)
  t.equal(processesWith(seconds).filter(isStopped).length, 2, 'TERM waits')
  job.kill()
  t.same(await job.ended, { exitCode: null, signal: 'SIGKILL' })
  t.same(processesWith(seconds), [])
  await job.close()
})

t.test('nothing stays of a job whose PID 1 was killed', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const seconds = uniqueSeconds()
  const job = await executor.begin(specOf(['sh', '-c', `(setsid sleep ${seconds} &); exec sleep ${seconds}0`]))
  job.start()
  await until(t, 'the job runs', () => processesWith(`sleep\0${seconds}`).length === 2)
  const [leader] = processesWith(`sleep\0${seconds}0`)
  process.kill(parentOf(leader!), 'SIGKILL')
  t.same(await job.ended, { exitCode: null, signal: 'SIGKILL' })
  t.same(processesWith(seconds), [])
  await job.close()
  t.same((await run(executor, specOf(['sh', '-c', 'exit 4']))).end, { exitCode: 4, signal: null }, 'the next one runs')
})

for (const how of ['SIGKILL', 'SIGTERM'] as const) {
  t.test(`a daemon that ends by ${how} takes its jobs along`, async (t) => {
    if ((await sandboxed(t)) === null) return
    const seconds = uniqueSeconds()
    const scratch = `${place(t)}/scratch`
    const helper = new URL('./running-daemon.ts', import.meta.url).pathname
    const daemon = spawn(process.execPath, [
      helper,
      scratch,
      'sandboxed',
      'sh',
      '-c',
      `${leaving(seconds)}`.replace('exit 3', `sleep ${seconds}`)
    ])
    await until(t, 'the job runs', () => processesWith(seconds).length >= 6)
    daemon.kill(how)
    await until(t, 'the job is gone', () => processesWith(seconds).length === 0)
    await until(t, 'the sandbox is gone', () => processesWith(scratch).length === 0)
    t.ok(readdirSync(scratch).length > 0, 'the directory is left to the next start')
  })
}

t.test('a closed executor leaves no process and no directory', async (t) => {
  const scratchDirectory = `${place(t)}/scratch`
  const executor = await sandboxed(t, { scratchDirectory })
  if (executor === null) return
  executor.prepare({ peerId: 'another', kind: 'own' })
  await run(executor, specOf(['true']))
  const job = await executor.begin(specOf(['sleep', '1000']))
  job.start()
  await executor.close()
  await until(t, 'all processes are gone', () => processesWith(scratchDirectory).length === 0)
  t.same(readdirSync(scratchDirectory), [])
})
