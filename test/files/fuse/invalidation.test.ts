import t from 'tap'
import { needs } from '../../require.ts'
import { fuseUnavailable, Mounted } from './mounted.ts'

const unavailable = fuseUnavailable()
/** Everything is believed until it is invalidated. */
const CACHED = { validMs: 1e9, openFlags: 2, invalidation: 'explicit' }

t.test('the kernel forgets what it is told to forget', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start(CACHED)
  await mounted.ask('put', { name: 'a', text: 'first\n' })
  const cat = async () => (await mounted.run('cat a; [ -e b ] && echo there || echo gone')).stdout
  t.equal(await cat(), 'first\ngone\n')
  const id = await mounted.ask('put', { name: 'a', text: 'fresh\n' })
  await mounted.ask('put', { name: 'b', text: '' })
  t.equal(await cat(), 'first\ngone\n', 'cached')
  await mounted.ask('invalidateInode', { name: 'a' })
  t.equal(await cat(), 'fresh\ngone\n')
  await mounted.ask('invalidateEntry', { name: 'b' })
  t.equal(await cat(), 'fresh\nthere\n')
  await mounted.ask('drop', { name: 'a' })
  t.equal(await cat(), 'fresh\nthere\n', 'cached')
  await mounted.ask('deleteEntry', { name: 'a', id })
  t.match(await mounted.run('cat a'), { stderr: /No such file/ })
  await mounted.ask('invalidateEntry', { name: 'never-seen' })
  t.match(await mounted.ask('state'), { faults: [] })
})

t.test('a notification waits for the request that is in its way, and nothing else does', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start(CACHED)
  await mounted.ask('put', { name: 'b', text: '' })
  await mounted.run('mkdir d; [ -e b ]')
  // A page of `held` is locked as long as it is being read; the directory while a name is made in it.
  await mounted.ask('hold', { on: true })
  const cat = mounted.run('cat held')
  await mounted.until(({ waiting }) => waiting === 1)
  const touch = mounted.run('exec 9>+hold')
  await mounted.until(({ waiting }) => waiting === 2)
  const told: string[] = []
  const inode = mounted.ask('invalidateInode', { name: 'held' }).then(() => told.push('inode'))
  const entry = mounted.ask('invalidateEntry', { name: 'b' }).then(() => told.push('entry'))
  // Not in the same directory: the kernel lets nobody look there before the thread that waits for its lock.
  for (let i = 0; i < 5; i++) t.match((await mounted.run(`cat b; cat d/none-${i}`)).stderr, /No such file/)
  t.same(told, [])
  await mounted.ask('free')
  await Promise.all([inode, entry])
  t.match(await cat, { stdout: 'held\n', code: 0 })
  await touch
  t.match(await mounted.ask('state'), { faults: [] })
})

t.test('many notifications in the midst of many requests', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start(CACHED)
  const busy = mounted.run(
    'for i in 1 2 3; do (for j in $(seq 30); do echo $j >f$i-$j; cat f$i-$j held; mv f$i-$j g; done) & done; wait; ls'
  )
  let isOver = false
  busy.finally(() => (isOver = true))
  while (!isOver) {
    await Promise.all([
      mounted.ask('invalidateInode', { name: 'held' }),
      mounted.ask('invalidateEntry', { name: 'g' }),
      mounted.ask('invalidateEntry', { name: 'f1-10' }),
      mounted.ask('invalidateEntry', { name: 'held' })
    ])
  }
  t.match(await busy, { stderr: '', code: 0, stdout: /g\nheld\n$/ })
})
