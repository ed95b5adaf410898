/** The messages of the exec protocol that are not data: CBOR, bounded and checked. */

import { decode, encode } from 'cborg'
import { z } from 'zod'
import type { JobEnd, JobUsage } from '../../core/types.ts'
import { KappaError } from '../../errors.ts'
import { LEASE_MS, LEASE_MS_MAX } from './constants.ts'
import { FRAME, frameHeader } from './frames.ts'

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array)
const ticket = z.string().regex(/^[0-9a-f]{32}$/)
const epoch = z.int().min(0)
const offset = z
  .int()
  .min(0)
  .max(2 ** 48 - 1)
/** Longest phrase for a person. */
const WORDS_LENGTH_MAX = 1_024
const words = z.string().max(WORDS_LENGTH_MAX)

/** 100 years: more than any clock, and any sum over the cores of a machine, comes to. */
const TIME_MS_MAX = 36_500 * 86_400_000
const time = z.number().min(0).max(TIME_MS_MAX)
/** 1 PiB: more than any machine has. */
const MEMORY_BYTES_MAX = 2 ** 50
const memory = z.number().min(0).max(MEMORY_BYTES_MAX)

const end = z.object({
  exitCode: z.int().min(0).max(255).nullable(),
  signal: z.string().max(16).nullable(),
  error: z.object({ name: z.string().max(64), message: words }).optional(),
  usage: z.object({ wallMs: time, cpuMs: time.optional(), peakBytes: memory.optional() }).optional()
})

const lines = z.int().min(0).max(65_535)

/** Descriptors of the job that are the terminal: bit n for descriptor n. */
export const terminal = z.object({
  descriptors: z.int().min(1).max(7),
  rows: lines,
  columns: lines,
  /** Input, output and local flags of termios on Linux, then control characters; empty: those of a new terminal. */
  modes: z
    .array(
      z
        .int()
        .min(0)
        .max(2 ** 32 - 1)
    )
    .max(32)
})

/** ms that a job may run. */
export const timeoutMs = time
/** ms that a target keeps a job without a word of home. */
export const leaseMs = z.number().min(LEASE_MS).max(LEASE_MS_MAX)

/** Target → home, first on every stream. */
const hello = z.object({
  epoch,
  /** Jobs can have one here. */
  terminals: z.boolean().exactOptional(),
  /** It understands `hold`. */
  holds: z.boolean().exactOptional(),
  /** It keeps to `timeoutMs` and `leaseMs` of a start message. */
  times: z.boolean().exactOptional(),
  /** Jobs can be detached here. */
  detached: z.boolean().exactOptional()
})

const start = z.object({
  ticket,
  /** Home's own id of the job, shown there as KAPPA_JOB. */
  job: z.string().max(64),
  argv: z.array(bytes).min(1).max(262_144),
  env: z.array(bytes).max(65_536),
  umask: z.int().min(0).max(0o777),
  nice: z.int().min(-20).max(19),
  limits: z.array(z.object({ name: z.string().max(32), soft: z.number().min(-1) })).max(32),
  home: z.string().max(64),
  mode: z.enum(['plain', 'staged', 'files']),
  /** Staged files follow on stream `ins`. */
  ins: z.boolean(),
  outs: z.array(z.string().min(1).max(4_096)).max(4_096),
  outAlways: z.boolean(),
  /** Only where hello told of terminals; absent: it has none. */
  terminal: terminal.exactOptional(),
  /** Only where hello told of times; absent: it may run for ever. */
  timeoutMs: timeoutMs.exactOptional(),
  /** Likewise; absent: LEASE_MS. */
  leaseMs: leaseMs.exactOptional(),
  /** Only where hello told of it: it outlives the connection, and has no stdin. */
  detached: z.boolean().exactOptional(),
  /** In files mode: which tree of home it sees, where it begins in it, and the news of it that it must have heard. */
  tree: z
    .object({
      id: z.string().regex(/^[0-9a-f]{32}$/),
      directory: bytes,
      news: z
        .int()
        .min(0)
        .max(2 ** 32 - 1),
      /** Whose programs it runs; absent: home's. */
      programs: z.enum(['target']).exactOptional()
    })
    .exactOptional()
})

