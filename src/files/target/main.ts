/**
 * The process that serves home's tree to the jobs of one home. It is started in the namespaces where the two mounts are,
 * with their descriptors and one to the daemon, and ends with that.
 */

import { Socket } from 'node:net'
import { FuseDevice } from '../fuse/device.ts'
import type { FileSystemOperations } from '../fuse/operations.ts'
import { FuseSession } from '../fuse/session.ts'
import { Cache } from './cache.ts'
import { FileSystem, systemOperations } from './file-system.ts'
import { type Node, Nodes } from './nodes.ts'
import { Remote } from './remote.ts'
import { Replay } from './replay.ts'
import { WIRE } from './store-codec.ts'
import { uses } from './techniques.ts'
import { Wire } from './wire.ts'

const MAX_WRITE_BYTES = 1_048_576
/** After which the kernel takes a mount for dead; it counts locks that are waited for. */
const LIMIT_S = 60
const LOCKING_LIMIT_S = 3600

/** Who the user is at home; descriptors of the two mounts, and of the daemon's socket. */
const [uid, gid, treeMount, systemMount, daemon] = process.argv.slice(2).map(Number) as [
  number,
  number,
  number,
  number,
  number
]
const [TO_HOME, TO_STORE] = [Uint8Array.of(WIRE.home), Uint8Array.of(WIRE.store)]

const now = (): number => performance.now()

const wire = new Wire(new Socket({ fd: daemon }))
let nodes: Nodes | undefined
let files: FileSystem | undefined
/** What the kernel is being told to forget; bounded by FuseSession. */
const invalidating = new Set<Promise<void>>()
const forgotten = (): Promise<unknown> => Promise.allSettled(invalidating)
const remote = new Remote({
  send: (parts) => void wire.send([TO_HOME, ...parts]),
  onChanged: (path, entries) => {
    replay.changed(path, entries)
    nodes?.changed(path, entries)
  },
  onReset: () => {
    replay.reset()
    nodes?.reset()
  },
  onNews: (number) => {
    const told = Buffer.from([WIRE.news, 0, 0, 0, 0])
    told.writeUInt32BE(number, 1)
    // In the order of their coming: the kernel is told by one thread.
    void forgotten().then(() => wire.send([told]))
  }
})
const cache = new Cache((parts) => void wire.send([TO_STORE, ...parts]))
const replay = new Replay(remote, cache)
let sessions: FuseSession[] = []
wire.receive(
  (frame) => {
    if (frame[0] === WIRE.home) remote.handle(frame.subarray(1))
    else if (frame[0] === WIRE.settled) settle(Uint8Array.from(frame))
    else cache.handle(frame.subarray(1))
  },
  () => {
    remote.close()
    Promise.all(sessions.map((session) => session.close('ESTALE'))).then(() => process.exit(0))
  }
)

void replay.start()
const { attributes } = await remote.ask('stat', { path: '/' })
if (attributes === undefined) throw new Error('home has no root')
nodes = new Nodes(
  attributes,
  {
    inode: (node: Node, pages: boolean) => {
      for (const session of sessions) invalidated(session.invalidateInode(node.id, pages ? 0 : -1, 0))
    },
    entry: (parent, name, isGone) => {
      for (const session of sessions) invalidated(session.invalidateEntry(parent.id, name, isGone))
    }
  },
  now
)
files = new FileSystem({ remote, nodes, cache, replay, uid, gid, now, forgotten })
sessions = [serve(treeMount, files, 'auto')]
// Where jobs run this machine's programs, nothing of home's system is mounted.
if (systemMount >= 0) {
  const system = uses('system-mount') ? systemOperations(files) : files
  sessions.push(serve(systemMount, system, system === files ? 'auto' : 'explicit'))
}

function settle(question: Uint8Array): void {
  Promise.resolve(files?.settled()).then(() => wire.send([question]))
}

function invalidated(done: Promise<void>): void {
  invalidating.add(done)
  const end = (): void => void invalidating.delete(done)
  done.then(end, end)
}

function serve(descriptor: number, operations: FileSystemOperations, invalidation: 'auto' | 'explicit'): FuseSession {
  // Where nothing can be written, the kernel keeps locks itself: it does not tell when such a file is closed.
  const locks = operations.setlkw !== undefined
  return new FuseSession(new FuseDevice(descriptor, MAX_WRITE_BYTES), operations, {
    maxBackground: 64,
    posixLocks: locks,
    flockLocks: locks,
    invalidation,
    readdirplus: 'auto',
    writebackCache: false,
    cacheSymlinks: true,
    killPrivileges: false,
    kernelLimitS: locks ? LOCKING_LIMIT_S : LIMIT_S,
    limitMs: 30_000,
    lateErrno: 'ETIMEDOUT',
    maxPending: 1024,
    maxLockWaits: 64,
    onFault: (error, what) => console.error(`kappa: the file system at ${what}: ${String(error)}`)
  })
}
