/** One daemon per state directory: a lock file that names the process which holds it. */

import { linkSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { KappaError, messageOf } from '../errors.ts'

/** Locks that this process has taken, by path: one that names it all the same was taken before it replaced itself. */
const taken = new Set<string>()

/** The living process that holds the lock, if one does. */
export function holderOf(path: string): number | undefined {
  const [pid, started] = readQuietly(path)?.trim().split(' ') ?? []
  return pid && started && startTimeOf(Number(pid)) === started ? Number(pid) : undefined
}

/** Takes the lock. Throws DaemonError when a living process holds it, StateError when there can be no lock. */
export function takeLock(path: string): { release(): void } {
  const identity = `${process.pid} ${startTimeOf(process.pid)}\n`
  // A program that took this process over takes the lock over with it.
  if (holderOf(path) !== process.pid || taken.has(path)) link(path, identity)
  taken.add(path)
  return {
    release: () => {
      taken.delete(path)
      if (readQuietly(path) === identity) rmSync(path, { force: true })
    }
  }
}

function link(path: string, identity: string): void {
  const mine = `${path}.${process.pid}`
  try {
    writeFileSync(mine, identity, { mode: 0o600 })
  } catch (cause) {
    rmSync(mine, { force: true })
    throw new KappaError('StateError', `${path} can't be written: ${messageOf(cause)}`, { cause })
  }
  try {
    for (;;) {
      try {
        // A link appears whole or not at all, and only one of several wins.
        linkSync(mine, path)
        return
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      removeStale(path, mine)
    }
  } finally {
    unlinkSync(mine)
  }
}

function removeStale(path: string, mine: string): void {
  const held = readQuietly(path)
  if (held === undefined) return
  const holder = holderOf(path)
  if (holder !== undefined)
    throw new KappaError('DaemonError', `a daemon runs already (process ${holder}); see: kappa status`)
  // Renamed first: another daemon may have replaced the stale lock by its own meanwhile.
  const aside = `${mine}.stale`
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  if (readQuietly(aside) === held) unlinkSync(aside)
  else renameSync(aside, path)
}

function readQuietly(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}

/**
 * Field 22 of /proc/PID/stat, which tells a process from a later one with the same number; `0` when there is none. One that
 * is dead and not yet reaped, as in containers without an init for ever, is none.
 */
function startTimeOf(pid: number): string {
  const stat = readQuietly(`/proc/${pid}/stat`)
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
  return fields[0] === 'Z' || fields[0] === 'X' ? '0' : (fields[19] ?? '0')
}
