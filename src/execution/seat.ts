/** What a job runs in, whatever keeps it apart from the machine: a cell of the sandbox, or a bare session. */

import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import type { Terminal } from './terminal.ts'
import type { Tools } from './tools.ts'

/** How the first process of a seat ended; `failure` when it never became the command, or lost home's tree under it. */
export interface SeatEnd {
  exitCode: number | null
  signal: string | null
  failure?: 'notfound' | 'notexecutable' | 'noterminal' | 'notree'
  /** Why there is no terminal. */
  why?: string
  /** ms of CPU time of all that it waited for, to 10 ms; absent when it was killed from outside. */
  cpuMs?: number
}

export interface Entrance {
  /** A program of ours. */
  program: string
  root: string
  /** A directory for temporary files, in the tree. */
  temporary: string
  /** Where programs are, when they are not home's. */
  path?: string
}

/** A place where one job can run, once: its streams are open, its directory is empty, nothing runs yet. */
export interface Seat {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** The working directory as seen from outside, and as the job sees it. */
  readonly directory: string
  readonly inside: string
  /** Where the program of the job's terminal is, as the job sees it. */
  readonly terminalProgram: string
  /** How a job enters home's tree, where its seat shows that. */
  readonly enter?: Entrance | undefined
  /** The same for this process alone, whatever the job makes of its path meanwhile: where files are staged. */
  readonly held: string
  readonly tools: Tools
  /** Resolves when nothing of the job lives any more; never rejects. */
  readonly ended: Promise<SeatEnd>
  /** The job gets a terminal: its script begins with the program of that. Before `begin`, at most once. */
  openTerminal(onStopped: (signal: number) => void): Terminal
  /** Becomes the job. Called at most once. */
  begin(script: Buffer): void
  /** To the job's whole process group; false when there is nobody left to get it. */
  signal(signal: number): boolean
  /** Sets the job's sessions back to the guests' share of the CPU; false when that must be tried again soon. */
  lower(): boolean
  /** Bytes of memory that the largest process of the job that lives now has had at most. */
  peakBytes(): number
  /** Directories of /proc, of all that lives in the seat. */
  processes(): string[]
  /** Where the job's files are: on the disk, and in memory where it has such a place of its own. */
  readonly files: { disk: string; memory: string | undefined }
  /** Ends everything in the seat. */
  kill(): void
  /** Ends what is left and removes the directory. */
  dispose(): Promise<void>
}

/** Of two names for one number the one that is first in the list is usual: SIGABRT, not SIGIOT. */
const NAMES = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number, name])
)

/** The usual name of a signal's number; real-time ones count from SIGRTMIN, which is 34 for every libc on Linux. */
export function signalName(signal: number): string {
  return NAMES.get(signal) ?? (signal >= 34 && signal <= 64 ? `SIGRTMIN+${signal - 34}` : `SIG${signal}`)
}
