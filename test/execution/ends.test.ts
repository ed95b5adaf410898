import { writeFileSync } from 'node:fs'
import t from 'tap'
import { run, sandboxed, specOf } from './executing.ts'

t.test('a job ends exactly as its command did', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const endOf = async (...argv: string[]) => (await run(executor, specOf(argv))).end

  for (const exitCode of [0, 1, 2, 124, 125, 126, 127, 128, 130, 137, 141, 143, 255]) {
    t.same(await endOf('sh', '-c', `exit ${exitCode}`), { exitCode, signal: null }, `exit ${exitCode}`)
  }
  for (const signal of ['HUP', 'INT', 'QUIT', 'ABRT', 'KILL', 'SEGV', 'PIPE', 'ALRM', 'TERM', 'USR1']) {
    const end = await endOf('sh', '-c', `ulimit -c 0; kill -${signal} $$`)
    t.same(end, { exitCode: null, signal: `SIG${signal}` }, `death by ${signal}`)
  }
  t.same(
    await endOf('sh', '-c', 'kill -40 $$'),
    { exitCode: null, signal: 'SIGRTMIN+6' },
    'death by a real-time signal'
  )
  t.same(await endOf('sh', '-c', 'kill -9 -1; exit 7'), { exitCode: 7, signal: null }, 'PID 1 outlives kill -9 -1')
})

t.test('a command that cannot be started ends as in a shell', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const cases = [
    ['no-such-command', 127, 'CommandNotFoundError'],
    ['', 127, 'CommandNotFoundError'],
    ['/no/such/file', 127, 'CommandNotFoundError'],
    ['a=b', 127, 'CommandNotFoundError'],
    ['--help', 127, 'CommandNotFoundError'],
    ['cd', 127, 'CommandNotFoundError'],
    ['/etc/passwd', 126, 'NotExecutableError'],
    ['/usr', 126, 'NotExecutableError'],
    ['./mine', 126, 'NotExecutableError']
  ] as const
  for (const [command, exitCode, name] of cases) {
    const job = await executor.begin(specOf([command]))
    writeFileSync(`${job.directory}/mine`, '#!/bin/sh\n', { mode: 0o644 })
    job.start()
    const end = await job.ended
    t.match(end, { exitCode, signal: null, error: { name } }, JSON.stringify(command))
    t.match(end.error?.message, command || "''", 'the message names it')
    t.equal((await job.stderr.toArray()).length, 0, 'nothing is written')
    await job.close()
  }
})

t.test('a command of the name of an option or an assignment runs', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(specOf(['./a=b', '--version']))
  writeFileSync(`${job.directory}/a=b`, '#!/bin/sh\necho "$0" "$1"\n', { mode: 0o755 })
  job.start()
  t.equal(Buffer.concat(await job.stdout.toArray()).toString(), './a=b --version\n')
  t.same(await job.ended, { exitCode: 0, signal: null })
  await job.close()
})

t.test('a job that was killed ends by KILL, one that was never started too', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  for (const start of [true, false]) {
    const job = await executor.begin(specOf(['sleep', '1000']))
    if (start) job.start()
    job.kill()
    t.same(await job.ended, { exitCode: null, signal: 'SIGKILL' })
    await job.close()
  }
  const job = await executor.begin(specOf(['sleep', '1000']))
  job.start()
  await executor.close()
  t.same(await job.ended, { exitCode: null, signal: 'SIGKILL' }, 'a closing executor ends its jobs')
  await t.rejects(executor.begin(specOf(['true'])), { name: 'DaemonError' })
})
