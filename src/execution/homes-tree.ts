/**
 * The part of a root's script (setup.ts) for jobs that see home's tree. What makes the cells and waits in them sees this
 * machine's programs; home's tree is at /r, which a job enters as its last step (native/enter.c), so that no program
 * of home runs with more rights than a job has.
 */

import { existsSync, readFileSync } from 'node:fs'
import { closeScript, type FuseMount, mountScript } from '../files/fuse/mount.ts'
import { SYSTEM } from '../files/home/view.ts'
import {
  bindReadOnly,
  DEVICES,
  deviceLines,
  INOTIFY,
  MORE,
  type Mount,
  type MountLine,
  makeDevices,
  makeSystem,
  mountAll,
  SHARED_MEMORY
} from './mounts.ts'
import { quote } from './quote.ts'
import { CLOSE_SERVER } from './tree.ts'

/** How a root shows home's tree. */
export interface TreeSetup {
  /** Who the user is at home: the job has the same numbers. */
  uid: number
  gid: number
  /**
   * Words of the shell that serve the tree, quoted; behind them come uid and gid, the two descriptors of /dev/fuse and the
   * one to the daemon, which is open in the shell.
   */
  server: string
  daemon: number
  /** Paths in system directories that may be written all the same. */
  writable: readonly string[]
  /** Whose programs and system directories are in it; absent: home's. */
  programs?: 'target'
}

/** Descriptors of the two mounts. */
export const TREE = 8
const SYSTEM_TREE = 9

/** As jobs see it: a directory of this machine for each job, and for its temporary files. */
export const TREE_WORK = '/run/kappa'

export const DIRECTORIES = `
mkdir r k work shm dev proc proc.old
`

/** With the machine's tree beside, as the maker sees it, and jobs see /dev. */
export const OWN_MOUNTS: readonly MountLine[] = [
  ...deviceLines('dev'),
  { source: 'devpts', target: 'dev/pts', type: 'devpts', options: 'newinstance,ptmxmode=0666,mode=0620' },
  { source: 'proc', target: 'proc', type: 'proc', options: 'nosuid,nodev,noexec' },
  { source: 'shm', target: 'shm', type: 'tmpfs', options: `nosuid,nodev,mode=1777,size=${SHARED_MEMORY}` }
]

export const DEVICE_FILES = `
mount -t tmpfs -o nosuid,mode=0755,size=64k dev dev
mkdir dev/pts dev/shm
for d in ${DEVICES.join(' ')}; do : > dev/$d; done
ln -s pts/ptmx /proc/self/fd dev
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
`

export const OWN_DIRECTORIES = `
for l in instances=${INOTIFY.instances} watches=${INOTIFY.watches}
do echo \${l#*=} >proc/sys/user/max_inotify_\${l%=*} || :; done 2>/dev/null
mount -o bind,nosuid,nodev "$base/k" k
mount -o bind,nosuid,nodev "$base/work" work
`

/** Over home's own directories of these names, of which nothing is shown. */
export const OVER =
  mountAll([
    { source: 'run', target: 'r/run', type: 'tmpfs', options: 'nosuid,nodev,mode=0755,size=64k' },
    { source: 'dev', target: 'r/dev', options: 'rbind,ro' },
    { source: 'shm', target: 'r/dev/shm', options: 'bind' },
    { source: 'proc', target: 'r/proc', type: 'proc', options: 'nosuid,nodev,noexec' },
    { source: 'sys', target: 'r/sys', type: 'tmpfs', options: 'nosuid,nodev,mode=0755,size=64k' }
  ]) +
  `mkdir r/run/kappa r/run/lock
mount -o bind,nosuid,nodev "$base/work" r${TREE_WORK}
`

export function homesTree(tree: TreeSetup, devices: readonly string[], mounts: readonly Mount[]): string {
  const both: FuseMount[] = [
    { descriptor: TREE, directory: 'r', source: 'kappa', isReadOnly: false, checksModes: false, uid: 0, gid: 0 },
    {
      descriptor: SYSTEM_TREE,
      directory: 'system',
      source: 'kappa',
      isReadOnly: true,
      checksModes: false,
      uid: 0,
      gid: 0
    }
  ]
  const { daemon } = tree
  const writable = writableScripts(tree.writable)
  // Who serves the tree first: it takes longest to begin.
  return `${DIRECTORIES}mkdir system
${both.map(mountScript).join('')}${tree.server} ${tree.uid} ${tree.gid} ${TREE} ${SYSTEM_TREE} ${daemon} >/dev/null &
${closeScript(both)}${CLOSE_SERVER}${
  DEVICE_FILES + makeSystem(mounts, { root: '', paths: SYSTEM, before: OWN_MOUNTS }) + OWN_DIRECTORIES
}${writable.before}for d in ${SYSTEM.join(' ')}; do
if [ -d "r$d" ] && ! [ -L "r$d" ]; then mount --bind "system$d" "r$d"; fi
done
umount -i system
${writable.behind}${makeDevices(devices, '.')}${OVER}${MORE.map((path) => `mkdir -p ${quote(`r${path}`)}\n${bindReadOnly(path, mounts)}`).join('')}${OWN_FILES.map(ofThisMachine).join('')}`
}

/** Parts of the tree that the mount of the system covers are held while it is mounted, and shown in it again. */
function writableScripts(paths: readonly string[]): { before: string; behind: string } {
  const lines = paths.map((path, index) => {
    const [held, shown] = [`writable${index}`, quote(`r${path}`)]
    return {
      before: `if [ -d ${shown} ]; then mkdir ${held}; elif [ -f ${shown} ]; then : > ${held}; fi
if [ -e ${held} ]; then mount --bind ${shown} ${held}; fi
`,
      behind: `if [ -e ${held} ]; then mount --bind ${held} ${shown}; umount -i ${held}; fi
`
    }
  })
  return { before: lines.map(({ before }) => before).join(''), behind: lines.map(({ behind }) => behind).join('') }
}

/** What says where a job is, in files that home has too. */
const OWN_FILES = ['/etc/resolv.conf', '/etc/hostname']

function ofThisMachine(path: string): string {
  if (!existsSync(path)) return ''
  const copy = path.slice('/etc/'.length)
  return `printf %s ${quote(readFileSync(path, 'latin1'))} > ${copy}
if [ -f "r${path}" ]; then mount -o bind,ro ${copy} "r${path}"; fi || :
`
}
