import { spawn } from 'node:child_process'
import { chmodSync, existsSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Executor } from '../../src/execution/job.ts'
import { needs } from '../require.ts'
import { collect, place, processesWith, run, specOf, uniqueSeconds, until } from './executing.ts'

async function bare(t: Test): Promise<Executor> {
  const directory = place(t)
  chmodSync(directory, 0o711)
  const executor = await Executor.open({ scratchDirectory: `${directory}/scratch`, unsandboxed: true })
  t.teardown(() => executor.close())
  return executor
}

t.test('without a sandbox ends are as exact', async (t) => {
  const executor = await bare(t)
  const endOf = async (...argv: string[]) => (await run(executor, specOf(argv))).end
  t.same(await endOf('sh', '-c', 'exit 143'), { exitCode: 143, signal: null })
  t.same(await endOf('sh', '-c', 'kill -TERM $$'), { exitCode: null, signal: 'SIGTERM' })
  t.same(await endOf('sh', '-c', 'kill -40 $$'), { exitCode: null, signal: 'SIGRTMIN+6' })
  t.match(await endOf('nothing-like-it'), { exitCode: 127, error: { name: 'CommandNotFoundError' } })
  t.match(await endOf('/'), { exitCode: 126, error: { name: 'NotExecutableError' } })
})

t.test('without a sandbox streams, signals and the place are the same', async (t) => {
  const executor = await bare(t)
  const { out, err } = await run(executor, specOf(['sh', '-c', 'cat; pwd; echo $HOME >&2']), 'in\n')
  t.equal(out.toString(), `in\n${err}`)
  const job = await executor.begin(
    specOf(['sh', '-c', 'trap "echo got; exit 5" USR1; echo up; while :; do sleep 0.05; done'])
  )
  job.start()
  await new Promise((resolve) => job.stdout.once('data', resolve))
  t.ok(job.signal(10))
  t.equal((await collect(job.stdout)).toString(), 'got\n')
  t.same(await job.ended, { exitCode: 5, signal: null })
  const { directory } = job
  await job.close()
  t.notOk(existsSync(directory))
})

t.test('without a sandbox its session and whoever holds its streams end with the job', async (t) => {
  const executor = await bare(t)
  const seconds = uniqueSeconds()
  const script = `nohup sleep ${seconds} & setsid sleep ${seconds} & cd /; echo up; exit 6`
  const { out, end } = await run(executor, specOf(['sh', '-c', script]))
  t.equal(out.toString(), 'up\n')
  t.same(end, { exitCode: 6, signal: null })
  t.same(processesWith(`sleep\0${seconds}`).length, 0)
  const job = await executor.begin(specOf(['sleep', seconds]))
  job.start()
  job.kill()
  t.same((await job.ended).signal, 'SIGKILL')
  await job.close()
  t.same(processesWith(`sleep\0${seconds}`).length, 0)
})

t.test('without a sandbox guests have the lowest priority and are never root', async (t) => {
  const executor = await bare(t)
  const { out } = await run(
    executor,
    specOf(['sh', '-c', 'id -u; cut -d" " -f19 /proc/self/stat; cat /proc/self/oom_score_adj'])
  )
  const [uid, nice, oom] = out.toString().split('\n')
  t.not(uid, '0')
  t.equal(nice, '19')
  t.equal(oom, '1000')
})

t.test("without a sandbox a root daemon's guests must be able to reach their directory", async (t) => {
  if (!needs(t, process.getuid?.() === 0, 'root')) return
  const directory = place(t)
  const executor = await Executor.open({ scratchDirectory: `${directory}/scratch`, unsandboxed: true })
  await t.rejects(executor.begin(specOf(['true'])), { name: 'SandboxError', message: `chmod o+x ${directory}` })
  await executor.close()
})

t.test('without a sandbox the command dies with a daemon that is killed', async (t) => {
  const directory = place(t)
  chmodSync(directory, 0o711)
  const seconds = uniqueSeconds()
  const helper = new URL('./running-daemon.ts', import.meta.url).pathname
  const daemon = spawn(process.execPath, [helper, `${directory}/scratch`, 'unsandboxed', 'sleep', seconds])
  await until(t, 'it runs', () => processesWith(`sleep\0${seconds}\0`).length === 1)
  daemon.kill('SIGKILL')
  await until(t, 'it is gone', () => processesWith(seconds).length === 0)
})
