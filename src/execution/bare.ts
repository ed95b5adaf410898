/**
 * A seat without a sandbox, for owners who set `guests.unsandboxed`: the job is a session of its own, at the lowest
 * priority, in a directory of its own. It sees all that the daemon's user sees (a root daemon still drops its uid).
 * At its end every process of its session, in its directory or at its streams is killed; one that left all three
 * escapes. When the daemon is killed, only the command itself dies with it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { KappaError, messageOf } from '../errors.ts'
import { lowerAutogroup } from './autogroup.ts'
import { type GuestPriority, guestPrelude } from './guest-group.ts'
import { Place } from './place.ts'
import { childrenOf, coverInherited, holdersOf, linkOf, membersOf, peakBytesOf, readStat, send } from './process.ts'
import { installProgram } from './programs.ts'
import { removeTree } from './removal.ts'
import type { Seat, SeatEnd } from './seat.ts'
import { ALL_PIPES, PIPES, Status, waiter as waiterProgram, waitScript } from './status.ts'
import { streamsOf } from './streams.ts'
import { type Terminal, TerminalPipes } from './terminal.ts'
import { type Tools, targetPath } from './tools.ts'

export interface BareInit extends GuestPriority {
  scratchDirectory: string
  uid: number
  gid: number
}

/** Rounds of looking for members of the session that were born meanwhile; a fork storm needs a few. */
const KILL_ROUNDS_MAX = 100

export class BareSeat implements Seat {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly directory: string
  readonly inside: string
  readonly terminalProgram: string
  readonly held: string
  readonly tools: Tools
  readonly ended: Promise<SeatEnd>
  readonly #status: Status
  readonly #base: string
  readonly #place: Place
  readonly #nice: number
  readonly #leader: number
  readonly #pipes: readonly string[]
  readonly #waiter: ChildProcess
  #terminal: TerminalPipes | undefined
  #over = false

  private constructor(
    base: string,
    place: Place,
    { tools, nice }: GuestPriority,
    waiter: ChildProcess,
    status: Status
  ) {
    this.#status = status
    this.#base = base
    this.#nice = nice
    this.#waiter = waiter
    const leader = childrenOf(waiter.pid!)[0]
    if (leader === undefined) throw new Error('it ended at once')
    this.#leader = leader
    this.#pipes = ALL_PIPES.map((fd) => linkOf(leader, fd))
    this.tools = tools
    this.directory = `${base}/home`
    this.inside = this.directory
    this.terminalProgram = `${base}/terminal`
    this.#place = place
    this.held = place.home
    const { stdin, stdout, stderr } = streamsOf(leader, PIPES)
    this.stdin = stdin
    this.stdout = stdout
    this.stderr = stderr
    this.ended = status.ended.then((end) => {
      this.#over = true
      this.#kill()
      return end
    })
  }

  /** A seat that is ready for its job. Throws SandboxError. */
  static async make(init: BareInit): Promise<BareSeat> {
    const { scratchDirectory, uid, gid } = init
    const base = `${scratchDirectory}/${randomBytes(8).toString('hex')}`
    let place: Place | undefined
    try {
      checkReach(scratchDirectory)
      place = Place.make({ path: base, directories: ['home'], links: {}, uid, gid })
      const { waiter, status } = spawnWaiter(init, base)
      await status.ready
      return new BareSeat(base, place, init, waiter, status)
    } catch (error) {
      place?.close()
      await removeTree(base)
      throw new KappaError('SandboxError', `a job's place could not be made: ${messageOf(error)}`, { cause: error })
    }
  }

  openTerminal(onStopped: (signal: number) => void): Terminal {
    installProgram('terminal', this.terminalProgram)
    this.#status.onStopped = onStopped
    this.#terminal = new TerminalPipes(this.#leader)
    return this.#terminal
  }

  begin(script: Buffer): void {
    writeFileSync(`${this.#base}/s.j`, script, { flag: 'wx', mode: 0o644 })
    this.stdin.write('go\n')
  }

  signal(signal: number): boolean {
    if (this.#over || readStat(this.#leader)?.parent !== this.#waiter.pid) return false
    return this.#terminal?.signal(signal) ?? send(-this.#leader, signal)
  }

  lower(): boolean {
    return this.#over || lowerAutogroup(`/proc/${this.#leader}`, this.#nice)
  }

  peakBytes(): number {
    return this.#over ? 0 : peakBytesOf(this.#leader)
  }

  processes(): string[] {
    return this.#over ? [] : membersOf(this.#leader).map((pid) => `/proc/${pid}`)
  }

  get files(): Seat['files'] {
    return { disk: this.#place.top, memory: undefined }
  }

  kill(): void {
    if (this.#over) return
    this.#waiter.kill('SIGKILL')
    send(this.#leader, 9)
    this.#kill()
  }

  async dispose(): Promise<void> {
    this.kill()
    this.stdin.destroy()
    await this.ended
    this.stdout.destroy()
    this.stderr.destroy()
    this.#terminal?.close()
    this.#place.close()
    await removeTree(this.#base)
  }

  /**
   * The session's members (its number can't be given away while one lives), and who left it but still works in the
   * job's directory or holds its streams: else these would never end.
   */
  #kill(): void {
    const killed = new Set<number>()
    for (let round = 0; round < KILL_ROUNDS_MAX; round++) {
      const found = [...membersOf(this.#leader), ...holdersOf(this.#base, this.#pipes)]
      const born = found.filter((pid) => !killed.has(pid))
      if (born.length === 0) return
      for (const pid of born) {
        killed.add(pid)
        send(pid, 9)
      }
    }
  }
}

/** A root daemon's guests are another user; without a mount namespace they need a way to their directory. */
function checkReach(directory: string): void {
  if (process.getuid?.() !== 0) return
  for (let path = directory; path !== '/'; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) throw new Error(`guests can't pass through: chmod o+x ${path}`)
  }
}

function spawnWaiter(init: BareInit, base: string) {
  const { uid, gid, tools } = init
  const prelude = guestPrelude(init)
  const root = process.getuid?.() === 0
  const drop = root ? [tools.setpriv, `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'] : []
  // The death of the daemon is the waiter's, and that is the leader's, whatever it becomes.
  const mortal = [tools.setpriv, '--pdeathsig', 'KILL']
  const waiter = spawn(tools.sh, [...prelude, ...drop, ...mortal, tools.awk, waiterProgram(mortal.join(' '))], {
    stdio: ['ignore', 'pipe', 'pipe', ...coverInherited()],
    detached: true,
    cwd: base,
    env: { PATH: targetPath, LC_ALL: 'C', WAIT: waitScript('./s.j') }
  })
  const status = new Status(waiter.stdout!)
  waiter.once('error', (error) => waiter.stdout!.destroy(error))
  waiter.stderr!.setEncoding('latin1').on('data', (text: string) => status.complain(text))
  return { waiter, status }
}
