/**
 * A seat without a sandbox, for owners who set `guests.unsandboxed`: the job is a session of its own, at the lowest
 * priority, in a directory of its own. It sees all that the daemon's user sees (a root daemon still drops its uid).
 * At its end every process of its session, in its directory or at its streams is killed; one that left all three escapes.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, closeSync, mkdirSync, unlinkSync, writeFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { promisify } from 'node:util'
import { KappaError, messageOf } from '../errors.ts'
import { childrenOf, coverInherited, holdersOf, membersOf, send } from './process.ts'
import { removeTree } from './removal.ts'
import type { Seat, SeatEnd } from './seat.ts'
import { Status, WAITER } from './status.ts'
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
const WAIT = 'exec 3>&1 <s.0 >s.1 2>s.2; echo ready >&3; read -r go && . ./s.j'

/** Guests die first when memory runs out, and get only what CPU is left over. */
const PRELUDE = 'echo 1000 >/proc/self/oom_score_adj; exec "$@"'

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
  readonly #leader: number
  readonly #waiter: ChildProcess
  #over = false

  private constructor(base: string, tools: Tools, waiter: ChildProcess, status: Status, fds: [number, number, number]) {
    this.#base = base
    this.#waiter = waiter
    this.#leader = childrenOf(waiter.pid!)[0] ?? 0
    this.tools = tools
    this.through = [tools.setsid, '--']
    this.directory = `${base}/home`
    this.inside = this.directory
    this.stdin = writerOf(fds[0])
    this.stdout = readerOf(fds[1])
    this.stderr = readerOf(fds[2])
    this.ended = status.ended.then((end) => {
      this.#over = true
      this.#kill()
      return end
    })
  }

  /** A seat that is ready for its job. Throws SandboxError. */
  static async make({ scratchDirectory, uid, gid, tools }: BareInit): Promise<BareSeat> {
    const base = `${scratchDirectory}/${randomBytes(8).toString('hex')}`
    const root = process.getuid?.() === 0
    const fds: number[] = []
    const fifos = ['0', '1', '2'].map((suffix) => `${base}/s.${suffix}`)
    try {
      for (const directory of [base, `${base}/home`]) {
        mkdirSync(directory, { mode: 0o700 })
        if (root) chownSync(directory, uid, gid)
      }
      await promisify(execFile)(tools.mkfifo, ['-m', '600', ...fifos])
      if (root) for (const fifo of fifos) chownSync(fifo, uid, gid)
      fds.push(openBoth(fifos[0]!), openReader(fifos[1]!), openReader(fifos[2]!))
      const { waiter, status } = spawnWaiter({ uid, gid, tools, base })
      await status.ready
      const stdin = openWriter(fifos[0]!)
      closeSync(fds[0]!)
      for (const fifo of fifos) unlinkSync(fifo)
      return new BareSeat(base, tools, waiter, status, [stdin, fds[1]!, fds[2]!])
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
    if (this.#over || this.#leader === 0) return false
    return send(-this.#leader, signal) || send(this.#leader, signal)
  }

  kill(): void {
    if (this.#over) return
    this.#waiter.kill('SIGKILL')
    if (this.#leader !== 0) send(this.#leader, 9)
    this.#kill()
  }

  async dispose(): Promise<void> {
    this.kill()
    this.stdin.destroy()
    await this.ended
    this.stdout.destroy()
    this.stderr.destroy()
    await removeTree(this.#base)
  }

  /**
   * The session's members (its number can't be given away while one lives), and who left it but still works in the
   * job's directory or holds its streams: else these would never end.
   */
  #kill(): void {
    for (let round = 0; round < KILL_ROUNDS_MAX; round++) {
      const members = this.#leader === 0 ? [] : membersOf(this.#leader)
      const rest = new Set([...members, ...holdersOf(this.#base)])
      if ([...rest].filter((pid) => send(pid, 9)).length === 0) return
    }
  }
}

function spawnWaiter({ uid, gid, tools, base }: Omit<BareInit, 'scratchDirectory'> & { base: string }) {
  const priority = [tools.nice, '-n', '19', tools.chrt, '--idle', '0']
  const waiter = spawn(tools.sh, ['-c', PRELUDE, 'kappa', ...priority, tools.awk, WAITER, WAIT], {
    stdio: ['ignore', 'pipe', 'pipe', ...coverInherited()],
    detached: true,
    cwd: base,
    env: { PATH: targetPath, LC_ALL: 'C' },
    ...(process.getuid?.() === 0 ? { uid, gid } : {})
  })
  const status = new Status(waiter.stdout!)
  waiter.once('error', (error) => waiter.stdout!.destroy(error))
  waiter.stderr!.setEncoding('latin1').on('data', (text: string) => status.complain(text))
  return { waiter, status }
}
