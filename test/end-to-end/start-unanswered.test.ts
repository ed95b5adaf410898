import t, { type Test } from 'tap'
import type { FrameStream } from '../../src/network/frames.ts'
import { decodeMessage, type ExecMessage, encodeMessage } from '../../src/protocols/exec/codec.ts'
import { dataHeader, eofFrame, FRAME, frameHeader, parseFrame, STREAM } from '../../src/protocols/exec/frames.ts'
import { Talk, TestPeer, until } from './peers.ts'
import { RogueTarget } from './rogue.ts'

/** The bar is 14 s; as much again for a machine that is busy. */
const LOST_WITHIN_MS = 28_000

type Attach = ExecMessage<'attach'>

/** What the target did with what it got: tickets of start messages, and of questions about them. */
interface Seen {
  started: string[]
  asked: string[]
}

/** A target that takes start messages and says nothing; `onAttach` answers when it is asked about one. */
function silent(seen: Seen, onAttach: (frames: FrameStream, channel: number, message: Attach) => void) {
  return (target: { epoch: number }) =>
    (frames: FrameStream): void => {
      frames.send(...encodeMessage('hello', 0, { epoch: target.epoch }))
      frames.onFrame(
        (bytes) => {
          const frame = parseFrame(bytes)!
          if (!('payload' in frame)) return
          if (frame.type === FRAME.start) seen.started.push(decodeMessage('start', frame.payload).ticket)
          if (frame.type !== FRAME.attach) return
          const message = decodeMessage('attach', frame.payload)
          seen.asked.push(message.ticket)
          onAttach(frames, frame.channel, message)
        },
        () => undefined
      )
    }
}

async function scene(
  t: Test,
  onAttach: (frames: FrameStream, channel: number, message: Attach, target: RogueTarget) => void
): Promise<{ home: TestPeer; target: RogueTarget; seen: Seen }> {
  const seen: Seen = { started: [], asked: [] }
  const home = await TestPeer.start(t, { name: 'home' })
  const target = await RogueTarget.start(t, home, () => undefined)
  target.serve = silent(seen, (frames, channel, message) => onAttach(frames, channel, message, target))(target)
  return { home, target, seen }
}

const COMMAND = ['run', '--plain', 'sh', '-c', 'echo "ran at $' + '{KAPPA_TARGET:-home}"']

t.jobs = 4

t.test('it says that nothing ran and nothing will: the job runs at home, once', { buffered: true }, async (t) => {
  const { home, seen } = await scene(t, (frames, channel, _, { epoch }) =>
    frames.send(...encodeMessage('resolved', channel, { epoch, outcome: { state: 'void' } }))
  )
  t.match(await home.kappa(COMMAND), { code: 0, stdout: 'ran at home\n', stderr: '' })
  t.equal(seen.started.length, 1)
  t.same(seen.asked, seen.started)
  t.match((await home.jobs())[0], { state: 'exited', target: 'home' })
})

t.test('it runs: the job goes on there', { buffered: true }, async (t) => {
  const { home, seen } = await scene(t, (frames, channel) => {
    frames.send(...encodeMessage('attached', channel, { received: [0, 0] }))
    const words = Buffer.from('from there\n')
    frames.send(dataHeader(channel, STREAM.stdout, 0), words)
    for (const [stream, offset] of [
      [STREAM.stdout, words.length],
      [STREAM.stderr, 0],
      [STREAM.outs, 0]
    ] as const)
      frames.send(eofFrame(channel, stream, offset))
    frames.send(...encodeMessage('end', channel, { exitCode: 5, signal: null }))
  })
  t.match(await home.kappa(COMMAND), { code: 5, stdout: 'from there\n', stderr: '' })
  t.same(seen.asked, seen.started)
})

t.test('the connection breaks, and it comes back with the answer', { buffered: true }, async (t) => {
  const { home, target, seen } = await scene(t, (frames, channel, _, { epoch }) =>
    frames.send(...encodeMessage('resolved', channel, { epoch, outcome: { state: 'void' } }))
  )
  const usual = target.serve
  target.serve = (frames, number) => {
    usual(frames, number)
    // The first stream dies with the start message, as if the cable had been cut behind it.
    if (number === 1)
      frames.onFrame(
        (bytes) => {
          const frame = parseFrame(bytes)!
          if (frame.type !== FRAME.start || !('payload' in frame)) return
          seen.started.push(decodeMessage('start', frame.payload).ticket)
          for (const { remotePeer } of target.rogue.node.libp2p.getConnections())
            target.rogue.node.hangUp(remotePeer.toString(), 'cut')
        },
        () => undefined
      )
  }
  t.match(await home.kappa(COMMAND), { code: 0, stdout: 'ran at home\n', stderr: '' })
  t.equal(seen.started.length, 1)
  t.same(seen.asked.slice(0, 1), seen.started)
})

t.test('it comes back as another: lost at once', { buffered: true }, async (t) => {
  const { home, target } = await scene(t, () => undefined)
  target.serve = (frames, number) => {
    frames.send(...encodeMessage('hello', 0, { epoch: number === 1 ? target.epoch : target.epoch + 1 }))
    frames.onFrame(
      (bytes) => {
        if (number === 1 && parseFrame(bytes)!.type === FRAME.start) frames.abort(new Error('restarted'))
      },
      () => undefined
    )
  }
  t.match(await home.kappa(COMMAND), {
    code: 123,
    stdout: '',
    stderr: /^kappa: the job \w+ on rogue is lost: [^\n]+\n$/
  })
})

t.test('it never says anything again: lost in time', { buffered: true }, async (t) => {
  const { home, target, seen } = await scene(t, () => undefined)
  const at = performance.now()
  const run = new Talk(home.spawn(COMMAND))
  await until('it has the start message', () => seen.started.length > 0)
  await target.rogue.node.stop()
  t.match(await run.ended, { code: 123, stdout: '', stderr: /^kappa: the job \w+ on rogue is lost: [^\n]+\n$/ })
  t.ok(performance.now() - at < LOST_WITHIN_MS)
})

t.test('it answers, but nonsense: lost at once, and home lives', { buffered: true }, async (t) => {
  const { home, target } = await scene(t, () => undefined)
  target.serve = (frames) => {
    frames.send(...encodeMessage('hello', 0, { epoch: target.epoch }))
    frames.onFrame(
      (bytes) => {
        const { channel, type } = parseFrame(bytes)!
        if (type !== FRAME.start && type !== FRAME.attach) return
        frames.send(frameHeader(FRAME.started, channel))
        frames.send(dataHeader(channel, STREAM.stdin, 0), Buffer.from('against the stream'))
      },
      () => undefined
    )
  }
  t.match(await home.kappa(COMMAND), {
    code: 123,
    stderr: /^kappa: the job \w+ on rogue is lost: it broke the protocol: [^\n]+\n$/
  })
  t.match(await home.kappa(['run', '--local', 'echo', 'lives']), { stdout: 'lives\n' })
})
