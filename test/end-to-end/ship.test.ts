import t from 'tap'
import { emulatedLan, load, pair, TestPeer, until } from './peers.ts'

interface Candidate {
  name: string
  metric: number
}

const WHERE = ['run', '--plain', 'sh', '-c', 'echo "$' + '{KAPPA_TARGET:-home}"']

const lan = await emulatedLan(t, { hosts: 3, cores: [0.5, 0.5, 0.5], bound: [0, 1, 0] })
if (lan) {
  const [home, desktop, nas] = (await Promise.all(
    ['home', 'desktop', 'nas'].map((name, host) => TestPeer.start(t, { name, lan, host }))
  )) as [TestPeer, TestPeer, TestPeer]
  await pair(home, desktop)
  await pair(home, nas)
  const where = async () => (await home.kappa(WHERE)).stdout.trim()

  t.test('the idle home keeps', async (t) => {
    await until('it has become quiet', async () => (await where()) === 'home')
    const job = (await home.jobs())[0]!
    t.match(job, { state: 'exited', target: 'home', exitCode: 0 })
    t.match(JSON.parse(await home.ok(['why', '--json', String(job.id)])), { reason: String, refusals: [] })
  })

  t.test('the loaded home ships to who is idle', async (t) => {
    await load(t, home, 2)
    await load(t, desktop, 2)
    // Right after the load began home may not know of it yet, and both seem as good.
    const why = await until('it ships to the idle one, knowing that it is', async () => {
      if ((await where()) !== 'nas') return undefined
      const job = (await home.jobs()).find(({ target }) => target === 'nas')!
      const why = JSON.parse(await home.ok(['why', '--json', String(job.id)]))
      const metrics = new Map<string, number>(why.candidates.map(({ name, metric }: Candidate) => [name, metric]))
      const [best, ...others] = ['nas', 'home', 'desktop'].map((name) => metrics.get(name)!)
      return best! > Math.max(...others) && why
    })
    t.same(why.candidates.map(({ name }: Candidate) => name).sort(), ['desktop', 'home', 'nas'])
    t.same(why.hops, ['nas'])
  })

  t.test('and comes home when the load has ended', async (t) => {
    await until('it is quiet again', async () => (await where()) === 'home')
    t.match((await home.jobs())[0], { target: 'home' })
  })
}
