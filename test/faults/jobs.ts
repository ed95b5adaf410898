/** The jobs of the fault suite: each writes its own log, and what it must read, write and return is known before. */

import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Ended, TestPeer } from '../end-to-end/peers.ts'
import { gather } from '../end-to-end/peers.ts'
import type { JobPlan } from './plan.ts'

/** Where jobs write, on each host: jobs of own machines reach what listens on its loopback, and no fault does. */
export const LOG_PORT = 9_999

/** `begin` before anything else, `end` after everything else. */
const SCRIPT = `
id=$1 kind=$2 seconds=$3 code=$4 signal=$5 amount=$6
echo begin "$id" >/dev/tcp/127.0.0.1/${LOG_PORT} || exit 99
case $kind in
  echo) cat ;;
  output) seq "$amount" ;;
  orphans)
    setsid sh -c 'sleep 300; : "$0"' "$id" &
    (nohup sh -c 'sleep 300; : "$0"' "$id" >/dev/null 2>&1 &) ;;
esac
sleep "$seconds"
echo end "$id" >/dev/tcp/127.0.0.1/${LOG_PORT}
if [ "$kind" = signal ]; then kill -"$signal" $$; fi
exit "$code"
`

const SIGNAL_NUMBERS = { TERM: 15, KILL: 9, INT: 2 }
/** stdin comes in pieces, so that faults meet jobs that read. */
const PIECE_BYTES = 8_192
const PIECE_MS = 40

export interface Outcome {
  job: JobPlan
  ended: Ended
  /** ms from the first job of all. */
  fromMs: number
  toMs: number
}

export async function play(home: TestPeer, job: JobPlan, sinceMs: () => number): Promise<Outcome> {
  const { id, kind, lastsMs, code, signal, amount, options } = job
  const fromMs = sinceMs()
  const words = [id, kind, String(lastsMs / 1_000), String(code), signal, String(amount)]
  const child = home.spawn(['run', '--plain', ...options, '--', 'bash', '-c', SCRIPT, 'job', ...words])
  const over = gather(child)
  const killed = job.killedMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), job.killedMs)
  let open = true
  void over.then(() => (open = false))
  const input = kind === 'echo' ? inputOf(job) : Buffer.alloc(0)
  for (let from = 0; open && from < input.length; from += PIECE_BYTES) {
    child.stdin!.write(input.subarray(from, from + PIECE_BYTES))
    await delay(PIECE_MS)
  }
  child.stdin!.end()
  const ended = await over
  clearTimeout(killed)
  return { job, ended, fromMs, toMs: sinceMs() }
}

/** Bytes that follow from the job's name. */
function inputOf({ id, amount }: JobPlan): Buffer {
  const pieces: Buffer[] = []
  for (let length = 0, index = 0; length < amount; index++) {
    const piece = createHash('sha512').update(`${id} ${index}`).digest()
    pieces.push(piece)
    length += piece.length
  }
  return Buffer.concat(pieces).subarray(0, amount)
}

function outputOf(job: JobPlan): Buffer {
  if (job.kind === 'echo') return inputOf(job)
  if (job.kind !== 'output') return Buffer.alloc(0)
  return Buffer.from(Array.from({ length: job.amount }, (_, index) => `${index + 1}\n`).join(''))
}

/** What its client is told when it ended of itself: that status, or death by that signal. */
function isItsOwnEnd({ kind, code, signal }: JobPlan, ended: Ended): boolean {
  if (kind !== 'signal') return ended.code === code && ended.signal === null
  return ended.signal === `SIG${signal}` || ended.code === 128 + SIGNAL_NUMBERS[signal]
}

export interface Excuses {
  /** Its target was stopped in order, or its owner wanted it ended: TERM and KILL are true ends of the job then. */
  ended: boolean
  /** Home and target could not hear each other for about a lease. */
  silent: boolean
}

/** Nothing, or what is wrong with that outcome, given how often the job began and reached its end by its own log. */
export function complaint(
  { job, ended }: Outcome,
  began: number,
  finished: number,
  excuses: Excuses
): string | undefined {
  if (began > 1) return `ran ${began} times`
  const expected = outputOf(job)
  if (!expected.subarray(0, ended.bytes.length).equals(ended.bytes)) return 'wrong bytes'
  if (job.killedMs !== undefined && ended.signal === 'SIGKILL') return undefined
  if (ended.code === 123) return undefined
  if (ended.code === 125) return began === 0 ? undefined : 'is said not to have run'
  const killed = ['SIGTERM', 'SIGKILL'].includes(ended.signal ?? '') || [143, 137].includes(ended.code ?? 0)
  const silent = excuses.silent && /home was silent for too long/.test(ended.stderr)
  const own = isItsOwnEnd(job, ended)
  // One that would have sent itself the same signal may have met another's first.
  if (killed && (excuses.ended || silent) && !(own && finished === 1)) return undefined
  if (!own) return `ended with ${ended.code ?? ended.signal}`
  if (began !== 1) return `has an end and began ${began} times`
  if (finished !== 1) return `has an end of its own that it didn't reach`
  return ended.bytes.length === expected.length ? undefined : `lacks ${expected.length - ended.bytes.length} bytes`
}
