import t from 'tap'
import { needs } from '../../require.ts'
import { finished, fuseUnavailable, Mounted } from './mounted.ts'

const unavailable = fuseUnavailable()

t.test('requests that wait, fail or are given up', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start()

  await t.test('a signal ends the program that waits, and the handler hears of it', async (t) => {
    const waits = mounted.spawn('exec cat +hold')
    const end = finished(waits, 'cat')
    await mounted.until(({ waiting }) => waiting === 1)
    waits.kill('SIGINT')
    t.match(await end, { signal: 'SIGINT' })
    await mounted.until(({ waiting, interrupted }) => waiting === 0 && interrupted === 1)
  })

  await t.test('others go on meanwhile', async (t) => {
    const end = mounted.run('cat +hold2')
    await mounted.until(({ waiting }) => waiting === 1)
    t.match(await mounted.run('ls; cat held; stat none'), { stdout: 'held\nheld\n', stderr: /No such file/ })
    await mounted.ask('free')
    t.match(await end, { stderr: /No such file/ })
  })

  await t.test('each error reaches the program', async (t) => {
    t.match(await mounted.run('ls +errno'), { stderr: /Structure needs cleaning/ })
    for (const name of ['+throws', '+rejects', '+wrong']) {
      t.match(await mounted.run(`cat ${name}`), { stderr: /Input\/output error/ }, name)
    }
    const { faults } = await mounted.ask('state')
    t.match(faults, ['lookup: deliberate', 'lookup: deliberate', /lookup: /])
  })
})

t.test('what is never answered is answered at its deadline', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start({ limitMs: 100 })
  t.match(await mounted.run('ls +never'), { stderr: /Connection timed out/ })
  t.match(await mounted.run('ls +hold'), { stderr: /Connection timed out/ })
  t.match(await mounted.ask('state'), { interrupted: 1, faults: [] })
})

t.test('locks come to the handlers if wished, wait without a deadline, and can be interrupted', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start({ flockLocks: true, limitMs: 50 })
  t.match(await mounted.run('flock -n held true'), { code: 1 })
  const waits = mounted.spawn('exec flock held true')
  const end = finished(waits, 'flock')
  await mounted.until(({ waiting }) => waiting === 1)
  t.match(await mounted.run('ls +never'), { stderr: /Connection timed out/ }, 'a deadline passed meanwhile')
  t.match(await mounted.ask('state'), { waiting: 2, interrupted: 0 })
  waits.kill('SIGINT')
  t.match(await end, { signal: 'SIGINT' })
})

t.test('more than may wait is left with the kernel, and served in the end', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start({ maxPending: 2 })
  const ends = ['+hold1', '+hold2', '+hold3', '+hold4'].map((name) => mounted.run(`cat ${name}`))
  await mounted.until(({ waiting }) => waiting === 2)
  let isOver = false
  const all = Promise.all(ends).finally(() => (isOver = true))
  while (!isOver) {
    const { waiting } = await mounted.ask('state')
    if (waiting > 2) t.fail('more than two wait')
    await mounted.ask('free')
  }
  for (const { stderr } of await all) t.match(stderr, /No such file/)
})
