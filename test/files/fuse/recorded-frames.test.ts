import t from 'tap'
import { forgets, interrupted, offer } from '../../../src/files/fuse/requests.ts'
import { decode, frameOf, RECORDED } from './frames.ts'

/** What each recorded frame says, beside its header. */
const EXPECTED: Record<string, object> = {
  lookup: { nodeid: 1, name: 'd' },
  getattr: { nodeid: 3, handle: undefined },
  'getattr of an open file': { nodeid: 4, handle: 1 },
  'setattr mode': { nodeid: 4, mode: 0o100640, size: undefined, accessed: undefined, handle: undefined },
  'setattr size': { nodeid: 4, mode: undefined, size: 3, handle: 1, killPrivileges: false },
  'setattr times': {
    accessed: { s: -312_753_294, ns: 123_456_789 },
    modified: { s: -312_753_294, ns: 123_456_789 },
    changed: undefined
  },
  'setattr now': { accessed: 'now', modified: 'now', size: undefined },
  readlink: { nodeid: 5 },
  symlink: { nodeid: 3, name: 'l', target: '../x' },
  mknod: { mode: 0o010600, device: 0, umask: 0o022, name: 'p' },
  mkdir: { mode: 0o750, umask: 0o022, name: 'd' },
  unlink: { nodeid: 3, name: 'c' },
  rmdir: { nodeid: 1, name: 'd' },
  link: { nodeid: 3, existing: 4, name: 'b' },
  open: { nodeid: 4, flags: 0o104001, openFlags: 0 },
  read: { handle: 1, offset: 0, size: 4096, flags: 0o100000 },
  write: { handle: 1, offset: 0, writeFlags: 0, data: Buffer.from('hello\n') },
  statfs: { nodeid: 1 },
  release: { handle: 1, flags: 0o100001, unlock: undefined },
  'release of a locked file': { handle: 1, unlock: 0xfe9b457c22ded2f4n },
  fsync: { handle: 1, dataOnly: false },
  fdatasync: { handle: 1, dataOnly: true },
  setxattr: { name: 'user.k', value: Buffer.from('value'), flags: 0 },
  'getxattr size': { name: 'security.capability', size: 0 },
  getxattr: { name: 'security.selinux', size: 255 },
  listxattr: { size: 256 },
  removexattr: { name: 'user.k' },
  flush: { handle: 1, lockOwner: 0xf267fc6f9307949cn },
  opendir: { nodeid: 3, flags: 0o704000 },
  readdir: { handle: 2, offset: 6, size: 32_768 },
  releasedir: { handle: 2 },
  fsyncdir: { handle: 2, dataOnly: false },
  getlk: { handle: 1, isFlock: false, lock: { start: 7n, end: 0x7fff_ffff_ffff_ffffn, type: 1, pid: 0 } },
  setlk: { isFlock: false, lock: { start: 5n, end: 14n, type: 1, pid: 0x6219 } },
  'setlk flock': { isFlock: true, lock: { start: 0n, end: 0x7fff_ffff_ffff_ffffn, type: 1, pid: 0x6219 } },
  setlkw: { isFlock: true, owner: 0xd746245d019bd5d4n },
  access: { nodeid: 1, mask: 1 },
  create: { nodeid: 3, flags: 0o101101, mode: 0o100644, umask: 0o022, name: 'a' },
  ioctl: { command: 0x8008_6601, input: Buffer.alloc(0), outputBytes: 4 },
  poll: { handle: 1, events: 0x19 },
  fallocate: { handle: 1, offset: 0, length: 100_000, mode: 0 },
  readdirplus: { handle: 2, offset: 0, size: 32_768 },
  rename: { nodeid: 1, newParent: 1, flags: 0, name: 'held', newName: 'kept2' },
  'rename2 noreplace': { nodeid: 3, newParent: 3, flags: 1, name: 'a', newName: 'c' },
  'rename2 exchange': { nodeid: 1, newParent: 1, flags: 2, name: 'f', newName: 'g' },
  'lseek hole': { handle: 1, offset: 0, whence: 4 },
  'lseek data': { handle: 1, offset: 0, whence: 3 },
  tmpfile: { nodeid: 1, flags: 0o20300002, mode: 0o100600, name: '/' },
  statx: { nodeid: 13, handle: undefined, flags: 0, mask: 0xfff },
  copyFileRange64: { nodeid: 2, handle: 1, offset: 0, toNodeid: 7, toHandle: 1, toOffset: 0, length: 5, flags: 0 }
}

/** Those that no handler answers. */
const CONTROL = ['forget', 'batchForget', 'init', 'interrupt']

t.test('each recorded request is decoded', async (t) => {
  t.same(
    [...RECORDED.keys()].filter((name) => !(name in EXPECTED) && !CONTROL.includes(name)),
    []
  )
  for (const [name, expected] of Object.entries(EXPECTED)) {
    const request = decode(RECORDED.get(name)!) as unknown as Record<string, unknown>
    const found = Object.fromEntries(Object.keys(expected).map((key) => [key, request[key]]))
    t.same(found, expected, name)
  }
})

t.test('the header says who asks', async (t) => {
  t.match(decode(RECORDED.get('lookup')!), { opcode: 1, uniqueLow: 6, uniqueHigh: 0, uid: 0, gid: 0, pid: 0x6202 })
})

t.test('what the kernel takes back, offers and interrupts', async (t) => {
  t.same(forgets(frameOf(RECORDED.get('forget')!), false), [{ nodeid: 14, count: 1 }])
  t.same(forgets(frameOf(RECORDED.get('batchForget')!), true), [
    { nodeid: 5, count: 8 },
    { nodeid: 6, count: 7 }
  ])
  t.same(interrupted(frameOf(RECORDED.get('interrupt')!)), { low: 0x2f8, high: 0 })
  t.same(offer(frameOf(RECORDED.get('init')!)), {
    major: 7,
    minor: 45,
    maxReadahead: 131_072,
    flags: 0x73fffffb,
    flags2: 0x5fd
  })
})
