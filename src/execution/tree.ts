/** Home's tree for jobs here: who serves it, and what it is connected to. */

import { openSync } from 'node:fs'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

export interface Tree {
  /** Jobs of one home with the same key see the same. */
  key: string
  /** Who the user is at home. */
  uid: number
  gid: number
  /** Called once for each root that is made: the socket carries what is asked of home, and its answers. */
  connect(socket: Socket): void
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
export const SERVER = `<&${TREE_STDIO.script} /proc/self/fd/${TREE_STDIO.node} --input-type=module -`

/** They are the server's alone. */
export const CLOSE_SERVER = `exec ${TREE_STDIO.daemon}>&- ${TREE_STDIO.script}<&- ${TREE_STDIO.node}<&-\n`
