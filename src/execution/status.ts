/** The words of a seat that waits for its job, runs it and tells its end. */

import type { Readable } from 'node:stream'
import { type SeatEnd, signalName } from './seat.ts'
import { TERMINAL_PIPES } from './terminal.ts'

/** Characters of what a seat says that are kept to explain a failure. */
const SAID_MAX = 4096

/** ms for a seat to become ready; guests have the lowest priority, so a busy machine may take its time. */
const READY_DEADLINE = 30_000

/**
 * The awk program around a job, which runs the leader's command and tells its end: `system()` is the one thing on every
 * Linux that tells `exit 143` from death by TERM. The leader has a session of its own, so that group and autogroup are
 * the job's alone; WAIT in the environment is its script. `before` may be a prefix for its command.
 */
export function waiter(before = ''): string {
  return `BEGIN { r = system("exec ${before} setsid sh -c \\"$WAIT\\""); ${CPU_TIME}; print "end", r }`
}

/** Prints the CPU time, in ticks, of all that the job has waited for: fields 16 and 17 of stat. The name before may hold anything. */
const CPU_TIME =
  'if ((getline s < "/proc/self/stat") > 0) { sub(/^.*[)] /, "", s); split(s, f, " "); print "cpu", f[14] + f[15] }'

/** ms of the ticks that /proc counts in, on every Linux of the architectures that kappa runs on. */
const TICK_MS = 10

/** Where the waiting leader has its pipes; 1 and 2 themselves change for a moment while it says that it is ready. */
export const PIPES = { stdin: 0, stdout: 5, stderr: 6 } as const

const MADE = [...Object.values(PIPES), ...Object.values(TERMINAL_PIPES)]

/** All pipes that the leader makes, as it has them. */
export const ALL_PIPES: readonly number[] = MADE

/**
 * What the leader of a job to be runs: it makes anonymous pipes of here-documents, says that it is ready, waits for the
 * word on its stdin and goes on with the job's own script. Pipes, because a FIFO that lost its other side blocks
 * whoever opens /dev/stdin or /dev/stdout. Until the word comes it holds the other sides too; but those of a terminal,
 * which the job's script closes or becomes a terminal with. On 3 it has what was its stdout.
 */
export function waitScript(script: string): string {
  return `exec 3>&1${MADE.map((fd) => ` ${fd}<<E`).join('')}
${MADE.map(() => 'x\nE').join('\n')}
${MADE.map((fd) => `read -r x <&${fd}`).join('; ')}
[ -p /proc/self/fd/0 ] || { echo 'this sh keeps here-documents in files: install dash, or bash 5.1 or later'; exit 1; }
exec 4>/proc/self/fd/0 1>/proc/self/fd/${PIPES.stdout} 2>/proc/self/fd/${PIPES.stderr}
exec ${TERMINAL_PIPES.screen}>/proc/self/fd/${TERMINAL_PIPES.screen}
echo ready >&3
read -r x && exec 4>&- ${PIPES.stdout}<&- ${PIPES.stderr}<&- && . ${script}`
}

/** Kernel's signals are numbered up to this. */
const SIGNAL_MAX = 64

/**
 * `r` of awk's `system()`: an exit status, 256 + signal, or 512 + signal with a core dump. A job can speak in the name of
 * its PID 1: what can't be an end counts as none.
 */
function endOf(result: number): SeatEnd {
  if (result < 256) return { exitCode: result, signal: null }
  const signal = result % 256
  const known = result < 768 && signal > 0 && signal <= SIGNAL_MAX
  return { exitCode: null, signal: known ? signalName(signal) : 'SIGKILL' }
}

/** On a line of its own: tools may have warned before. */
const READY = /^ready\n/m

/** Of a job on a terminal, each time. */
const STOPPED = /^stopped (\d+)\n/gm

/** What a seat says: `ready`, why the command can't start, `stopped N`, `cpu TICKS`, `end N`, or a tool's complaint. */
export class Status {
  readonly ready: Promise<void>
  readonly ended: Promise<SeatEnd>
  /** The command, which has a terminal, was stopped by this signal. */
  onStopped: (signal: number) => void = () => undefined
  readonly #reader: Readable
  #said = ''

  constructor(reader: Readable) {
    this.#reader = reader
    const ready = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<SeatEnd>()
    this.ready = ready.promise
    this.ended = ended.promise
    const late = setTimeout(() => {
      ready.reject(new Error(`not ready after ${READY_DEADLINE / 1000} s`))
      reader.destroy()
    }, READY_DEADLINE)
    const settle = () => {
      clearTimeout(late)
      ready.resolve()
    }
    reader.setEncoding('latin1')
    reader.on('data', (text: string) => {
      this.complain(text)
      if (READY.test(this.#said)) settle()
      this.#said = this.#said.replaceAll(STOPPED, (_, number: string) => {
        this.onStopped(Number(number))
        return ''
      })
    })
    reader.on('error', () => {})
    reader.on('close', () => {
      if (!READY.test(this.#said)) ready.reject(new Error(this.#said.trim() || 'it ended at once'))
      clearTimeout(late)
      ended.resolve(this.#end())
    })
  }

  /** Stops listening: the seat is not wanted any more. */
  giveUp(): void {
    this.#reader.destroy()
  }

  /** What a tool said elsewhere, to explain why a seat did not become ready. */
  complain(text: string): void {
    if (this.#said.length < SAID_MAX) this.#said += text.slice(0, SAID_MAX - this.#said.length)
  }

  #end(): SeatEnd {
    const result = /^end (\d+)$/m.exec(this.#said)?.[1]
    const [, failure, why] = /^(notfound|notexecutable|noterminal)(?: (.*))?$/m.exec(this.#said) ?? []
    // Without a word of PID 1 the whole cell was killed: by us, by the owner, for want of memory.
    const end: SeatEnd = result === undefined ? { exitCode: null, signal: 'SIGKILL' } : endOf(Number(result))
    const ticks = /^cpu (\d+)$/m.exec(this.#said)?.[1]
    if (ticks !== undefined) end.cpuMs = Number(ticks) * TICK_MS
    if (why !== undefined) end.why = why
    return failure === undefined ? end : { ...end, failure: failure as NonNullable<SeatEnd['failure']> }
  }
}
