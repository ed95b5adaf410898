import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { type LoadSample, MachineSampler } from '../../src/machine/sampler.ts'

async function busyLoop(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['-e', 'process.stdout.write("."); for (;;);'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: {}
  })
  await once(child.stdout!, 'data')
  return child
}

t.test('a busy loop is load, unless it is a job of kappa', async (t) => {
  const child = await busyLoop()
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const asLoad = new MachineSampler()
  const asJob = new MachineSampler()
  let load!: LoadSample
  let job!: LoadSample
  // Both see the same moments, so what else this machine does is the same for both.
  for (let step = 0; step <= 3; step++) {
    if (step > 0) await delay(400)
    load = asLoad.sample(performance.now(), [])
    job = asJob.sample(performance.now(), [child.pid!])
  }
  t.ok(load.idleCores < load.cores, 'the loop takes some of the idle time')
  t.ok(job.idleCores > load.idleCores, `${job.idleCores} idle without the job, ${load.idleCores} with it`)
  t.ok(load.runnable > 0, 'the loop is runnable all the time')
  t.ok(load.memoryAvailable > 0 && load.memoryAvailable <= load.memoryTotal)
})
