import type { Stream } from '@libp2p/interface'
import t from 'tap'
import { FrameStream } from '../../src/network/frames.ts'
import { windowByHalves } from '../../src/network/lean-yamux.ts'
import { MAX_STREAM_WINDOW_BYTES } from '../../src/network/node.ts'
import { pairNodes, startNode } from './nodes.ts'

const soon = (): AbortSignal => AbortSignal.timeout(10_000)
const MIB = 1024 * 1024

/** What the packages' objects have inside; when they change, what is done to them must be looked at again. */
interface Inside {
  recvWindow: number
  sendFrame(header: { type: number; length: number }): boolean
  decoder: { lengthDecoder(bytes: { byteLength: number; get(index: number): number }): number }
}

t.test('bytes that flow one way cost few messages the other way, and all arrive', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  pairNodes(a, b)
  const updates: number[] = []
  const received = new Promise<number>((resolve, reject) => {
    void b.node.handle('/kappa/flow/1.0.0', { rights: ['own'], maxStreams: 4 }, async (stream) => {
      const inside = stream as unknown as Inside
      const { sendFrame } = inside
      inside.sendFrame = (header) => {
        updates.push(header.length)
        return sendFrame(header)
      }
      let bytes = 0
      try {
        for await (const frame of new FrameStream(stream, { maxFrameBytes: MIB }).frames()) bytes += frame.byteLength
        resolve(bytes)
      } catch (error) {
        reject(error)
      }
    })
  })
  const connection = await a.node.dial(b.node.addresses(), b.id, soon())
  const stream = await a.node.openStream(connection, '/kappa/flow/1.0.0', soon())
  t.equal((stream as unknown as Inside).recvWindow, MAX_STREAM_WINDOW_BYTES)
  const frames = new FrameStream(stream, { maxFrameBytes: MIB })
  for (let count = 0; count < 16 * 20; count++) if (!frames.send(Buffer.alloc(MIB / 16))) await frames.drained(soon())
  await frames.close()
  t.equal(await received, 20 * MIB)
  t.ok(updates.length <= 45, `${updates.length} updates for 20 windows`)
})

t.test('a length that has not arrived is waited for', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  pairNodes(a, b)
  const connection = await a.node.dial(b.node.addresses(), b.id, soon())
  const inside = connection as unknown as { muxer: { maConn: Inside } }
  const { decoder } = inside.muxer.maConn
  t.equal(decoder.lengthDecoder({ byteLength: 1, get: () => 7 }), 0xffff)
  t.equal(decoder.lengthDecoder({ byteLength: 2, get: (index) => [1, 2][index]! }), 258)
})

/** What of a stream concerns its window, as the package has it. */
class Receiver {
  state = 3
  recvWindow = MIB / 4
  recvWindowCapacity = MIB / 4

  sendWindowUpdate(): void {
    this.recvWindowCapacity = this.recvWindow
  }

  receive(bytes: number): void {
    this.recvWindowCapacity -= bytes
    this.sendWindowUpdate()
  }
}

t.test('a window that is used up quickly grows, one that lasts shrinks, within its bounds', (t) => {
  let now = 0
  const receiver = new Receiver()
  windowByHalves(receiver as unknown as Stream, MIB)
  windowByHalves(receiver as unknown as Stream, MIB, 4 * MIB, () => now)
  const flow = (ms: number): number => {
    for (let part = 0; part < 16; part++) {
      now += ms / 16
      receiver.receive(receiver.recvWindow / 32)
    }
    return receiver.recvWindow / MIB
  }
  const after = (ms: number): number => Array.from({ length: 8 }, () => flow(ms)).at(-1)!
  t.equal(after(8), 4)
  t.equal(after(40), 4)
  t.equal(after(100), 1)
  t.ok(receiver.recvWindowCapacity >= MIB / 2)
  t.end()
})
