import { parseTaskStat, type TaskStat } from './proc-parse.ts'
import type { ProcReader } from './proc-reader.ts'

/** Processes looked at in one reading; beyond them a tree is counted in part. */
const PROCESSES_MAX = 4096

/** Threads of one process looked at for being runnable. */
const THREADS_MAX = 256

/** Roots that are gone and may still be told of; the oldest is forgotten first. */
const VANISHED_MAX = 64

interface Root {
  startTicks: number
  /** CPU time of the whole tree, descendants that ended and were waited for included. */
  cpuTicks: number
  /** Its parent is this process, so its CPU time passes to this one when it ends. */
  child: boolean
  /** What it used between the last two readings, per ms. */
  ticksPerMs: number
}

export interface OwnReading {
  /** CPU time of kappa's jobs in jiffies, summed up since the first reading; never falls. */
  cpuTicks: number
  /** Their tasks that are runnable at this instant. */
  runnable: number
  /** Every process of theirs; at most 4096. */
  processes: Set<number>
}

/** The threads of a process that are runnable at this instant. */
export function runnableThreads(proc: ProcReader, process: number, stat: TaskStat): number {
  if (stat.threads <= 1) return Number(stat.state === 'R')
  let runnable = 0
  for (const thread of proc.list(`${process}/task`).slice(0, THREADS_MAX)) {
    if (parseTaskStat(proc.text(`${process}/task/${thread}/stat`) ?? '')?.state === 'R') runnable++
  }
  return runnable
}

/**
 * Accounts for the CPU time of the process trees that kappa itself runs. Processes may come and go between readings: a
 * parent inherits the time of a child that it waits for, so a tree's sum stays true, and so does that of a root whose parent is
 * this process, seen or not. A root that has gone elsewhere is taken to have gone on to its end as before, until `ended`
 * tells what it used.
 *
 * Other children of this process that ended count as jobs too; pass long-running ones as roots, or they are all
 * counted at their end.
 */
export class OwnProcesses {
  readonly #proc: ProcReader
  readonly #self: number
  /** Whether this kernel has /proc/PID/task/TID/children. */
  readonly #listsChildren: boolean
  /** As many as there are jobs. */
  #roots = new Map<number, Root>()
  /** What was counted of roots that are gone. */
  readonly #vanished = new Map<number, number>()
  /** What ended trees used beside what was counted of them. */
  #owedTicks = 0
  #reapedTicks: number | undefined
  #cpuTicks = 0
  /** Children by parent, where the kernel doesn't list them; of this reading only. */
  #children: Map<number, number[]> | undefined

  /** @param self - number of the process that starts the jobs */
  constructor(proc: ProcReader, self: number) {
    this.#proc = proc
    this.#self = self
    this.#listsChildren = proc.text(`${self}/task/${self}/children`) !== undefined
  }

  /**
   * The tree of a root that isn't a child of this process has ended, seen or not: the next reading has all of its time.
   *
   * @param cpuTicks - what it used in all
   */
  ended(root: number, cpuTicks: number): void {
    const known = this.#roots.get(root)
    if (known?.child) return
    this.#owedTicks += cpuTicks - (known?.cpuTicks ?? this.#vanished.get(root) ?? 0)
    this.#roots.delete(root)
    this.#vanished.delete(root)
  }

  /** @param elapsedMs - since the last reading; any number at the first */
  read(roots: Iterable<number>, elapsedMs: number): OwnReading {
    const before = this.#roots
    const processes = new Set<number>()
    let runnable = 0
    let usedTicks = 0
    this.#roots = new Map()
    this.#children = undefined
    for (const number of roots) {
      const tree = this.#tree(number, processes)
      if (tree === undefined) continue
      runnable += tree.runnable
      const { startTicks, parent } = tree.stat
      const known = before.get(number)?.startTicks === startTicks ? before.get(number)! : undefined
      const ticks = Math.max(0, tree.cpuTicks - (known?.cpuTicks ?? 0))
      usedTicks += ticks
      this.#roots.set(number, {
        startTicks,
        cpuTicks: tree.cpuTicks,
        child: parent === this.#self,
        ticksPerMs: elapsedMs > 0 ? ticks / elapsedMs : 0
      })
      if (known !== undefined) before.delete(number)
    }
    usedTicks += this.#endedTicks(before, elapsedMs) + this.#owedTicks
    this.#owedTicks = 0
    this.#cpuTicks += Math.max(0, usedTicks)
    return { cpuTicks: this.#cpuTicks, runnable, processes }
  }

  /** What ended since the last reading had used between it and its end. Less than zero when this process hasn't waited for a child yet. */
  #endedTicks(gone: Map<number, Root>, elapsedMs: number): number {
    const reapedTicks = parseTaskStat(this.#proc.text(`${this.#self}/stat`) ?? '')?.reapedTicks ?? 0
    let ticks = reapedTicks - (this.#reapedTicks ?? reapedTicks)
    this.#reapedTicks = reapedTicks
    for (const [number, { child, cpuTicks, ticksPerMs }] of gone) {
      ticks += child ? -cpuTicks : ticksPerMs * elapsedMs
      if (!child) this.#vanished.set(number, cpuTicks + ticksPerMs * elapsedMs)
    }
    for (const oldest of this.#vanished.keys()) {
      if (this.#vanished.size <= VANISHED_MAX) break
      this.#vanished.delete(oldest)
    }
    return ticks
  }

  #tree(root: number, processes: Set<number>): { stat: TaskStat; cpuTicks: number; runnable: number } | undefined {
    let rootStat: TaskStat | undefined
    let cpuTicks = 0
    let runnable = 0
    const waiting = [root]
    while (waiting.length > 0 && processes.size < PROCESSES_MAX) {
      const number = waiting.pop()!
      if (processes.has(number)) continue
      const stat = parseTaskStat(this.#proc.text(`${number}/stat`) ?? '')
      if (stat === undefined) continue
      rootStat ??= stat
      processes.add(number)
      cpuTicks += stat.cpuTicks
      runnable += runnableThreads(this.#proc, number, stat)
      waiting.push(...this.#childrenOf(number, stat.threads))
    }
    return rootStat === undefined ? undefined : { stat: rootStat, cpuTicks, runnable }
  }

  #childrenOf(number: number, threads: number): number[] {
    if (!this.#listsChildren) return this.#scannedChildren().get(number) ?? []
    const tasks = threads > 1 ? this.#proc.list(`${number}/task`) : [String(number)]
    const children: number[] = []
    for (const task of tasks.slice(0, THREADS_MAX)) {
      const text = this.#proc.text(`${number}/task/${task}/children`) ?? ''
      for (const word of text.split(' ')) if (word !== '') children.push(Number(word))
    }
    return children
  }

  #scannedChildren(): Map<number, number[]> {
    if (this.#children !== undefined) return this.#children
    this.#children = new Map()
    for (const name of this.#proc
      .list('')
      .filter((entry) => /^\d+$/.test(entry))
      .slice(0, PROCESSES_MAX)) {
      const parent = parseTaskStat(this.#proc.text(`${name}/stat`) ?? '')?.parent
      if (parent === undefined) continue
      const siblings = this.#children.get(parent)
      if (siblings === undefined) this.#children.set(parent, [Number(name)])
      else siblings.push(Number(name))
    }
    return this.#children
  }
}
