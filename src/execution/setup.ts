/**
 * The shell script that builds the root that guests of one home see, and then makes cells on demand.
 *
 * It runs as root of a fresh user namespace (which is the guest's uid outside), in fresh mount, PID and cgroup
 * namespaces, with the machine's tree still in sight. Its own root becomes a read-only tmpfs; guests are chrooted into
 * `/r` of it: a process in a chroot may not create user namespaces, so nesting is ruled out by the kernel at no cost.
 */

import { readFileSync, realpathSync, statSync } from 'node:fs'
import { isUnder } from '../files/home/view.ts'
import { homesTree, type TreeSetup } from './homes-tree.ts'
import { mixedTree } from './mixed-tree.ts'
import {
  bindReadOnly,
  coverOf,
  DEVICES,
  deviceLines,
  INOTIFY,
  lockedOptions,
  type Mount,
  type MountLine,
  makeDevices,
  makeResolver,
  makeSystem,
  parseMounts,
  SHARED_MEMORY
} from './mounts.ts'
import { quote } from './quote.ts'
import { waiter, waitScript } from './status.ts'
import type { Tools } from './tools.ts'

/** Users as guests see them: nobody learns who else has an account here. */
function makeUsers(uid: number, gid: number): string {
  const users = `root:x:0:0:root:/root:/bin/sh\nguest:x:${uid}:${gid}:guest:/tmp:/bin/sh\n`
  const groups = `root:x:0:\nguest:x:${gid}:\n`
  const nobody = uid === 65534 ? '' : 'nobody:x:65534:65534:nobody:/:/bin/false\n'
  const nogroup = gid === 65534 ? '' : 'nogroup:x:65534:\n'
  return (
    `printf %s ${quote(users + nobody)} > passwd\nprintf %s ${quote(groups + nogroup)} > group\n` +
    'for f in passwd group; do [ ! -f r/etc/$f ] || mount -o bind,ro $f r/etc/$f; done\n'
  )
}

const DIRECTORIES = `
mkdir r k proc.old
mkdir r/dev r/dev/pts r/home r/k r/proc r/root r/run r/shm r/var r/work
ln -s /proc/1/cwd/tmp r/tmp
ln -s /tmp r/var/tmp
ln -s /proc/1/cwd/shm r/dev/shm
ln -s pts/ptmx /proc/self/fd r/dev
ln -s /proc/self/fd/0 r/dev/stdin
ln -s /proc/self/fd/1 r/dev/stdout
ln -s /proc/self/fd/2 r/dev/stderr
for d in ${DEVICES.join(' ')}; do : > r/dev/$d; done
`

const OWN_MOUNTS: readonly MountLine[] = [
  ...deviceLines('r/dev'),
  { source: 'devpts', target: 'r/dev/pts', type: 'devpts', options: 'newinstance,ptmxmode=0666,mode=0620' },
  { source: 'shm', target: 'r/shm', type: 'tmpfs', options: `nosuid,nodev,mode=0300,size=${SHARED_MEMORY}` },
  { source: 'proc', target: 'r/proc', type: 'proc', options: 'nosuid,nodev,noexec' }
]

const OWN_DIRECTORIES = `
for l in instances=${INOTIFY.instances} watches=${INOTIFY.watches}
do echo \${l#*=} >r/proc/sys/user/max_inotify_\${l%=*} || :; done 2>/dev/null
mount -o bind,nosuid,nodev "$base/k" k
mount -o bind,ro,nosuid,nodev "$base/k" r/k
mount -o bind,nosuid,nodev "$base/work" r/work
`

/** The maker of cells outside of the chroot uses the same programs: every name at the top leads into r/. */
const SAME_NAMES = `
set --
for d in r/*; do [ -e "\${d#r/}" ] || set -- "$@" "$d"; done
ln -s "$@" .
`

/** Leaves the machine's tree for good: nothing of it can be reached from here on but what is under /r. */
export const LEAVE = `
mount -o remount,bind,ro .
pivot_root . proc.old
cd /
umount -l /proc.old
`

/**
 * Serves lines: `f ID…` makes the status FIFOs and the shared memory directories of cells to come, `c ID` makes a cell, `u` ends
 * the mounts of home's tree: whatever waits for them goes on, even if the kernel waits for whom serves them. Each is answered by the same line. `setsid --fork` rather than `&`, which would have SIGINT and SIGQUIT ignored.
 */
