/** What a job took, as its home learns it. */

import { chmodSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Executor } from '../../src/execution/job.ts'
import { finish, place, sandboxed, specOf } from './executing.ts'

/** Computes in children: what it waits for counts. */
const BUSY = 'awk "BEGIN { while (n++ < 4000000) x += n }"; awk "BEGIN { while (n++ < 4000000) x += n }"'

async function measured(t: Test, executor: Executor): Promise<void> {
  const busy = await executor.begin(specOf(['sh', '-c', BUSY]))
  t.equal(busy.usage, undefined, 'not before its end')
  await finish(busy)
  const { wallMs, cpuMs } = busy.usage!
  t.ok(cpuMs! >= 50 && cpuMs! % 10 === 0, `${cpuMs} ms of CPU`)
  t.ok(wallMs >= cpuMs! / 2, `${wallMs} ms`)
  const idle = await executor.begin(specOf(['sleep', '0.3']))
  await finish(idle)
  t.ok(idle.usage!.wallMs >= 300 && idle.usage!.cpuMs! < 200, JSON.stringify(idle.usage))
  const killed = await executor.begin(specOf(['sleep', '60']))
  killed.start()
  killed.kill()
  await killed.ended
  t.equal(killed.usage?.cpuMs, undefined, 'nobody was left to tell')
  await killed.close()
}

t.test('in the sandbox', async (t) => {
  const executor = await sandboxed(t)
  if (executor !== null) await measured(t, executor)
})

t.test('without one', async (t) => {
  const directory = place(t)
  chmodSync(directory, 0o711)
  const executor = await Executor.open({ scratchDirectory: `${directory}/scratch`, unsandboxed: true })
  t.teardown(() => executor.close())
  await measured(t, executor)
})
