import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import t from 'tap'
import type { Log } from '../../src/daemon/log.ts'
import { SeenTrees } from '../../src/daemon/seen-trees.ts'
import { WIRE } from '../../src/files/target/store-codec.ts'
import type { StoreThread } from '../../src/files/target/store-thread.ts'
import { Wire } from '../../src/files/target/wire.ts'
import type { FrameStream } from '../../src/network/frames.ts'
import { encodeHello } from '../../src/protocols/file/channel.ts'

const ID = '0123456789abcdef'.repeat(2)

/** A stream that says hello, and nothing else. */
function greeting(received: number): { frames: FrameStream; said: Uint8Array[] } {
  const said: Uint8Array[] = []
  const hello = Buffer.concat(encodeHello({ tree: ID, uid: 0, gid: 0, writable: [], received }))
  const frames = {
    onFrame: (onFrame: (frame: Uint8Array) => void) => onFrame(hello),
    send: (...parts: Uint8Array[]) => void said.push(Buffer.concat(parts)),
    pause: () => {},
    resume: () => {},
    drained: async () => {},
    close: async () => {},
    abort: () => {}
  }
  return { frames: frames as unknown as FrameStream, said }
}

/** A tree with who serves it, who answers as it is told. */
async function served(answers: boolean) {
  const trees = new SeenTrees(
    { info: () => {} } as unknown as Log,
    { open: () => ({ handle: () => {}, close: () => {} }) } as unknown as StoreThread
  )
  await trees.serve('home', greeting(0).frames)
  const tree = await trees.get('home', ID, 0)
  const [here, there] = duplexPair()
  const server = new Wire(there as unknown as Socket)
  const asked: number[] = []
  server.receive(
    (frame) => {
      asked.push(frame[0]!)
      if (answers) server.send([Uint8Array.from(frame)])
    },
    () => {}
  )
  let lives = true
  tree.connect(here as unknown as Socket, () => lives)
  return { trees, tree, asked, kill: () => void (lives = false) }
}

t.test('a job has ended when who serves its tree says that all is at home', async (t) => {
  const { tree, asked } = await served(true)
  await Promise.all([tree.settled(), tree.settled()])
  t.same(asked, [WIRE.settled, WIRE.settled])
})

t.test('or when the tree is closed, before or after', async (t) => {
  const { trees, tree } = await served(false)
  const before = tree.settled()
  const news = trees.get('home', ID, 7)
  tree.close()
  await before
  await tree.settled()
  await t.rejects(news, { name: 'SandboxError' }, 'nobody waits for its news')
})

t.test('who serves it was killed', async (t) => {
  const { trees, kill } = await served(true)
  t.equal(trees.isLost('home', ID), false)
  kill()
  t.equal(trees.isLost('home', ID), true)
  t.equal(trees.isLost('another', ID), false)
})

t.test('home hears that a tree is not known any more', async (t) => {
  const { trees, tree } = await served(true)
  tree.close()
  const { frames, said } = greeting(1)
  await trees.serve('home', frames)
  const hello = { tree: ID, uid: 0, gid: 0, writable: [], received: 0, gone: true }
  t.same(said, [Buffer.concat(encodeHello(hello))])
})
