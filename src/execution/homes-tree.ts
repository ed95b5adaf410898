/**
 * The part of a root's script (setup.ts) for jobs that see home's tree. What makes the cells and waits in them sees this
 * machine's programs; home's tree is at /r, which a job enters as its last step (native/enter.c), so that no program
 * of home runs with more rights than a job has.
 */

import { existsSync, readFileSync } from 'node:fs'
import { closeScript, type FuseMount, mountScript } from '../files/fuse/mount.ts'
import { SYSTEM } from '../files/home/view.ts'
import { bindReadOnly, DEVICES, INOTIFY, MORE, type Mount, makeDevices, makeSystem, SHARED_MEMORY } from './mounts.ts'
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
}

/** Descriptors of the two mounts. */
const TREE = 8
const SYSTEM_TREE = 9

/** As jobs see it: a directory of this machine for each job, and for its temporary files. */
export const TREE_WORK = '/run/kappa'

const OWN = `
mkdir r system k work shm dev dev/pts proc proc.old
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for d in ${DEVICES.join(' ')}; do : > dev/$d; mount --bind /dev/$d dev/$d; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t proc -o nosuid,nodev,noexec proc proc
for l in instances=${INOTIFY.instances} watches=${INOTIFY.watches}
do echo \${l#*=} >proc/sys/user/max_inotify_\${l%=*} || :; done 2>/dev/null
mount -t tmpfs -o nosuid,nodev,mode=1777,size=${SHARED_MEMORY} shm shm
mount --bind "$base/k" k
mount -o remount,bind,nosuid,nodev k
mount --bind "$base/work" work
mount -o remount,bind,nosuid,nodev work
`

/** Over home's own directories of these names, of which nothing is shown. */
const OVER = `
mount -t tmpfs -o nosuid,nodev,mode=0755,size=64k run r/run
mkdir r/run/kappa r/run/lock
mount --bind "$base/work" r${TREE_WORK}
mount -o remount,bind,nosuid,nodev r${TREE_WORK}
mount -t tmpfs -o nosuid,mode=0755,size=64k dev r/dev
mkdir r/dev/pts r/dev/shm
ln -s pts/ptmx r/dev/ptmx
ln -s /proc/self/fd r/dev/fd
ln -s /proc/self/fd/0 r/dev/stdin
ln -s /proc/self/fd/1 r/dev/stdout
ln -s /proc/self/fd/2 r/dev/stderr
for d in ${DEVICES.join(' ')}; do : > r/dev/$d; mount --bind dev/$d r/dev/$d; done
mount --bind dev/pts r/dev/pts
mount --bind shm r/dev/shm
mount -t proc -o nosuid,nodev,noexec proc r/proc
mount -t tmpfs -o nosuid,nodev,mode=0755,size=64k sys r/sys
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
  return `${
    OWN + makeSystem(mounts, '', SYSTEM) + both.map(mountScript).join('')
  }${tree.server} ${tree.uid} ${tree.gid} ${TREE} ${SYSTEM_TREE} ${daemon} >/dev/null &
${closeScript(both)}${CLOSE_SERVER}for d in ${SYSTEM.join(' ')}; do
if [ -d "r$d" ] && ! [ -L "r$d" ]; then mount --bind "system$d" "r$d"; fi
done
umount -i system
${OVER}${makeDevices(devices)}${MORE.map((path) => `mkdir -p ${quote(`r${path}`)}\n${bindReadOnly(path, mounts)}`).join('')}${OWN_FILES.map(ofThisMachine).join('')}`
}

/** What says where a job is, in files that home has too. */
const OWN_FILES = ['/etc/resolv.conf', '/etc/hostname']

function ofThisMachine(path: string): string {
  if (!existsSync(path)) return ''
  const copy = path.slice('/etc/'.length)
  return `printf %s ${quote(readFileSync(path, 'latin1'))} > ${copy}
if [ -f "r${path}" ]; then mount --bind ${copy} "r${path}" && mount -o remount,bind,ro "r${path}"; fi || :
`
}
