import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { encode } from 'cborg'
import t from 'tap'
import { encodeMessage } from '../../src/protocols/exec/codec.ts'
import { EXEC_FRAME_BYTES_MAX, EXEC_PROTOCOL } from '../../src/protocols/exec/constants.ts'
import { ackFrame, closeFrame, dataHeader, eofFrame, FRAME, frameHeader } from '../../src/protocols/exec/frames.ts'
import { MAX_MESSAGE_BYTES, OVERLAY_PROTOCOL } from '../../src/protocols/overlay/constants.ts'
import { MESSAGE_BYTES_MAX, PAIR_PROTOCOL } from '../../src/protocols/pair/constants.ts'
import { pair, TestPeer, until } from './peers.ts'
import { Rogue, throwAt } from './rogue.ts'

const MIB = 2 ** 20
/** A daemon has about 150 MiB; what a paired peer can make it hold is bounded. */
const MEMORY_MIB_MAX = 600

const [desktop, laptop] = await Promise.all([
  TestPeer.start(t, { name: 'desktop' }),
  TestPeer.start(t, { name: 'laptop' })
])
await pair(desktop, laptop)
const { peerId } = await desktop.status()
const rogue = await Rogue.start(t, 'rogue', peerId)
await rogue.pairWith(desktop)
// A job of somebody else runs all the time, and isn't disturbed.
const witness = await laptop.begun(desktop, ['sh', '-c', 'echo up; cat'])

function frame(...parts: Uint8Array[]): Buffer {
  const payload = Buffer.concat(parts)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(payload.length)
  return Buffer.concat([length, payload])
}

const announced = (length: number) => {
  const header = Buffer.alloc(4)
  header.writeUInt32BE(length)
  return header
}

/** What no protocol takes; `bytesMax` is its longest frame. */
function nonsense(bytesMax: number): Record<string, Uint8Array[]> {
  return {
    'random bytes': [randomBytes(64 * 1024)],
    zeros: [Buffer.alloc(64 * 1024)],
    'a frame of 4 GiB': [announced(0xffffffff), randomBytes(64 * 1024)],
    'a frame one byte too long': [announced(bytesMax + 1), Buffer.alloc(bytesMax + 1)],
    'the longest frame, full of nothing': [frame(Buffer.alloc(bytesMax))],
    'random frames': Array.from({ length: 100 }, (_, length) => frame(randomBytes(length))),
    'CBOR that means nothing': [frame(encode({ type: 'rubbish', deep: [[[[[[{}]]]]]] }))],
    'an array that claims 2^32 items': [frame(Buffer.from([0x9a, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]))],
    'nesting without end': [frame(Buffer.alloc(Math.min(bytesMax, 60_000), 0x81))],
    'half a frame': [announced(1000), Buffer.alloc(10)]
  }
}

const unknown = 'f'.repeat(32)
const start = (changes: object) => ({
  ticket: unknown,
  job: 'x',
  argv: [Buffer.from('true')],
  env: [],
  umask: 0o22,
  nice: 0,
  limits: [],
  home: 'rogue',
  mode: 'plain' as const,
  ins: false,
  outs: [],
  outAlways: false,
  ...changes
})
const exec = (kind: number, value: unknown) => frame(frameHeader(kind, 1), encode(value))

