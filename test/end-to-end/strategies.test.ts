/** Strategies and information policies, exchanged while the daemons run. The jobs are so short that homes which learn would keep them. */

import t from 'tap'
import { emulatedLan, load, pair, Talk, TestPeer, until } from './peers.ts'

const lan = await emulatedLan(t, { hosts: 3, cores: [0.4, 0.4, 0.4], bound: [0, 1, 0] })
if (lan) {
  const [a, b, c] = (await Promise.all(
    ['a', 'b', 'c'].map((name, host) => TestPeer.start(t, { name, lan, host, config: 'learn = false' }))
  )) as [TestPeer, TestPeer, TestPeer]
  const all = [a, b, c]
  // A line: whom a and c don't know by themselves they learn of through b.
  await pair(a, b)
  await pair(b, c)
  const set = (peer: TestPeer, key: string, value: string) => peer.ok(['config', 'set', key, value])
  const knows = (peer: TestPeer, other: TestPeer) =>
    until(`${peer.name} knows ${other.name}`, async () =>
      (await peer.status()).reachable.some(({ name }) => name === other.name)
    )
  const last = async () => (await a.jobs())[0]!
  const why = async () => JSON.parse(await a.ok(['why', '--json', String((await last()).id)])).reason

  t.test('a job that runs elsewhere does not notice that the strategy changes', async (t) => {
    await knows(a, c)
    const talk = await a.begun(c, ['sh', '-c', 'echo begun; read line; echo "$line"; exit 7'])
    for (const strategy of ['local', 'kappa-paper', 'pull', 'round-robin']) await set(a, 'placement.strategy', strategy)
    t.match(await a.status(), { placement: { strategy: 'round-robin', information: 'broadcast' } })
    talk.child.stdin!.end('still there\n')
    t.match(await talk.ended, { code: 7, stdout: 'begun\nstill there\n' })
  })

  t.test('round-robin, with what each machine broadcasts', async (t) => {
    for (const peer of all) await set(peer, 'placement.strategy', 'round-robin')
    await Promise.all([knows(a, c), knows(c, a)])
    const targets = new Set<unknown>()
    await until('each had its turn', async () => {
      await a.ok(['run', '--plain', 'true'])
      targets.add((await last()).target)
      return targets.size === 3
    })
    t.match(await why(), /had its turn|this machine's turn/)
  })

  t.test('local, for the next job already', async (t) => {
    await set(a, 'placement.strategy', 'local')
    await a.ok(['run', '--plain', 'true'])
    t.equal((await last()).target, 'a')
    t.equal(await why(), 'jobs stay here by placement.strategy')
    await a.there(c, ['true'])
    t.equal((await last()).target, 'c', "the user's word counts more")
  })

  await load(t, a, 2)

  t.test("the paper's own algorithms, on all machines", async (t) => {
    for (const peer of all) {
      await set(peer, 'metric.policy', 'paper')
      await set(peer, 'placement.strategy', 'kappa-paper')
    }
    await until('a job leaves the loaded machine', async () => {
      await a.ok(['run', '--plain', 'true'])
      return (await last()).target !== 'a'
    })
    t.match(await why(), /^\d+ on [bc], \d+ here$/)
    for (const peer of all) await set(peer, 'metric.policy', 'product')
  })

  t.test('a job waits where no core is idle, and an idle machine pulls it', async (t) => {
    for (const peer of all) await set(peer, 'placement.strategy', 'pull')
    await Promise.all([knows(b, a), knows(c, a)])
    const waiting = new Talk(a.spawn(['run', '--plain', '-v', 'true']))
    t.match(await waiting.ended, { code: 0, stderr: /waiting for a free slot, number 1 in line/ })
    t.match((await last()).target, /^[bc]$/)
    t.match(await why(), /had an idle core and asked for a job$/)
  })

  t.test('gossip instead of broadcast; then all as it was', async (t) => {
    for (const peer of all) {
      await set(peer, 'placement.strategy', 'kappa')
      await set(peer, 'placement.information', 'gossip')
    }
    await Promise.all([knows(a, c), knows(c, a)])
    await until('the best machine is found by rumours', async () => {
      await a.ok(['run', '--plain', 'true'])
      return (await last()).target !== 'a'
    })
    t.match(await why(), /^[bc] is .* times better$/)
    for (const peer of all) await set(peer, 'placement.information', 'max-propagation')
    await a.ok(['run', '--plain', 'true'])
    const { placement } = await a.status()
    t.same(placement, { strategy: 'kappa', information: 'max-propagation' })
  })
}
