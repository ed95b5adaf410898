/** What a job at its target waits for, so that a test says when it goes on. */

import { randomInt } from 'node:crypto'
import { commandLine } from '../../src/execution/process.ts'
import { jobProcesses, until } from './peers.ts'

export interface Gate {
  /** A command that ends when the gate is opened. */
  wait: string
  /** When so many jobs wait. */
  open(jobs?: number): Promise<void>
}

export function gate(): Gate {
  const mark = `8${randomInt(10 ** 9, 10 ** 10)}`
  const waiting = () => jobProcesses(mark).filter((pid) => commandLine(pid).startsWith('sleep\0'))
  return {
    wait: `sleep ${mark}`,
    open: async (jobs = 1) => {
      const pids = await until('they wait', () => {
        const found = waiting()
        return found.length === jobs && found
      })
      // Of this one no shell says anything.
      for (const pid of pids) process.kill(pid, 'SIGPIPE')
      await until('nobody waits', () => waiting().length === 0)
    }
  }
}
