/**
 * Holds the root that guests of one home see, in namespaces of its own, and makes cells on demand (setup.ts).
 *
 * Three ways lead to its end, and with it every cell's: its stdin closes, this process dies (the kernel then kills
 * it), it is killed itself. It is PID 1 of a namespace around all cells, so none can outlive it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, closeSync, mkdirSync, statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { KappaError, messageOf } from '../errors.ts'
import { Cell, type CellHome } from './cell.ts'
import { type GuestPriority, guestPrelude } from './guest-group.ts'
import { childrenOf, commandLine, coverInherited, readStat } from './process.ts'
import { installPrograms } from './programs.ts'
import { removeTree } from './removal.ts'
import { setupScript } from './setup.ts'
import { findProgram, type Tools, targetPath } from './tools.ts'
import { openServer, SERVER, TREE_STDIO, type Tree } from './tree.ts'

/** Cells for which FIFOs and directories are made at once. */
const BATCH = 8

/** Characters of complaints that are kept to explain a failure. */
const SAID_MAX = 4096

/** ms for the root to be built. */
const SETUP_DEADLINE = 60_000

/** ms for an answer of the maker. */
const ORDER_DEADLINE = 30_000

/** ms for the mounts of a tree to end. */
const UNMOUNT_DEADLINE = 2_000

/** ms for a cell that was killed to end. */
const KILLED_DEADLINE = 1_000

/** ms between looks at who serves a tree. */
const LOOK = 1_000
/** Looks one after the other at which it may be stopped. */
const STOPPED_MAX = 10

export interface KeeperInit extends GuestPriority {
  /** Existing directory that only this program writes to; the keeper makes and removes one in it. */
  scratchDirectory: string
  uid: number
  gid: number
  network: 'none' | 'machine'
  /** As of SetupOptions; none unless given. */
  paths?: readonly string[]
  devices?: readonly string[]
  /** Home's tree is what its guests see. */
  tree?: Tree
}

/** A root daemon's directories may be out of the guest's reach; in this mount namespace they are not. */
const REACH = 'mount --bind "$1" /tmp && shift && exec "$@"'

/** So may /dev/fuse be, where the distribution's rules have not made it everybody's. */
const REACH_FUSE = `mknod -m 666 "$1/fuse" c 10 229 && mount --bind "$1/fuse" /dev/fuse && ${REACH}`

function reachOf({ tree }: KeeperInit): string {
  return tree !== undefined && ((statSync('/dev/fuse', { throwIfNoEntry: false })?.mode ?? 0o6) & 0o6) !== 0o6
    ? REACH_FUSE
    : REACH
}

