/**
 * The terminal that `kappa top` draws on. It is raw, on its other screen and without a cursor only between `enter` and
 * `leave`; nothing is touched while another program has the foreground.
 */

import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { ReadStream, WriteStream } from 'node:tty'
import { widthOf } from '../cells.ts'
import { unstyled } from '../output.ts'
import { isTerminal } from '../pipe.ts'
import { inForeground } from '../run-local.ts'

/** The other screen, without a cursor; lines are cut at the edge; what is pasted is marked as such. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?2004h'
/** Terminals without another screen keep the last frame, with the cursor below it. */
const LEAVE = '\x1b[0m\x1b[?2004l\x1b[?7h\x1b[?25h'
const MAIN_SCREEN = '\x1b[?1049l'

const STDIN = 0
const STDOUT = 1
/** ms after which a terminal that was full is tried again. */
const FULL_MS = 20
/** ms that it has for what gives it back. */
const LEAVE_MS = 1_000

export interface ScreenListener {
  onBytes(bytes: Buffer): void
  /** It hung up, or can't be read or written any more. */
  onGone(): void
  /** Its size may have changed. */
  onSize(): void
}

export class Screen {
  #listener: ScreenListener | undefined
  readonly #keys: ReadStream
  readonly #display: WriteStream
  /** Opened anew, so that a terminal that takes nothing more holds up nobody. */
  readonly #out: number
  #entered = false
  /** What it shows, line by line; undefined: not known. */
  #shown: string[] | undefined
  /** Not yet taken; the rest of one frame at most. */
  #waiting: Buffer = Buffer.alloc(0)
  #next: string[] | undefined
  #timer: NodeJS.Timeout | undefined

  private constructor(keys: number) {
    this.#keys = new ReadStream(keys)
    this.#keys.on('data', (bytes) => this.#listener?.onBytes(bytes as unknown as Buffer))
    this.#keys.on('end', () => this.#listener?.onGone()).on('error', () => this.#listener?.onGone())
    this.#keys.pause()
    this.#out = openedAnew(STDOUT, constants.O_WRONLY) ?? STDOUT
    this.#display = new WriteStream(STDOUT)
    this.#display.on('error', () => undefined)
    process.on('SIGWINCH', () => this.#listener?.onSize())
    process.once('exit', () => this.leave())
  }

  /** Undefined where there is no terminal that could be drawn on. */
  static open(): Screen | undefined {
    if (!canDraw()) return undefined
    const keys = isTerminal(STDIN) ? STDIN : openTerminal()
    return keys === undefined ? undefined : new Screen(keys)
  }

  listen(listener: ScreenListener): void {
    this.#listener = listener
  }

  get entered(): boolean {
    return this.#entered
  }

  /** Lines and columns; what terminals without a size of their own are taken for is 24 and 80. */
  size(): { rows: number; columns: number } {
    // What Node does by itself for `process.stdout` alone.
    const display = this.#display as WriteStream & { _refreshSize(): void }
    display._refreshSize()
    const [columns, rows] = display.getWindowSize()
    return { rows: rows || 24, columns: columns || 80 }
  }

  /** Takes the terminal, if this process has the foreground; false: it hasn't. */
  enter(): boolean {
    if (!inForeground()) return false
    // It may have been set otherwise by whoever had it meanwhile.
    this.#keys.setRawMode(false)
    this.#keys.setRawMode(true)
    this.#keys.resume()
    this.#entered = true
    this.#shown = undefined
    this.#waiting = Buffer.from(ENTER)
    this.#flush()
    return true
  }

  /** Gives it back as it was. */
  leave(): void {
    if (!this.#entered) return
    this.#entered = false
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#next = undefined
    const below = `\x1b[${this.size().rows};1H\n`
    let last = this.#write(Buffer.concat([this.#waiting, Buffer.from(`${LEAVE}${below}${MAIN_SCREEN}`)]))
    this.#waiting = Buffer.alloc(0)
    // It is the last that is said: a slow terminal is given some time for it.
    for (let waitedMs = 0; last.length > 0 && waitedMs < LEAVE_MS; waitedMs += FULL_MS) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_MS)
      last = this.#write(last)
    }
    if (inForeground()) this.#keys.setRawMode(false)
  }

  /** As `leave`, for good: what is typed from now on is somebody else's. */
  close(): void {
    this.leave()
    this.#keys.destroy()
  }

  /** It shows something else than was drawn: the next frame is drawn whole. */
  forget(): void {
    this.#shown = undefined
  }

  /** Shows a frame: as many lines as the terminal has. A slow terminal gets only the newest. */
  draw(lines: string[]): void {
    if (!this.#entered) return
    this.#next = lines
    if (this.#waiting.length === 0) this.#drawNext()
  }

  /** Only what has changed is sent. */
  #drawNext(): void {
    const lines = this.#next
    this.#next = undefined
    if (lines === undefined) return
    const before = this.#shown
    const { columns } = this.size()
    // Behind the last column the cursor stays on it: what is erased from there is the last character.
    const rest = (line: string) => (widthOf(unstyled(line)) < columns ? '\x1b[K' : '')
    const changed = lines.flatMap((line, index) =>
      before?.[index] === line ? [] : [`\x1b[${index + 1};1H${line}${rest(line)}`]
    )
    this.#shown = lines
    if (changed.length === 0) return
    this.#waiting = Buffer.from((before === undefined ? '\x1b[2J' : '') + changed.join(''))
    this.#flush()
  }

  #flush(): void {
    this.#waiting = this.#write(this.#waiting)
    if (this.#waiting.length === 0) this.#drawNext()
    else
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        this.#flush()
      }, FULL_MS)
  }

  /** What it takes at once; the rest. */
  #write(bytes: Buffer): Buffer {
    let rest = bytes
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(this.#out, rest))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return rest
        this.#listener?.onGone()
        return Buffer.alloc(0)
      }
    }
    return rest
  }
}

/** Whether stdout is a terminal that understands where a line belongs. */
function canDraw(): boolean {
  const { TERM } = process.env
  return isTerminal(STDOUT) && TERM !== undefined && TERM !== '' && TERM !== 'dumb'
}

function openTerminal(): number | undefined {
  try {
    const terminal = openSync('/dev/tty', constants.O_RDWR | constants.O_NOCTTY)
    if (isTerminal(terminal)) return terminal
    closeSync(terminal)
  } catch {
    // There is none.
  }
  return undefined
}

/** Undefined where it may not be opened: the terminal of another user, after su(1). */
function openedAnew(number: number, access: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${number}`, access | constants.O_NOCTTY | constants.O_NONBLOCK)
  } catch {
    return undefined
  }
}
