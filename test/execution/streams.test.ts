import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { collect, run, sandboxed, specOf, until } from './executing.ts'

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

t.test('50 MB pass through unchanged, stdout and stderr apart', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const input = randomBytes(50_000_000)
  const { out, err, end } = await run(executor, specOf(['sh', '-c', 'head -c 25000000; cat >&2']), input)
  t.same(end, { exitCode: 0, signal: null })
  t.equal(hash(out), hash(input.subarray(0, 25_000_000)))
  t.equal(hash(err), hash(input.subarray(25_000_000)))
})

t.test('the standard streams are files that can be opened by name', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const script =
    'read -r line </dev/stdin; echo "$line" >/dev/stdout; echo error >/dev/stderr; ls /proc/self/fd | wc -l'
  const { out, err } = await run(executor, specOf(['sh', '-c', script]), 'hello\n')
  t.match(out.toString(), /^hello\n/)
  t.equal(err.toString(), 'error\n')
})

t.test('what was written before the end can all be read after it', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(specOf(['sh', '-c', 'head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2']))
  job.start()
  await job.ended
  t.equal((await collect(job.stdout)).length, 60_000)
  t.equal((await collect(job.stderr)).length, 60_000)
  await job.close()
})

t.test('outputs end with the job, whoever else still held them', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const { out, end } = await run(executor, specOf(['sh', '-c', 'sleep 1000 & echo started']))
  t.equal(out.toString(), 'started\n')
  t.same(end, { exitCode: 0, signal: null })
})

t.test('an output that the job closes ends before the job', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(specOf(['sh', '-c', 'echo last; exec >&-; read -r line']))
  job.start()
  t.equal((await collect(job.stdout)).toString(), 'last\n')
  job.stdin.end('go\n')
  t.same(await job.ended, { exitCode: 0, signal: null })
  await job.close()
})

t.test('a consumer that goes away is SIGPIPE for the job', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(specOf(['yes']))
  job.start()
  for await (const _ of job.stdout) break
  t.same(await job.ended, { exitCode: null, signal: 'SIGPIPE' })
  await job.close()
})

t.test('a consumer that stops reading stops the job', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(specOf(['sh', '-c', 'head -c 10000000 /dev/zero; echo done >&2']))
  job.start()
  job.stdout.pause()
  let done = false
  job.stderr.once('data', () => {
    done = true
  })
  await until(t, 'the stream is full', () => job.stdout.readableLength >= 65_536)
  t.equal(done, false)
  t.equal((await collect(job.stdout)).length, 10_000_000)
  t.same(await job.ended, { exitCode: 0, signal: null })
  await job.close()
})

t.test('a job that stops reading closes its stdin without an error', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(specOf(['sh', '-c', 'head -c 5; exec <&-; sleep 1000']))
  job.start()
  const closed = new Promise((resolve) => job.stdin.once('close', resolve))
  const feed = () => {
    if (job.stdin.destroyed) return
    job.stdin.write(Buffer.alloc(1000), () => setImmediate(feed))
  }
  feed()
  await closed
  job.kill()
  await job.close()
  t.pass()
})

t.test('stdin that is not ended keeps the job waiting', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(specOf(['cat']))
  job.start()
  job.stdin.write('one')
  await new Promise((resolve) => job.stdout.once('data', resolve))
  job.stdin.end('two')
  t.equal((await collect(job.stdout)).toString(), 'two')
  await job.ended
  await job.close()
})

t.test('20 jobs at once keep their streams apart', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const inputs = Array.from({ length: 20 }, () => randomBytes(200_000))
  const all = await Promise.all(inputs.map((input) => run(executor, specOf(['cat']), input)))
  for (const [index, { out, end }] of all.entries()) {
    t.same(end, { exitCode: 0, signal: null })
    t.equal(hash(out), hash(inputs[index]!))
  }
})
