/**
 * The terminal here: whether the job gets one there, and this one given over to it. It is raw only while this process is
 * in the foreground and no other client has it, and as it was before on every way out but KILL. The reference for
 * native/terminal.c; what Node can't do itself `stty` and `flock` do.
 */

import { spawnSync } from 'node:child_process'
import { constants, fstatSync, openSync, readFileSync } from 'node:fs'
import type { TerminalParams } from '../daemon/control-codec.ts'
import { isTerminal } from './pipe.ts'
import { inForeground } from './run-local.ts'
import { readTerminal, type Source, statOf, terminalState } from './run-streams.ts'

/** Of termios, behind the flags: what Linux has. */
const CONTROL_CHARACTERS = 17

/** For a job that gets a terminal although there is none here. */
const USUAL = { rows: 24, columns: 80 }

/** /dev/tty itself, whichever terminal it leads to: a lock on it would be for all of them. */
const CONTROLLING = 0x500
const NULL_DEVICE = 0x103

/** Signals that would end this process and aren't for the job. */
const DEADLY: NodeJS.Signals[] = ['SIGALRM', 'SIGVTALRM', 'SIGXCPU', 'SIGIO', 'SIGPWR', 'SIGSTKFLT']

/** Exclusive for this open file; exit status 9 says that another client has it. Without `flock` nobody asks. */
const LOCK = 'if command -v flock >/dev/null; then flock -n 0 || exit 9; fi'
const RAW = 'stty raw -echo -echonl -iexten'

export class HomeTerminal {
  /** Of the job, that are its terminal: bit n for descriptor n. */
  readonly descriptors: number
  /** `-t`: all of them, whatever is a terminal here; keys come from stdin, and stdout gets the screen. */
  readonly forced: boolean
  /** The standard stream that it is; undefined when there is none here. */
  readonly number: number | undefined
  readonly #fd: number | undefined
  #told = ''
  /** As `stty -g` says it: what is to be again. */
  #before: string | undefined
  #raw = false

  private constructor(descriptors: number, forced: boolean, number: number | undefined) {
    this.descriptors = descriptors
    this.forced = forced
    this.number = number
    if (number === undefined) return
    // Opened anew: the lock on it is this process's alone.
    this.#fd = openedAnew(number, constants.O_RDWR)
    process.once('exit', () => this.release())
    for (const signal of DEADLY) {
      process.once(signal, () => {
        this.release()
        process.kill(process.pid, signal)
      })
    }
    terminalState.release = () => this.release()
  }

  /** Undefined: the job gets none. */
  static find(force: boolean): HomeTerminal | undefined {
    if (!force && isShared()) return undefined
    const own = [0, 1, 2].filter(isOwn)
    if (force) return new HomeTerminal(7, true, own[0] === 0 ? 0 : undefined)
    const descriptors = own.reduce((mask, fd) => mask | (1 << fd), 0)
    return descriptors === 0
      ? undefined
      : new HomeTerminal(descriptors, false, own.find((fd) => fstatSync(fd).rdev !== CONTROLLING) ?? own[0])
  }

  get raw(): boolean {
    return this.#raw
  }

  /** There is one here to be given over. */
  get present(): boolean {
    return this.#fd !== undefined
  }

  /** What is asked of the daemon. */
  params(): TerminalParams {
    const params = { descriptors: this.descriptors, ...USUAL, modes: [] as number[] }
    if (this.#fd === undefined) return params
    const [size = '', modes = ''] = this.#shell('stty size; stty -g').stdout.split('\n')
    Object.assign(params, this.#sizeOf(size))
    // In the background they are another program's.
    if (!inForeground()) return params
    const words = modes.split(':')
    const numbers = words.map((word) => Number.parseInt(word, 16))
    const [input, output, , local, ...characters] = numbers
    if (numbers.length >= 4 + CONTROL_CHARACTERS && numbers.every((number) => number >= 0)) {
      params.modes = [input!, output!, local!, ...characters.slice(0, CONTROL_CHARACTERS)]
    }
    return params
  }

  /** The size, when it has changed since it was told. */
  newSize(): { rows: number; columns: number } | undefined {
    const before = this.#told
    const size = this.#sizeOf(this.#shell('stty size').stdout.trim())
    return this.#told === before ? undefined : size
  }

  /** Gives it over to the job, if this process is in the foreground and no other client has it. */
  hold(): void {
    if (this.#raw || this.#fd === undefined || !inForeground()) return
    const { status, stdout } = this.#shell(`${LOCK}; stty -g; ${RAW}`)
    if (status === 9) return
    this.#before ??= stdout.trim()
    this.#setRaw(true)
  }

  /** After a stop that nobody announced: somebody may have set it otherwise. */
  holdAgain(): void {
    if (!this.#raw) return
    if (inForeground()) this.#shell(RAW)
    else this.lose()
  }

  /** Another group of processes has it now. */
  lose(): void {
    this.#shell('flock -u 0')
    this.#setRaw(false)
  }

  /** As it was before. */
  release(): void {
    if (!this.#raw) return
    if (inForeground()) this.#shell(`stty ${this.#before}`)
    this.#before = undefined
    this.lose()
  }

  /** What is typed, while it is held; `onLost`: nothing more can be read now, in the background, or ever. */
  read(onData: (bytes: Buffer) => void, onLost: () => void): Source {
    return readTerminal(openedAnew(this.number!, constants.O_RDONLY), onData, onLost)
  }

  #setRaw(raw: boolean): void {
    this.#raw = raw
    terminalState.raw = raw
  }

  #sizeOf(text: string): { rows: number; columns: number } {
    const [rows, columns] = text.split(' ').map(Number)
    if (!(rows! >= 0 && columns! >= 0)) return USUAL
    this.#told = text
    return { rows: rows!, columns: columns! }
  }

  #shell(script: string): { status: number | null; stdout: string } {
    return spawnSync('/bin/sh', ['-c', script], { stdio: [this.#fd!, 'pipe', 'ignore'], encoding: 'latin1' })
  }
}

/** From the third field on, behind the name. */
function ownStat(): string[] {
  const stat = readFileSync('/proc/self/stat', 'latin1')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** The controlling terminal of this process; another one is somebody else's. */
function isOwn(fd: number): boolean {
  if (!isTerminal(fd)) return false
  const terminal = Number(ownStat()[4])
  const { rdev } = fstatSync(fd)
  return terminal !== 0 && (rdev === terminal || rdev === CONTROLLING)
}

/**
 * Somebody else uses the terminal meanwhile: who reads what the job writes, such as a pager; whoever said by an empty
 * stdin that nothing will be typed; a make that prints while several jobs run.
 */
function isShared(): boolean {
  const stdin = statOf(0)
  const stdout = statOf(1)
  if (stdout?.isFIFO() || stdout?.isSocket()) return true
  // A stdin that is closed is as empty.
  if (!stdin || (stdin.isCharacterDevice() && stdin.rdev === NULL_DEVICE)) return true
  return process.env.MAKEFLAGS?.includes('jobserver') ?? false
}

function openedAnew(number: number, access: number): number {
  return openSync(`/proc/self/fd/${number}`, access | constants.O_NOCTTY | constants.O_NONBLOCK)
}