const MORE: Record<string, Record<string, Uint8Array[]>> = {
  [EXEC_PROTOCOL]: {
    'a start without a ticket': [frame(...encodeMessage('start', 1, start({})))],
    'starts of the wrong shape': [
      exec(FRAME.start, start({ ticket: '../../etc' })),
      exec(FRAME.start, start({ argv: [] })),
      exec(FRAME.start, start({ argv: 'true' }))
    ],
    'a start with a million words': [exec(FRAME.start, start({ argv: Array(1_000_000).fill(Buffer.alloc(1)) }))],
    'questions about tickets of others': [
      frame(...encodeMessage('resolve', 1, { ticket: unknown })),
      frame(...encodeMessage('attach', 1, { ticket: unknown, received: [0, 0, 0] }))
    ],
    'streams of no job': [
      frame(dataHeader(9, 0, 0), randomBytes(1000)),
      frame(ackFrame(9, 1, 2 ** 40, 2 ** 40)),
      frame(eofFrame(9, 0, 5)),
      frame(closeFrame(9, 1)),
      frame(frameHeader(FRAME.forget, 9)),
      frame(...encodeMessage('signal', 9, { number: 9 }))
    ],
    'frames that only a target sends': [frame(frameHeader(FRAME.started, 1)), exec(FRAME.hello, { epoch: 1 })],
    'frames of the control socket': [exec(FRAME.request, { command: 'unpair', params: { peer: 'laptop' } })],
    'a flood of renewals': [
      frame(frameHeader(FRAME.renew, 0)),
      ...Array(20_000).fill(frame(frameHeader(FRAME.renew, 0)))
    ]
  },
  [OVERLAY_PROTOCOL]: {
    'a probe before hello': [frame(encode({ type: 'release', id: unknown }))],
    'a flood of pings': [
      frame(encode({ type: 'hello', epoch: 1, name: 'rogue', version: '1' })),
      ...Array.from({ length: 20_000 }, (_, number) => frame(encode({ type: 'ping', number })))
    ],
    'an advertisement of someone else': [
      frame(encode({ type: 'hello', epoch: 1, name: '\x1b[31mred', version: '1' })),
      frame(encode({ type: 'advertisement', periodMs: 1000, entries: [{ origin: 'me' }] }))
    ]
  }
}

async function alive(): Promise<void> {
  const before = witness.stdout.length
  witness.say('still there')
  await until('the job goes on', () => witness.stdout.length > before)
}

for (const [protocol, bytesMax] of [
  [EXEC_PROTOCOL, EXEC_FRAME_BYTES_MAX],
  [PAIR_PROTOCOL, MESSAGE_BYTES_MAX]
] as const) {
  t.test(`garbage on ${protocol} from a paired peer`, async (t) => {
    for (const [what, chunks] of Object.entries({ ...nonsense(bytesMax), ...MORE[protocol] })) {
      await throwAt(await rogue.open(desktop, protocol), ...chunks)
      await alive()
      t.pass(what)
    }
  })
}

t.test(`garbage on ${OVERLAY_PROTOCOL} from paired peers`, async (t) => {
  for (const [what, chunks] of Object.entries({ ...nonsense(MAX_MESSAGE_BYTES), ...MORE[OVERLAY_PROTOCOL] })) {
    // Nobody who sent garbage is listened to again for a while: each time it is another one.
    const another = await Rogue.start(t, 'another', peerId)
    await another.pairWith(desktop)
    const end = await throwAt(await another.open(desktop, OVERLAY_PROTOCOL), ...chunks)
    // The other half might still come.
    t.equal(end, what === 'half a frame' ? 'silent' : 'ended', what)
    await alive()
  }
})

t.test('as many streams as it likes', async (t) => {
  const connection = await rogue.connection(desktop)
  const streams = await Promise.allSettled(
    [EXEC_PROTOCOL, OVERLAY_PROTOCOL, PAIR_PROTOCOL].flatMap((protocol) =>
      Array.from({ length: 100 }, () => rogue.node.openStream(connection, protocol, AbortSignal.timeout(10_000)))
    )
  )
  await alive()
  for (const stream of streams) if (stream.status === 'fulfilled') stream.value.abort(new Error('enough'))
  t.pass('the others are served')
})

t.test('after all that', async (t) => {
  const { daemon } = desktop
  const status = readFileSync(`/proc/${daemon.pid}/status`, 'utf8')
  const peakMib = (Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)![1]) * 1024) / MIB
  t.ok(peakMib < MEMORY_MIB_MAX, `${Math.round(peakMib)} MiB at most`)
  t.equal(daemon.exitCode, null)
  t.same((await desktop.status()).slots.used, 1, 'only the job that was to run does')
  witness.child.stdin!.end()
  t.match(await witness.ended, { code: 0, stdout: /^up\n(still there\n)+$/, stderr: '' })
  t.match(await laptop.there(desktop, ['echo', 'fine']), { code: 0, stdout: 'fine\n' })
  t.match(readFileSync(join(desktop.directory, 'state/pairings.json'), 'utf8'), /laptop/)
})
