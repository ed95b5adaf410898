/**
 * What paired machines tell each other of how they are: one question and one report on each stream. Who is asked decides by
 * its own pairing what it tells; it looks at itself no more often than each ten seconds, whoever asks.
 */

import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../../core/types.ts'
import { KappaError } from '../../errors.ts'
import { FrameStream } from '../../network/frames.ts'
import type { KappaNode } from '../../network/node.ts'
import { type DoctorMessage, decodeMessage, encodeMessage, type Report } from './codec.ts'
import { ASK_MS, DOCTOR_PROTOCOL, MESSAGE_BYTES_MAX, QUESTIONS_MAX, REPORT_MS } from './constants.ts'

/** Of one peer: one that is answered, and one of a connection that is dead without anybody knowing yet. */
const STREAMS_MAX = 2

export interface DoctorInit {
  node: KappaNode
  version: string
  /** What this machine tells that one; the times are added. */
  report(to: PeerId): Promise<Omit<Report, 'askedMs' | 'toldMs' | 'version'>>
  /** ms since the epoch. */
  now(): number
}

/** A report, and how far the other clock is ahead of this one. */
export interface Heard {
  report: Report
  skewMs: number
  /** The skew may be so much more or less. */
  withinMs: number
}

export class DoctorService {
  readonly #init: DoctorInit
  #answering = 0

  constructor(init: DoctorInit) {
    this.#init = init
  }

  async start(): Promise<void> {
    const rights = ['own', 'friend'] as const
    await this.#init.node.handle(DOCTOR_PROTOCOL, { rights, maxStreams: STREAMS_MAX }, async (stream, from) => {
      const frames = framed(stream)
      if (this.#answering >= QUESTIONS_MAX) {
        frames.abort(new KappaError('LimitError', 'too many ask at once'))
        return
      }
      this.#answering++
      try {
        await this.#answer(from, frames)
      } catch (error) {
        frames.abort(error as Error)
      } finally {
        this.#answering--
      }
    })
  }

  async #answer(from: PeerId, frames: FrameStream): Promise<void> {
    const { now, version } = this.#init
    await oneOf(frames, 'ask', AbortSignal.timeout(ASK_MS))
    const askedMs = now()
    const report = await this.#init.report(from)
    frames.send(encodeMessage({ type: 'report', ...report, version, askedMs, toldMs: now() }))
    await frames.close(AbortSignal.timeout(ASK_MS))
  }

  /** Throws NetworkError when it doesn't speak this protocol, ProtocolError for what makes no sense, or the signal's reason. */
  async ask(connection: Connection, signal: AbortSignal): Promise<Heard> {
    const { node, now, version } = this.#init
    const whole = AbortSignal.any([signal, AbortSignal.timeout(REPORT_MS)])
    const frames = framed(await node.openStream(connection, DOCTOR_PROTOCOL, whole))
    try {
      const sent = now()
      frames.send(encodeMessage({ type: 'ask', version }))
      const { type: _, ...report } = await oneOf(frames, 'report', whole)
      const heard = now()
      // As NTP reckons it: what the other side took between its two times is no way.
      const skewMs = (report.askedMs - sent + (report.toldMs - heard)) / 2
      const withinMs = Math.max(0, heard - sent - (report.toldMs - report.askedMs)) / 2
      return { report, skewMs, withinMs }
    } finally {
      frames.abort(new KappaError('NetworkError', 'all is said'))
    }
  }
}

async function oneOf<T extends DoctorMessage['type']>(
  frames: FrameStream,
  type: T,
  signal: AbortSignal
): Promise<Extract<DoctorMessage, { type: T }>> {
  for await (const frame of frames.frames(signal)) {
    const message = decodeMessage(frame)
    if (message.type === type) return message as Extract<DoctorMessage, { type: T }>
    throw new KappaError('ProtocolError', `${message.type} where ${type} belongs`)
  }
  throw new KappaError('NetworkError', 'the other machine did not answer')
}

function framed(stream: ConstructorParameters<typeof FrameStream>[0]): FrameStream {
  return new FrameStream(stream, { maxFrameBytes: MESSAGE_BYTES_MAX })
}
