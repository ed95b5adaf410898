/**
 * A seat without a sandbox, for owners who set `guests.unsandboxed`: the job is a session of its own, at the lowest
 * priority, in a directory of its own. It sees all that the daemon's user sees (a root daemon still drops its uid).
 * At its end every process of its session is killed; one that made a session of its own escapes.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, closeSync, mkdirSync, unlinkSync, writeFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { promisify } from 'node:util'
import { KappaError, messageOf } from '../errors.ts'
import { coverInherited, membersOf, send } from './process.ts'
import { removeTree } from './removal.ts'
import type { Seat, SeatEnd } from './seat.ts'
import { openBoth, openReader, openWriter, readerOf, writerOf } from './streams.ts'
import { type Tools, targetPath } from './tools.ts'

export interface BareInit {
  scratchDirectory: string
  uid: number
  gid: number
  tools: Tools
}

/** Rounds of looking for members of the session that were born meanwhile; a fork storm needs a few. */
const KILL_ROUNDS_MAX = 100

/** As in a cell: opens the streams, says so on the old stdout, waits for the word. */
const WAIT =
  'echo 1000 >/proc/self/oom_score_adj; exec 3>&1 <"$1.0" >"$1.1" 2>"$1.2"; echo ready >&3; read -r go && . "$1.j"'

export class BareSeat implements Seat {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly directory: string
  readonly inside: string
  readonly tools: Tools
  readonly through: readonly string[]
  readonly ended: Promise<SeatEnd>
  readonly #base: string
  readonly #process: ChildProcess
  #over = false

  private constructor(base: string, tools: Tools, process: ChildProcess, fds: [number, number, number]) {
    this.#base = base
    this.#process = process
    this.tools = tools
    this.through = [tools.nice, '-n', '19', '--']
    this.directory = `${base}/home`
    this.inside = this.directory
    this.stdin = writerOf(fds[0])
    this.stdout = readerOf(fds[1])
    this.stderr = readerOf(fds[2])
    const ended = Promise.withResolvers<SeatEnd>()
    this.ended = ended.promise
    let failure: SeatEnd['failure']
    process.stdout!.on('data', (text: string) => {
      failure ??= /^(notfound|notexecutable)$/m.exec(text)?.[1] as SeatEnd['failure']
    })
    process.once('close', (exitCode, signal) => {
      this.#over = true
      this.#killSession()
      ended.resolve(failure === undefined ? { exitCode, signal } : { exitCode, signal, failure })
    })
  }

  /** A seat that is ready for its job. Throws SandboxError. */
  static async make({ scratchDirectory, uid, gid, tools }: BareInit): Promise<BareSeat> {
    const base = `${scratchDirectory}/${randomBytes(8).toString('hex')}`
    const root = process.getuid?.() === 0
    const fds: number[] = []
    try {
      for (const directory of [base, `${base}/home`]) {
        mkdirSync(directory, { mode: 0o700 })
        if (root) chownSync(directory, uid, gid)
      }
      const fifos = ['0', '1', '2'].map((suffix) => `${base}/s.${suffix}`)
      await promisify(execFile)(tools.mkfifo, ['-m', '600', ...fifos])
      if (root) for (const fifo of fifos) chownSync(fifo, uid, gid)
      fds.push(openBoth(fifos[0]!), openReader(fifos[1]!), openReader(fifos[2]!))
      const child = spawn(tools.chrt, ['--idle', '0', tools.sh, '-c', WAIT, 'kappa', `${base}/s`], {
        stdio: ['ignore', 'pipe', 'pipe', ...coverInherited()],
        detached: true,
        cwd: '/',
        env: { PATH: targetPath },
        ...(root ? { uid, gid } : {})
      })
      await untilReady(child)
      const stdin = openWriter(fifos[0]!)
      closeSync(fds[0]!)
      for (const fifo of fifos) unlinkSync(fifo)
      return new BareSeat(base, tools, child, [stdin, fds[1]!, fds[2]!])
    } catch (error) {
      for (const fd of fds) closeSync(fd)
      await removeTree(base)
      throw new KappaError('SandboxError', `a job's place could not be made: ${messageOf(error)}`, { cause: error })
    }
  }

  begin(script: Buffer): void {
    writeFileSync(`${this.#base}/s.j`, script, { flag: 'wx', mode: 0o644 })
    this.stdin.write('go\n')
  }

  signal(signal: number): boolean {
    return !this.#over && send(-this.#process.pid!, signal)
  }

  kill(): void {
    if (!this.#over) this.#killSession()
  }

  async dispose(): Promise<void> {
    this.kill()
    this.stdin.destroy()
    await this.ended
    this.stdout.destroy()
    this.stderr.destroy()
    await removeTree(this.#base)
  }

  /** The leader's number can't be given to another process while any member of its session lives. */
  #killSession(): void {
    for (let round = 0; round < KILL_ROUNDS_MAX; round++) {
      const members = membersOf(this.#process.pid!)
      if (members.filter((pid) => send(pid, 9)).length === 0) return
    }
  }
}

/** Resolves when the child has said so; rejects when it ended instead, with what it said. */
async function untilReady(child: ChildProcess): Promise<void> {
  const ready = Promise.withResolvers<void>()
  let said = ''
  child.stderr!.setEncoding('latin1').on('data', (text: string) => {
    if (said.length < 4096) said += text
  })
  child.once('error', (error) => ready.reject(error))
  child.once('exit', () => ready.reject(new Error(said.trim() || 'it ended at once')))
  child.stdout!.setEncoding('latin1').once('data', () => ready.resolve())
  await ready.promise
}
