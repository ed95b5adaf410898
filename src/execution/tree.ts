/** Home's tree for jobs here: who serves it, and what it is connected to. */

import { execFile } from 'node:child_process'
import { openSync, statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { quote } from './quote.ts'

export interface TreeUse {
  /** The job is over. */
  ended(): void
  /** It is given up: nothing that it does from now on reaches home, unless others of its home go on. */
  cutOff(): void
}

export interface Tree {
  /** Jobs of one home with the same key see the same. */
  key: string
  /** Who the user is at home. */
  uid: number
  gid: number
  /** Paths in system directories that may be written all the same. */
  writable: readonly string[]
  /** With this machine's programs and system directories in it; absent: home's own. */
  programs?: 'target'
  /**
   * Called once for each root that is made: the socket carries what is asked of home, and its answers; `isServed` looks whether
   * who serves it lives.
   */
  connect(socket: Socket, isServed: () => boolean): void
  /** Home can be asked just now. */
  isWithinReach(): boolean
  /** Nothing is asked of home any more, and what serves the tree ends. */
  close(): void
  /** Home has what programs had written that have ended, or won't be asked any more. */
  settled(): Promise<void>
  /** For a job, until one of both is called. */
  use(): TreeUse
}

/** Descriptors of whoever makes a root: the daemon's end, the program of the server, and Node itself. */
export const TREE_STDIO = { daemon: 3, script: 4, node: 5 } as const

/** One file, as it was built last: beside the daemon's bundle. */
const BUNDLE = import.meta.url.endsWith('.ts') ? '../../dist/tree-server.mjs' : './tree-server.mjs'

/** For `stdio` of spawn, from 3 on. The numbers are to be closed. */
export function openServer(): ('pipe' | number)[] {
  return ['pipe', openSync(fileURLToPath(new URL(BUNDLE, import.meta.url)), 'r'), openSync(process.execPath, 'r')]
}

/** Words of the shell. By descriptors: a guest of a root daemon may not reach the directories of these files. */
export const SERVER = `KAPPA_FILES_WITHOUT=${quote(process.env.KAPPA_FILES_WITHOUT ?? '')} <&${TREE_STDIO.script} /proc/self/fd/${TREE_STDIO.node} --input-type=module -`

/** They are the server's alone. */
export const CLOSE_SERVER = `exec ${TREE_STDIO.daemon}>&- ${TREE_STDIO.script}<&- ${TREE_STDIO.node}<&-\n`

/** Opens and mounts, as a guest does; serves nothing. */
const TRY = 'exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0,allow_other kappa /proc'
const TRY_MS = 10_000

/** Why guests can't see their home's tree: in a few words for everybody, and what its owner may do. */
export interface NoTrees {
  reason: string
  mend: string
}

/** Characters of what a system says. */
const REASON_MAX = 80

/** Why guests here can't see their home's tree; undefined: they can. */
export function whyNoTrees({
  guestUid,
  guestGid
}: {
  guestUid?: number
  guestGid?: number
}): Promise<NoTrees | undefined> {
  const device = statSync('/dev/fuse', { throwIfNoEntry: false })
  if (device === undefined)
    return Promise.resolve({ reason: 'no /dev/fuse', mend: 'load the kernel module: modprobe fuse' })
  const isRoot = process.getuid?.() === 0
  if (!isRoot && (device.mode & 0o6) !== 0o6)
    return Promise.resolve({ reason: '/dev/fuse is not open to all', mend: 'chmod 666 /dev/fuse' })
  const drop = isRoot
    ? ['setpriv', `--reuid=${guestUid ?? 65_534}`, `--regid=${guestGid ?? 65_534}`, '--clear-groups']
    : []
  // A root daemon gives its guests a device of their own where this one is root's alone.
  const isOpen = (device.mode & 0o6) === 0o6
  const words = isOpen ? [...drop, 'unshare', '-Urm', 'sh', '-c', TRY] : ['true']
  return new Promise((resolve) => {
    execFile(words[0]!, words.slice(1), { timeout: TRY_MS }, (error, _, said) => {
      const why = said.trim().split('\n')[0] || error?.message || ''
      resolve(error ? { reason: why.slice(0, REASON_MAX), mend: 'see mount(8), fuse(4)' } : undefined)
    })
  })
}
