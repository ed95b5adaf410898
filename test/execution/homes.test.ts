import { readdirSync } from 'node:fs'
import t from 'tap'
import { guestOf } from '../../src/execution/availability.ts'
import { Homes } from '../../src/execution/homes.ts'
import { childrenOf } from '../../src/execution/process.ts'
import { findTools } from '../../src/execution/tools.ts'
import { place, processesWith, run, sandboxed, sh, specOf, until } from './executing.ts'

t.test('spare cells are made ahead, at most four in all', async (t) => {
  if ((await sandboxed(t)) === null) return
  const found = findTools()
  if (!('tools' in found)) return
  const { chmodSync, mkdirSync } = await import('node:fs')
  const scratchDirectory = `${place(t)}/scratch`
  mkdirSync(scratchDirectory)
  chmodSync(scratchDirectory, 0o711)
  const homes = new Homes({ scratchDirectory, ...guestOf({}), tools: found.tools, nice: 19, group: null })
  t.teardown(() => homes.close())
  const waiting = () => processesWith('echo ready >&3').filter((pid) => childrenOf(pid).length === 0).length
  const before = waiting()
  for (let index = 0; index < 6; index++) homes.prepare({ peerId: `home-${index}`, kind: 'friend' })
  await until(t, 'each of the last four homes has a spare', () => waiting() - before === 4)
  t.equal(readdirSync(scratchDirectory).length, 6, 'each home has a root')
  const cell = await homes.take({ peerId: 'home-5', kind: 'friend' })
  t.equal(cell.alive, true)
  await cell.dispose()
  homes.gave({ peerId: 'home-5', kind: 'friend' })
  await homes.close()
  await until(t, 'all are gone', () => processesWith(scratchDirectory).length === 0)
})

t.test('homes are apart: two peers, and two kinds of one peer', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const namespaceOf = (peerId: string, kind: 'own' | 'friend') =>
    sh(executor, 'readlink /proc/self/ns/net', { home: { peerId, kind } })
  const names = [await namespaceOf('a', 'friend'), await namespaceOf('b', 'friend'), await namespaceOf('a', 'own')]
  t.equal(new Set(names).size, 3)
  t.equal(await namespaceOf('a', 'friend'), names[0], 'jobs of one home share its network')
})

t.test('a sandbox whose root was killed is built again for the next job', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(specOf(['sleep', '1000']))
  job.start()
  const root = job.directory.split('/').at(-4)!
  const keeper = processesWith(root)[0] ?? childrenOf(process.pid)[0]
  t.ok(keeper)
  process.kill(keeper!, 9)
  t.same(await job.ended, { exitCode: null, signal: 'SIGKILL' })
  await job.close()
  t.same((await run(executor, specOf(['sh', '-c', 'exit 3']))).end, { exitCode: 3, signal: null })
})

t.test('waiting for a cell can be given up', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const controller = new AbortController()
  const begun = executor.begin(specOf(['true']), controller.signal)
  controller.abort()
  await t.rejects(begun, { name: 'AbortError' })
})
