import t from 'tap'
import { advertised, gist, join, peer, request, sample } from '../scenario.ts'

const BUSY = sample({ idleCores: 0, runnable: 4 })

t.test('a job that is being placed goes on as it began; the next one goes by the new strategy', async (t) => {
  const core = peer('home')
  core.handleSample(BUSY, 0)
  join(core, 'a', 0)
  t.same(gist(core.place('j1', request(), 1)), ['probe home-1>a'])
  core.setStrategy('local', undefined, 2)
  t.match(gist(core.place('j2', request(), 3)), [/^placed j2 here: jobs stay here/])
  const ticket = { id: 't1', target: 'a', epoch: 1, validMs: 2_000 }
  const path = ['home', 'a']
  const reply = { type: 'probe-reply' as const, id: 'home-1', path, bestAt: 1, ticket, refusals: [], entries: [] }
  t.match(gist(core.handleMessage('a', reply, 4)), [/^placed j1 there t1: a is/])
})

t.test('guests and own jobs that run are counted on, whatever is switched', async (t) => {
  const core = peer('home')
  core.handleSample(BUSY, 0)
  core.place('j1', request({ local: true }), 1)
  for (const strategy of ['pull', 'kappa-paper', 'kappa']) core.setStrategy(strategy, undefined, 2)
  t.equal(core.ownRecord(3).homeDemand, 1)
  core.homeJobEnded('j1', 4)
  t.equal(core.remembered, 0)
})

t.test('jobs that waited to be pulled are placed at once by a strategy that lets none wait', async (t) => {
  const core = peer('home', { strategy: 'pull' })
  core.handleSample(BUSY, 0)
  t.match(gist(core.place('j1', request(), 1)), [/^placed j1 here/], 'one always may')
  t.same(gist(core.place('j2', request(), 2)), ['queued j2 1'])
  t.match(gist(core.setStrategy('local', undefined, 3)), [/^placed j2 here/])
})

t.test('information follows the strategy, unless its owner says otherwise', async (t) => {
  const core = peer('home')
  t.same(core.strategy, { name: 'kappa', information: 'max-propagation' })
  core.setStrategy('random', undefined, 1)
  t.same(core.strategy, { name: 'random', information: 'broadcast' })
  core.setStrategy('kappa', 'gossip', 1)
  t.same(core.strategy, { name: 'kappa', information: 'gossip' })
  t.throws(() => core.setStrategy('kappa', 'rumour', 1), /no information policy/)
})

t.test('neighbours are told at once by a policy that begins', async (t) => {
  const core = peer('home')
  core.handleSample(BUSY, 0)
  join(core, 'a', 0)
  t.same(advertised(core.setStrategy('kappa', 'broadcast', 100)), ['a'])
  t.same(advertised(core.setStrategy('kappa', 'gossip', 200)), ['a', 'a'], 'for being new, and by its turn')
  t.same(advertised(core.setStrategy('kappa', 'max-propagation', 300)), ['a'])
})