function commandOf(init: KeeperInit, base: string): string[] {
  const { tools, uid, gid } = init
  const root = process.getuid?.() === 0
  const drop = root ? [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'] : []
  const reach = root ? [tools.unshare, '-m', tools.sh, '-c', reachOf(init), 'kappa', base] : []
  const network = init.network === 'none' ? ['-n'] : []
  const { tree, paths = [], devices = [] } = init
  const script = setupScript({
    ...{ uid, gid, tools, paths, devices, network: init.network, ip: findProgram('ip') },
    ...(tree && {
      tree: {
        ...{ uid: tree.uid, gid: tree.gid, writable: tree.writable, server: SERVER, daemon: TREE_STDIO.daemon },
        ...(tree.programs && { programs: tree.programs })
      }
    })
  })
  return [
    ...[tools.sh, ...guestPrelude(init), ...reach],
    ...[tools.setpriv, ...drop, '--pdeathsig', 'KILL'],
    ...[tools.unshare, '-U', '-r', '-m', '-p', '-C', ...network, '--fork', '--kill-child'],
    ...[tools.sh, '-c', script, 'kappa', root ? '/tmp' : base]
  ]
}

/**
 * Jobs of a home don't see each other's names: nobody can list these directories but root, and names are random.
 * (Jobs of one home have one uid; where the daemon is not root, a hostile one could give itself the right back.)
 */
function makeBase(base: string, { uid, gid }: KeeperInit): void {
  const root = process.getuid?.() === 0
  for (const [directory, mode] of [
    [base, 0o700],
    [`${base}/root`, 0o700],
    [`${base}/k`, 0o300]
  ] as const) {
    mkdirSync(directory, { mode })
    if (root) chownSync(directory, uid, gid)
  }
  mkdirSync(`${base}/work`, { mode: root ? 0o711 : 0o300 })
  installPrograms(`${base}/k`)
}

export class Keeper implements CellHome {
  readonly base: string
  readonly uid: number
  readonly gid: number
  readonly tools: Tools
  readonly nice: number
  readonly hasTree: boolean
  readonly path: string | undefined
  maker = 0
  /** Resolves when it has ended, whoever ended it. */
  readonly ended: Promise<void>
  readonly #process: ChildProcess
  readonly #tree: Tree | undefined
  readonly #answers: Map<string, PromiseWithResolvers<void>> = new Map()
  #stock: string[] = []
  /** Processes around cells and the cells' ids, as last seen; as many as live, and zombies not yet reaped. */
  #cells: ReadonlyMap<number, string> = new Map()
  #stocking: Promise<void> | undefined
  #said = ''
  #line = ''
  /** Who serves the tree, the host's number. */
  #server: number | undefined
  /** Looks one after the other at which it was stopped. */
  #stopped = 0
  #look: NodeJS.Timeout | undefined
  #hasLostTree = false

  private constructor(init: KeeperInit, base: string) {
    this.base = base
    this.uid = init.uid
    this.gid = init.gid
    this.tools = init.tools
    this.nice = init.nice
    this.hasTree = init.tree !== undefined
    this.path = init.tree?.programs && targetPath
    this.#tree = init.tree
    const [command, ...args] = commandOf(init, this.base)
    const extra = init.tree === undefined ? [] : openServer()
    try {
      this.#process = spawn(command!, args, {
        stdio: ['pipe', 'pipe', 'pipe', ...extra, ...coverInherited().slice(extra.length)],
        detached: true,
        cwd: '/',
        env: { PATH: targetPath, LC_ALL: 'C' }
      })
    } finally {
      for (const fd of extra) if (typeof fd === 'number') closeSync(fd)
    }
    if (init.tree !== undefined) this.#connect(init.tree)
    const ended = Promise.withResolvers<void>()
    this.ended = ended.promise
    this.#process.once('error', (error) => this.#say(messageOf(error)))
    this.#process.once('close', () => {
      clearInterval(this.#look)
      for (const answer of this.#answers.values()) answer.reject(this.#failure())
      this.#answers.clear()
      ended.resolve()
    })
    this.#process.stdin!.on('error', () => {})
    this.#process.stderr!.setEncoding('latin1').on('data', (text: string) => this.#say(text))
    this.#process.stdout!.setEncoding('latin1').on('data', (text: string) => this.#hear(text))
  }

  /**
   * Whoever serves the tree may be killed, and then its socket does not tell: others hold that end, too; and a thread of it
   * that waits in the kernel for who waits for it holds all that it had. There are no other children yet.
   */
  #watchServer(): void {
    this.#server = childrenOf(this.maker)[0]
    this.#look = setInterval(() => {
      if (!this.#isServed(1)) this.#loseTree()
    }, LOOK).unref()
  }

  /** `looks`: by how many more it is stopped, if it is. */
  #isServed(looks: number): boolean {
    const stat = this.#server === undefined ? null : readStat(this.#server)
    this.#stopped = stat?.state === 'T' ? this.#stopped + looks : 0
    return stat?.parent === this.maker && !'ZX'.includes(stat.state) && this.#stopped < STOPPED_MAX
  }

  /** At once, without waiting for the next look; then everything of it ends. */
  hasLostTree(): boolean {
    if (this.#server !== undefined && !this.#hasLostTree && !this.#isServed(0)) this.#loseTree()
    return this.#hasLostTree
  }

  /** Programs that wait for home can't even be killed, until the mounts end. */
  killed(ended: Promise<unknown>): void {
    if (!this.hasTree) return
    const late = setTimeout(() => {
      if (!this.#tree!.isWithinReach()) this.#loseTree()
    }, KILLED_DEADLINE)
    void ended.then(() => clearTimeout(late))
  }

  #loseTree(): void {
    clearInterval(this.#look)
    this.#hasLostTree = true
    this.#say("what showed home's files has ended")
    this.#tree?.close()
    void this.end()
  }

  /** Without who serves the tree nothing is left to be seen. */
  #connect(tree: Tree): void {
    const socket = this.#process.stdio[TREE_STDIO.daemon] as Socket
    socket.once('close', () => void this.end())
    tree.connect(socket, () => !this.hasLostTree())
  }

  /** Builds the root. Throws SandboxError with what the tools said. */
  static async start(init: KeeperInit): Promise<Keeper> {
    const keeper = await Keeper.#make(init, `${init.scratchDirectory}/${randomBytes(8).toString('hex')}`)
    try {
      await keeper.#answer('ready', SETUP_DEADLINE)
      keeper.maker = childrenOf(keeper.#process.pid!)[0] ?? 0
      if (keeper.maker === 0) throw keeper.#failure()
      if (keeper.hasTree) keeper.#watchServer()
      return keeper
    } catch (error) {
      await keeper.close()
      throw error
    }
  }

  /** What a full disk leaves half made is removed. */
  static async #make(init: KeeperInit, base: string): Promise<Keeper> {
    try {
      makeBase(base, init)
      return new Keeper(init, base)
    } catch (error) {
      await removeTree(base)
      throw new KappaError('SandboxError', `the sandbox could not be built: ${messageOf(error)}`, { cause: error })
    }
  }

  /** A cell that is ready for its job. Throws SandboxError. */
  async cell(): Promise<Cell> {
    if (this.hasLostTree()) {
      await this.ended
      throw this.#failure()
    }
    let id = this.#stock.pop()
    while (id === undefined) {
      this.#stocking ??= this.#restock().finally(() => {
        this.#stocking = undefined
      })
      await this.#stocking
      id = this.#stock.pop()
    }
    return Cell.make(this, id)
  }

  async order(id: string): Promise<void> {
    await this.#ask(`c ${id}`)
  }

  parentOf(id: string): number | undefined {
    const living = new Map<number, string>()
    for (const pid of childrenOf(this.maker)) {
      const cell = this.#cells.get(pid) ?? /\0\/work\/([0-9a-f]+)\0/.exec(commandLine(pid))?.[1]
      if (cell !== undefined) living.set(pid, cell)
    }
    this.#cells = living
    for (const [pid, cell] of living) if (cell === id) return pid
    return undefined
  }

  /** It has ended, and its cells with it. */
  get isOver(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null
  }

  /** Ends all cells. */
  async end(): Promise<void> {
    // Whoever serves the tree may wait for a lock of who waits for it: killed so, both would stay.
    if (this.hasTree && !this.isOver) await this.#ask('u ', UNMOUNT_DEADLINE).catch(() => undefined)
    this.#process.kill('SIGKILL')
  }

  /** Ends all cells and removes the directories. */
  async close(): Promise<void> {
    await this.end()
    await this.ended
    await removeTree(this.base)
  }

  async #restock(): Promise<void> {
    const ids = Array.from({ length: BATCH }, () => randomBytes(8).toString('hex'))
    await this.#ask(`f ${ids.join(' ')}`)
    this.#stock = ids
  }

  async #ask(line: string, deadline = ORDER_DEADLINE): Promise<void> {
    const answer = this.#answer(line, deadline)
    this.#process.stdin!.write(`${line}\n`)
    await answer
  }

  async #answer(line: string, deadline: number): Promise<void> {
    if (this.isOver) throw this.#failure()
    const answer = Promise.withResolvers<void>()
    this.#answers.set(line, answer)
    const late = setTimeout(() => {
      this.#say(`no answer within ${deadline / 1000} s`)
      answer.reject(this.#failure())
    }, deadline)
    try {
      await answer.promise
    } finally {
      clearTimeout(late)
      this.#answers.delete(line)
    }
  }

  #hear(text: string): void {
    const lines = (this.#line + text).split('\n')
    this.#line = lines.pop() ?? ''
    for (const line of lines) this.#answers.get(line)?.resolve()
  }

  #say(text: string): void {
    this.#said = (this.#said + text).slice(-SAID_MAX)
  }

  #failure(): KappaError {
    const said = this.#said.trim().split('\n')[0] || 'it ended without a word'
    return new KappaError('SandboxError', `the sandbox could not be built: ${said}`)
  }
}
