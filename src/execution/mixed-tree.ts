/**
 * The root for jobs that see home's tree with this machine's programs in it, as shell text: what is at the top of home's tree,
 * each mounted for itself, beside this machine's system directories. So a program finds its loader and libraries whatever
 * home is.
 */

import { existsSync } from 'node:fs'
import { closeScript, type FuseMount, mountScript } from '../files/fuse/mount.ts'
import { NOT_FILES, SYSTEM } from '../files/home/view.ts'
import { DEVICE_FILES, DIRECTORIES, OVER, OWN_DIRECTORIES, OWN_MOUNTS, TREE, type TreeSetup } from './homes-tree.ts'
import { bindReadOnly, LINKS, MORE, type Mount, makeDevices, makeResolver, makeSystem } from './mounts.ts'
import { quote } from './quote.ts'
import { CLOSE_SERVER } from './tree.ts'

/** Names at the top of home's tree that are shown. */
const TOP_MAX = 64
/** Bytes of home's list of users, and of groups. */
const USERS_BYTES_MAX = 500_000

/** Not of home: this machine has its own, or nobody sees them. */
const NOT_HOMES = [...SYSTEM, ...NOT_FILES].map((path) => path.slice(1)).join('|')

const HOMES = `
n=0
for p in t/* t/.[!.]*; do
f=\${p#t/}
case $f in ${NOT_HOMES}) continue ;; esac
if [ -L "$p" ]; then ln -s "$(readlink "$p")" "r/$f"
elif [ -d "$p" ]; then mkdir "r/$f"; mount --bind "$p" "r/$f"
elif [ -f "$p" ]; then : > "r/$f"; mount --bind "$p" "r/$f"
else continue; fi
n=$((n+1)); [ $n -lt ${TOP_MAX} ] || break
done
`

/** The numbers of users are home's, so their names are, too. */
const USERS = `
for f in passwd group; do
if [ -f t/etc/$f ] && [ -f r/etc/$f ] && head -c ${USERS_BYTES_MAX} t/etc/$f > $f
then mount -o bind,ro $f r/etc/$f; fi
done
`

/** `-1`: there is no second mount. */
export function mixedTree(tree: TreeSetup, devices: readonly string[], mounts: readonly Mount[]): string {
  const mount: FuseMount = {
    ...{ descriptor: TREE, directory: 't', source: 'kappa', isReadOnly: false, checksModes: false },
    ...{ uid: 0, gid: 0 }
  }
  const { server, uid, gid, daemon } = tree
  const links = LINKS.filter((path) => existsSync(path))
  return `${DIRECTORIES}mkdir t ${NOT_FILES.map((path) => `r${path}`).join(' ')}
${mountScript(mount)}${server} ${uid} ${gid} ${TREE} -1 ${daemon} >/dev/null &
${closeScript([mount])}${CLOSE_SERVER}${
  DEVICE_FILES +
  makeSystem(mounts, { root: '', paths: SYSTEM, before: OWN_MOUNTS }) +
  OWN_DIRECTORIES +
  makeSystem(mounts, { paths: SYSTEM }) +
  HOMES +
  USERS +
  makeDevices(devices, '.') +
  OVER
}${MORE.map((path) => `mkdir -p ${quote(`r${path}`)}\n${bindReadOnly(path, mounts)}`).join('')}${
  (links.length > 0 ? makeSystem(mounts, { paths: links }) : '') + makeResolver()
}`
}
