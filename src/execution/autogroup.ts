/**
 * Autogroups give every session the same share of the CPU, whatever the nice values in it; a guest gets a new one by
 * setsid. So the sessions of living jobs are set back to the guests' nice value again and again. Ordinary users may do that
 * ten times a second, all together: what fails is done a little later.
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** False where no autogroups exist, or they are switched off. */
export function autogroupsMatter(): boolean {
  try {
    return readFileSync('/proc/sys/kernel/sched_autogroup_enabled', 'latin1').trim() === '1'
  } catch {
    return false
  }
}

/** Lowers the autogroup of one process: its session's. False when the kernel wants it to be asked again later. */
export function lowerAutogroup(process: string, nice: number): boolean {
  try {
    const path = `${process}/autogroup`
    if (!readFileSync(path, 'latin1').endsWith(` nice ${nice}\n`)) writeFileSync(path, String(nice))
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EAGAIN'
  }
}

/** The same for all processes that a cell's /proc shows, but its PID 1, which only waits. Stops at the first that must wait. */
export function lowerAutogroups(proc: string, nice: number): boolean {
  return processesIn(proc).every((process) => lowerAutogroup(process, nice))
}

/** Directories of all processes that a cell's /proc shows but its PID 1. */
export function processesIn(proc: string): string[] {
  try {
    return readdirSync(proc)
      .filter((name) => /^\d+$/.test(name) && name !== '1')
      .map((name) => `${proc}/${name}`)
  } catch {
    return []
  }
}
