import { createHash } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import {
  decodePaths,
  decodeStoreAnswer,
  encodeStoreRequest,
  type StoreRequest,
  WHOLE
} from '../../../src/files/target/store-codec.ts'
import { StoreThread } from '../../../src/files/target/store-thread.ts'

const DATA = new Uint8Array(Buffer.from('something'))
const HASH = createHash('sha256').update(DATA).digest('binary')

/** A home that asks, and waits for each answer. */
function asking(thread: StoreThread, home: string) {
  const answers = new Map<number, (body: Uint8Array) => void>()
  const access = thread.open(home, (parts) => {
    const { id, body } = decodeStoreAnswer(Buffer.concat(parts))
    answers.get(id)?.(body)
  })
  let last = 0
  const send = (frame: (id: number) => Uint8Array): Promise<Uint8Array> =>
    new Promise((resolve) => {
      answers.set(++last, resolve)
      access.handle(frame(last))
    })
  const ask = (request: StoreRequest) => send((id) => Buffer.concat(encodeStoreRequest(id, request)))
  return { ask, send, access }
}

t.test('homes ask one thread, and each has its own', async (t) => {
  const onFailure = (error: Error): never => t.fail(error.message) as never
  const directory = join(t.testdir(), 'files')
  const thread = new StoreThread({ directory, max: 1e6, onFailure })
  t.teardown(() => thread.close())
  const [a, b] = [asking(thread, 'a'), asking(thread, 'b')]
  t.equal((await a.ask({ kind: 'save', hash: '', block: WHOLE, data: DATA })).length, 0)
  await a.ask({ kind: 'remember', paths: ['/usr'] })
  const load: StoreRequest = { kind: 'load', hash: HASH, block: WHOLE }
  t.same(await a.ask(load), Buffer.from(DATA))
  t.equal((await b.ask(load)).length, 0)
  t.same(decodePaths(await a.ask({ kind: 'recall' })), ['/usr'])
  t.same(decodePaths(await b.ask({ kind: 'recall' })), [])
  thread.resize(0)
  t.equal((await a.ask(load)).length, 0)
})

t.test('where nothing can be kept, for what makes no sense, and in the end: there is nothing', async (t) => {
  const directory = join(t.testdir({ file: '' }), 'file')
  const onFailure = (error: Error): never => t.fail(error.message) as never
  const thread = new StoreThread({ directory, max: 1e6, onFailure })
  const { ask, send } = asking(thread, 'a')
  t.equal((await ask({ kind: 'save', hash: '', block: WHOLE, data: DATA })).length, 0)
  const load: StoreRequest = { kind: 'load', hash: HASH, block: WHOLE }
  t.equal((await ask(load)).length, 0)
  t.equal((await ask({ kind: 'own', hash: HASH, path: '/usr/nothing' })).length, 0)
  t.equal((await send((id) => Uint8Array.of(99, 0, 0, 0, id))).length, 0)
  t.equal((await ask(load)).length, 0)
  await thread.close()
  t.equal((await ask(load)).length, 0)
})
