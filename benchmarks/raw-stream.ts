/**
 * One stream between two nodes as the daemons have them, and nothing else: `raw-stream.ts listen ADDRESS` prints what the
 * other side dials; `raw-stream.ts send PEER ADDRESS MIB` prints the seconds until all has arrived there.
 */

import { FrameStream, MESSAGE_PAYLOAD_BYTES } from '../src/network/frames.ts'
import { Gater } from '../src/network/gater.ts'
import { createIdentity } from '../src/network/identity.ts'
import { createNode } from '../src/network/node.ts'
import type { Pairing } from '../src/network/pairing.ts'

const PROTOCOL = '/kappa/benchmark/1.0.0'
const DEADLINE_MS = 120_000
const maxFrameBytes = MESSAGE_PAYLOAD_BYTES

const [what, ...words] = process.argv.slice(2)
const anybody = (peerId: string): Pairing => ({ peerId, name: peerId, kind: 'own', state: 'paired', addresses: [] })
const node = await createNode({
  privateKey: await createIdentity(),
  name: 'raw',
  listen: what === 'listen' ? [words[0]!] : ['/ip4/127.0.0.1/tcp/0'],
  announce: [],
  gater: new Gater({ pairings: { all: () => [], get: anybody }, banned: [] }),
  mdns: false,
  agentVersion: 'kappa/benchmark'
})

if (what === 'listen') {
  await node.handle(PROTOCOL, { rights: ['own'], maxStreams: 8 }, (stream) => {
    const frames = new FrameStream(stream, { maxFrameBytes })
    let left = -1
    frames.onFrame(
      (frame) => {
        if (left < 0) left = Number(Buffer.from(frame).readBigUInt64BE())
        else left -= frame.length
        if (left === 0) frames.send(Uint8Array.of(1))
      },
      () => {}
    )
  })
  process.stdout.write(`${node.peerId} ${node.addresses()[0]}\n`)
  process.stdin.on('end', () => process.exit()).resume()
} else {
  const [peer, address, mebibytes] = words as [string, string, string]
  const signal = AbortSignal.timeout(DEADLINE_MS)
  const connection = await node.dial([address], peer, signal)
  const frames = new FrameStream(await node.openStream(connection, PROTOCOL, signal), { maxFrameBytes })
  const bytes = Number(mebibytes) * 2 ** 20
  const size = Buffer.alloc(8)
  size.writeBigUInt64BE(BigInt(bytes))
  const chunk = new Uint8Array(maxFrameBytes)
  const began = performance.now()
  const arrived = new Promise<void>((resolve, reject) => {
    frames.onFrame(
      () => resolve(),
      (error) => reject(error ?? new Error('the stream ended'))
    )
  })
  frames.send(size)
  for (let left = bytes; left > 0; left -= chunk.length) {
    if (!frames.send(left < chunk.length ? chunk.subarray(0, left) : chunk)) await frames.drained(signal)
  }
  await arrived
  process.stdout.write(`${(performance.now() - began) / 1000}\n`)
  process.exit()
}
