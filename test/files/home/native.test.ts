/** The program that holds locks for home's server ends with it, and with nothing less. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Errno } from '../../../src/files/fuse/errno.ts'
import { Native } from '../../../src/files/home/native.ts'
import { TreeThread } from '../../../src/files/home/thread.ts'
import { type Answer, decodeAnswer, encodeRequest, OPEN, UNKNOWN } from '../../../src/protocols/file/codec.ts'

/** Processes of that program that were started by a process. */
function programsOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'latin1').endsWith(`\0${pid}\0`) && isReady(Number(name))
      } catch {
        return false
      }
    })
    .map(Number)
}

const isReady = (pid: number): boolean => readFileSync(`/proc/${pid}/comm`, 'latin1') === 'kappa-ready\n'

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(5)
}

const ALL = { type: 1, start: 0n, end: 2n ** 63n - 1n }

t.test('it holds locks until it is closed', async (t) => {
  const path = join(t.testdir({ file: 'text' }), 'file')
  const fd = openSync(path, 'r+')
  const start = () => Native.start({ onTold: () => {}, onEnd: () => {} })!
  const [one, two] = [start(), start()]
  t.teardown(() => two.close())
  t.equal(programsOf(process.pid).length, 2)
  one.hold(5, fd, true, undefined)
  two.hold(5, fd, true, undefined)
  one.lock(5, ALL, false)
  one.lock(5, ALL, true)
  t.throws(() => two.lock(5, ALL, false), Errno.of('EAGAIN'))
  t.throws(() => two.lock(5, ALL, true), Errno.of('EAGAIN'))
  t.match(two.test(5, { type: 0, start: 7n, end: 8n }), ALL)
  t.throws(() => two.hold(5, fd, true, undefined), Errno.of('EINVAL'), 'a slot that is taken')
  t.throws(() => two.hold(4096, fd, true, undefined), Errno.of('EINVAL'), 'a slot that there is not')
  t.throws(() => two.lock(6, ALL, false), Errno.of('EBADF'), 'a slot with nothing')
  one.close()
  await until(() => programsOf(process.pid).length === 1)
  two.lock(5, ALL, false)
  two.drop(5)
  two.hold(5, fd, true, undefined)
  two.lock(5, ALL, true)
})

t.test('when it ends by itself, who uses it is told', async (t) => {
  const ended = Promise.withResolvers<Error>()
  const native = Native.start({ onTold: () => {}, onEnd: ended.resolve })!
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => clearInterval(alive))
  const [pid] = programsOf(process.pid)
  process.kill(pid!, 'SIGTERM')
  t.doesNotThrow(() => native.drop(1), 'a signal that ends others does not end it')
  process.kill(pid!, 'SIGKILL')
  t.match(await ended.promise, { message: /ended/ })
  t.throws(() => native.drop(1), Errno.of('EIO'))
})

t.test('what a thread holds for a target ends with the thread', async (t) => {
  const home = realpathSync(t.testdir({ file: 'text' }))
  const path = join(home, 'file')
  const answers: ((answer: Answer) => void)[] = []
  const thread = new TreeThread({
    view: { kind: 'own', home, project: '/', shares: [], denied: [] },
    journal: join(home, 'journal'),
    hashes: join(home, 'hashes'),
    onFrame: (parts) => {
      const message = decodeAnswer(Buffer.concat(parts))
      if (message.kind === 'done') answers.shift()?.(message.answer)
    },
    onRefused: () => {},
    onFailure: (error) => t.fail(error.message)
  })
  const ask = (parts: Uint8Array[]): Promise<Answer> => {
    thread.handle(Buffer.concat(parts))
    return new Promise((resolve) => answers.push(resolve))
  }
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => clearInterval(alive))
  const flags = OPEN.both | OPEN.handle
  const { handle = 0 } = await ask(encodeRequest('open', 1, { path, flags, mode: 0, version: UNKNOWN }))
  await ask(encodeRequest('lock', 2, { handle, owner: 1n, ...ALL, wait: 0, whole: 1 }))
  const own = Native.start({ onTold: () => {}, onEnd: () => {} })!
  t.teardown(() => own.close())
  own.hold(0, openSync(path, 'r'), false, undefined)
  t.throws(() => own.lock(0, ALL, true), Errno.of('EAGAIN'))
  await thread.close()
  await until(() => programsOf(process.pid).length === 1)
  t.doesNotThrow(() => own.lock(0, ALL, true))
})

t.test('it ends when its server is killed', async (t) => {
  const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-native-'))
  t.teardown(() => rmSync(home, { recursive: true }))
  writeFileSync(join(home, 'file'), '')
  const script = `import { Native } from ${JSON.stringify(join(import.meta.dirname, '../../../src/files/home/native.ts'))}
Native.start({ onTold() {}, onEnd() {} }); console.log('ready'); setInterval(() => {}, 1000)`
  const server = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  await once(server.stdout!, 'data')
  const programs = programsOf(server.pid!)
  t.equal(programs.length, 1)
  server.kill('SIGKILL')
  await until(() => programsOf(server.pid!).length === 0)
})
