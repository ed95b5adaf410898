import { spawn } from 'node:child_process'
import t, { type Test } from 'tap'
import { SleepLock } from '../../src/machine/sleep-lock.ts'
import { until } from '../execution/executing.ts'
import { Logind, logindAvailable } from '../logind.ts'

const WAYS = [
  { what: 'idle:sleep', mode: 'block-weak' },
  { what: 'idle:sleep', mode: 'block' },
  { what: 'idle', mode: 'block' }
]

async function setUp(t: Test, refused: string[]) {
  const logind = await Logind.start(t, refused)
  process.env.DBUS_SYSTEM_BUS_ADDRESS = logind.address
  const failures: string[] = []
  const lock = new SleepLock({ ways: WAYS, why: 'a test', onFailure: (reason) => failures.push(reason) })
  t.teardown(() => lock.release())
  return { logind, lock, failures }
}

t.test('is taken and released, again and again', async (t) => {
  if (!logindAvailable(t)) return
  const { logind, lock, failures } = await setUp(t, [])
  for (const times of [1, 2]) {
    lock.take()
    lock.take()
    await logind.says('taken kappa idle:sleep block-weak', times)
    lock.release()
    await logind.says('released kappa idle:sleep block-weak', times)
  }
  t.equal(logind.lines.length, 4)
  t.same(failures, [])
})

t.test('what logind refuses is asked for in another way, and then in that at once', async (t) => {
  if (!logindAvailable(t)) return
  const { logind, lock, failures } = await setUp(t, ['block-weak', 'idle:sleep'])
  for (const times of [1, 2]) {
    lock.take()
    await logind.says('taken kappa idle block', times)
    lock.release()
    await logind.says('released kappa idle block', times)
  }
  t.same(logind.lines.slice(0, 2), ['refused kappa idle:sleep block-weak', 'refused kappa idle:sleep block'])
  t.equal(logind.lines.length, 6)
  t.same(failures, [])
})

t.test('it can not be had: that is said once', async (t) => {
  if (!logindAvailable(t)) return
  const { logind, lock, failures } = await setUp(t, ['block-weak', 'block'])
  lock.take()
  await until(t, 'it is said', () => failures.length > 0)
  t.match(failures, [/denied/])
  lock.release()
  lock.take()
  lock.release()
  t.equal(logind.lines.length, 3, 'and not asked for again')
  t.equal(failures.length, 1)
})

t.test('it ends with who holds it, however that ends', async (t) => {
  if (!logindAvailable(t)) return
  const { logind } = await setUp(t, [])
  const file = new URL('../../src/machine/sleep-lock.ts', import.meta.url).href
  const script = `import(${JSON.stringify(file)}).then(({ SleepLock }) =>
    new SleepLock({ ways: ${JSON.stringify(WAYS)}, why: 'a test', onFailure() {} }).take())`
  const holder = spawn(process.execPath, ['-e', script], { stdio: 'ignore' })
  await logind.says('taken kappa idle:sleep block-weak')
  holder.kill('SIGKILL')
  await logind.says('released kappa idle:sleep block-weak')
})

t.test('no systemd-inhibit', async (t) => {
  const { PATH } = process.env
  t.teardown(() => {
    process.env.PATH = PATH
  })
  process.env.PATH = '/nowhere'
  const failures: string[] = []
  const lock = new SleepLock({ ways: WAYS, why: 'a test', onFailure: (reason) => failures.push(reason) })
  lock.take()
  await until(t, 'it is said', () => failures.length > 0)
  t.match(failures, [/systemd-inhibit ENOENT/])
})
