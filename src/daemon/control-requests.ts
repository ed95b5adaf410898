/** What a client may say, checked before anything is done with it. Unknown fields are ignored: clients may be newer. */

import { z } from 'zod'
import { KappaError } from '../errors.ts'
import { leaseMs, terminal, timeoutMs } from '../protocols/exec/codec.ts'
import { PATH_BYTES_MAX } from '../protocols/file/constants.ts'
import { wantedClass } from '../protocols/overlay/codec.ts'
import { MAX_LABEL_LENGTH, MAX_LABELS } from '../protocols/overlay/constants.ts'
import type { RunParams } from './control-codec.ts'

/** Sizes are bounded by the frame that carries them. */
const strings = z.array(z.string())
/** Neighbours take no more and no longer ones in a probe. */
const words = z
  .array(z.string().min(1).max(MAX_LABEL_LENGTH, `at most ${MAX_LABEL_LENGTH} characters`))
  .max(MAX_LABELS, `at most ${MAX_LABELS}`)
/** Paths that one job is shown beside the rest. */
const SHARES_MAX = 64
const kind = z.enum(['own', 'friend'])
const nothing = z.object({})
const signalNumber = z.int().min(1).max(64)

const runOptions = z.object({
  plain: z.boolean().exactOptional(),
  programs: z.enum(['target']).exactOptional(),
  shares: z.array(z.string().min(1).max(PATH_BYTES_MAX)).max(SHARES_MAX).exactOptional(),
  local: z.boolean().exactOptional(),
  remote: z.boolean().exactOptional(),
  wait: z.boolean().exactOptional(),
  wake: z.boolean().exactOptional(),
  on: strings.exactOptional(),
  not: strings.exactOptional(),
  cores: z.number().positive().max(1024).exactOptional(),
  memoryBytes: z.number().min(0).max(Number.MAX_SAFE_INTEGER).exactOptional(),
  tools: words.exactOptional(),
  needs: words.exactOptional(),
  env: strings.exactOptional(),
  noEnv: z.boolean().exactOptional(),
  verbose: z.boolean().exactOptional(),
  shim: z.boolean().exactOptional(),
  avoid: strings.exactOptional(),
  timeoutMs: timeoutMs.exactOptional(),
  leaseMs: leaseMs.exactOptional()
})

const lines = z.int().min(0).max(65_535)

const run: z.ZodType<RunParams> = z.object({
  argv: strings.min(1),
  env: strings,
  cwd: z.string(),
  umask: z.int().min(0).max(0o777),
  nice: z.int().min(-20).max(19),
  limits: z.array(z.object({ name: z.string(), soft: z.number().min(-1) })),
  options: runOptions,
  ins: z.boolean(),
  outs: strings,
  outAlways: z.boolean(),
  detach: z.boolean().exactOptional(),
  programClass: wantedClass.exactOptional(),
  inputBytes: z.number().min(0).exactOptional(),
  terminal: z.boolean(),
  pty: terminal.exactOptional(),
  pid: z.int().min(1)
})

/** Parameters of each command. */
export const PARAMS = {
  run,
  status: nothing,
  version: nothing,
  metrics: nothing,
  ui: nothing,
  figures: z.object({
    span: z.enum(['minutes', 'hours']).exactOptional(),
    /** Values wanted of each kind, the newest. */
    last: z.int().min(1).exactOptional()
  }),
  peers: nothing,
  'peer-set': z.object({ peer: z.string(), kind: kind.exactOptional(), name: z.string().exactOptional() }),
  unpair: z.object({ peer: z.string() }),
  'pair-invite': z.object({ kind }),
  'pair-accept': z.object({ kind, link: z.string() }),
  'pair-wait': z.object({ kind }),
  'pair-join': z.object({ kind, target: z.string() }),
  ps: z.object({ guests: z.boolean().exactOptional() }),
  why: z.object({ job: z.string() }),
  logs: z.object({ job: z.string(), follow: z.boolean().exactOptional() }),
  wait: z.object({ job: z.string() }),
  /** `guest`: one that runs here for another home, which is ended whatever the signal. */
  kill: z.object({ job: z.string(), signal: signalNumber, guest: z.boolean().exactOptional() }),
  pause: z.object({
    forMs: z.number().positive().max(Number.MAX_SAFE_INTEGER).exactOptional(),
    now: z.boolean().exactOptional()
  }),
  resume: nothing,
  nearby: nothing,
  doctor: z.object({ peer: z.string().exactOptional() }),
  reload: nothing,
  leave: z.object({ now: z.boolean().exactOptional() })
} as const

export type Params = { [Command in keyof typeof PARAMS]: z.infer<(typeof PARAMS)[Command]> }

/** What a client tells of a job after its request. */
export const signalFrame = z.object({ number: signalNumber })
export const resizeFrame = z.object({ rows: lines, columns: lines })
/** A client of many jobs tells the process of each that runs here. */
export const localFrame = z.object({ pid: z.int().min(1) })
export const localEndedFrame = z.object({
  exitCode: z.int().nullable(),
  signal: z.string().nullable(),
  /** What the job took; the Node client knows no peak. */
  wallMs: z.number().min(0).exactOptional(),
  cpuMs: z.number().min(0).exactOptional(),
  peakBytes: z.number().min(0).exactOptional(),
  /** It was ended by `--timeout`. */
  timedOut: z.literal(true).exactOptional()
})

/** Throws ProtocolError when the value isn't what the schema says. */
export function checked<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const where = issue?.path.join('.') || 'it'
  throw new KappaError('ProtocolError', `the ${what} of a client is malformed: ${where}: ${issue?.message}`)
}