function makeCells({ uid, gid, tools, tree }: SetupOptions): string {
  const caps = '--bounding-set=-all --inh-caps=-all --ambient-caps=-all'
  const [shm, inside, drop] =
    tree === undefined
      ? ['/r/shm', `--map-user=${uid} --map-group=${gid} -R /r`, caps]
      : ['/shm', `--map-user=${tree.uid} --map-group=${tree.gid}`, ENTER_CAPS]
  const proc = tree === undefined ? '--mount-proc' : '--mount-proc=/r/proc'
  return `
echo ready
while read -r verb rest; do
case $verb in
f) for i in $rest; do set -- "$@" /k/$i.s; done
  ${tools.mkfifo} -m 600 "$@"; set --
  for i in $rest; do set -- "$@" ${shm}/$i; done
  ${tools.mkdir} -m 700 "$@"; set -- ;;
c) WAIT="${waitScript('/k/$rest.j')}" \\
  ${tools.setsid} -f ${tools.unshare} -U ${inside} --keep-caps -m -u -i -p --fork --kill-child \\
  -w /work/$rest ${proc} ${tools.setpriv} --no-new-privs ${drop} \\
  ${tools.awk} '${waiter()}' </dev/null >/k/$rest.s 2>&1 ;;
u) for d in ${ENDED.join(' ')}; do umount -i -n -c -f $d; done 2>/dev/null ;;
esac
echo $verb $rest
done
`
}

/** One of each file system: the kernel ends it though others are mounted from it and on it. */
const ENDED = ['/r/usr', '/r', '/t']

/** The waiter of a cell keeps one right: with it, the job's own script enters home's tree, and then gives it up. */
const ENTER_CAPS = '--bounding-set=-all,+sys_chroot --inh-caps=-all,+sys_chroot --ambient-caps=-all,+sys_chroot'

/** Where guests have something of their own: no path of the machine is shown there. */
const OWN = ['/dev', '/k', '/proc', '/shm', '/sys', '/tmp', '/var/tmp', '/work']

/** The owner's directories for guests; one that is not there now, such as an unplugged disk, is left out. */
function makePaths(paths: readonly string[], mounts: readonly Mount[]): string {
  let script = ''
  for (const entry of paths) {
    const path = realpath(entry.slice(0, -3))
    if (path === undefined || path === '/' || path.includes('\n') || OWN.some((own) => isUnder(path, own))) continue
    const [bind, ...remounts] = (entry.endsWith(':ro') ? bindReadOnly(path, mounts) : bindWritable(path, mounts)).split(
      '\n'
    )
    // Guests of a root daemon may not pass to it: then they don't see it. But what is shown is shown exactly so.
    script += `mkdir -p ${quote(`r${path}`)}\nif ${bind}; then\n${remounts.join('\n')}fi\n`
  }
  return script
}

function bindWritable(path: string, mounts: readonly Mount[]): string {
  const inner = mounts.filter((mount) => mount.path !== path && isUnder(mount.path, path)).map((mount) => mount.path)
  const target = (of: string) => quote(`r${of}`)
  const remounts = [path, ...inner].map((of) => {
    const locked = lockedOptions(coverOf(of, mounts)).split(',')
    return `mount -o ${['remount', 'bind', ...new Set(['nosuid', 'nodev', ...locked])].filter(Boolean).join(',')} ${target(of)}`
  })
  return `mount --rbind ${quote(path)} ${target(path)}\n${remounts.join('\n')}\n`
}

function realpath(path: string): string | undefined {
  try {
    const real = realpathSync(path, 'latin1')
    return statSync(real).isDirectory() ? real : undefined
  } catch {
    return undefined
  }
}

/** What guests see of this machine. */
function ownTree({ uid, gid, paths, devices }: SetupOptions, mounts: readonly Mount[]): string {
  return (
    DIRECTORIES +
    makeSystem(mounts, { before: OWN_MOUNTS }) +
    OWN_DIRECTORIES +
    makeDevices(devices) +
    makePaths(paths, mounts) +
    makeUsers(uid, gid) +
    makeResolver() +
    SAME_NAMES
  )
}

/** What the caller decides about the root of one home. */
export interface SetupOptions {
  uid: number
  gid: number
  /** Own network namespace with nothing but the loopback. */
  network: 'none' | 'machine'
  /** Directories of the machine that guests see, each with `:ro` or `:rw` at its end. */
  paths: readonly string[]
  /** Devices in /dev beyond the harmless ones. */
  devices: readonly string[]
  tools: Tools
  /** Path of `ip`, if there is one: without it even the loopback stays down. */
  ip: string | null
  /** Home's tree is what they see. */
  tree?: TreeSetup
}

function rootOf(options: SetupOptions, mounts: readonly Mount[]): string {
  const { tree, devices } = options
  if (tree === undefined) return ownTree(options, mounts)
  return tree.programs === 'target' ? mixedTree(tree, devices, mounts) : homesTree(tree, devices, mounts)
}

/** The whole script; `$1` is the directory of this home, with `root`, `k` and `work` in it. */
export function setupScript(options: SetupOptions): string {
  const { ip } = options
  const mounts = parseMounts(readFileSync('/proc/self/mountinfo', 'latin1'))
  const loopback = options.network === 'none' && ip !== null ? `${ip} link set lo up || :\n` : ''
  return (
    `set -e\nbase=$1\numask 022\n${loopback}` +
    'mount -t tmpfs -o mode=0755,size=2m kappa "$base/root"\ncd "$base/root"\n' +
    rootOf(options, mounts) +
    LEAVE +
    'set +e\nset --\n' +
    makeCells(options)
  )
}