const refused = z.object({ epoch, code: z.string().max(32), reason: words })
const resolve = z.object({ ticket })
const resolved = z.object({
  epoch,
  outcome: z.discriminatedUnion('state', [
    z.object({ state: z.literal('running') }),
    z.object({ state: z.literal('ended'), end }),
    z.object({ state: z.literal('void') })
  ])
})
/** Bytes received so far of the streams that flow to the sender of this message; the last is for jobs with a terminal. */
const attach = z.object({ ticket, received: z.array(offset).min(3).max(4) })
const attached = z.object({ received: z.array(offset).min(2).max(3) })
const resize = z.object({ rows: lines, columns: lines })
const stopped = z.object({ number: z.int().min(1).max(64) })
const signal = z.object({ number: z.int().min(1).max(64) })
const unkept = z.object({ bytes: offset, reason: words })

export const SCHEMAS = {
  hello,
  start,
  refused,
  resolve,
  resolved,
  attach,
  attached,
  end,
  signal,
  resize,
  stopped,
  unkept
} as const

type Schemas = typeof SCHEMAS
export type ExecMessage<K extends keyof Schemas> = z.infer<Schemas[K]>

/** Proof that an end on the wire is the core's end. */
export const toJobEnd = (message: ExecMessage<'end'>): JobEnd => ({
  exitCode: message.exitCode,
  signal: message.signal,
  ...(message.error ? { error: message.error } : {}),
  ...(message.usage ? { usage: toUsage(message.usage) } : {})
})

function toUsage({ wallMs, cpuMs, peakBytes }: NonNullable<ExecMessage<'end'>['usage']>): JobUsage {
  return { wallMs, ...(cpuMs === undefined ? {} : { cpuMs }), ...(peakBytes === undefined ? {} : { peakBytes }) }
}

/** An end as home takes it: a message may name a long path, and clocks may be wrong. */
export function bounded({ usage, ...rest }: JobEnd): JobEnd {
  const end = boundedError(rest)
  if (usage === undefined) return end
  const { wallMs, cpuMs = 0, peakBytes = 0 } = usage
  const sound = [wallMs, cpuMs].every((ms) => ms >= 0 && ms <= TIME_MS_MAX)
  return sound && peakBytes >= 0 && peakBytes <= MEMORY_BYTES_MAX ? { ...end, usage } : end
}

function boundedError(end: JobEnd): JobEnd {
  if (end.error === undefined || end.error.message.length <= WORDS_LENGTH_MAX) return end
  const message = `${end.error.message.slice(0, WORDS_LENGTH_MAX - 1)}…`
  return { ...end, error: { ...end.error, message } }
}

/** What a target would find wrong with a start message; `undefined`: nothing. */
export function problemOfStart(message: ExecMessage<'start'>): string | undefined {
  const [issue] = start.safeParse(message).error?.issues ?? []
  return issue && `${issue.path.join('.')}: ${issue.message}`
}

export function encodeMessage<K extends keyof Schemas>(
  kind: K,
  channel: number,
  message: ExecMessage<K>
): Uint8Array[] {
  return [frameHeader(FRAME[kind], channel), encode(message)]
}

/** Throws ProtocolError when the payload isn't a message of that kind. */
export function decodeMessage<K extends keyof Schemas>(kind: K, payload: Uint8Array): ExecMessage<K> {
  try {
    return SCHEMAS[kind].parse(decode(payload)) as ExecMessage<K>
  } catch (cause) {
    throw new KappaError('ProtocolError', `a ${kind} message of the exec protocol is malformed`, { cause })
  }
}
