/** The Debian package, for Debian and Ubuntu. */

import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { VERSION } from '../../src/version.ts'
import { addPapers, layOut, type Platform, ROOT, run } from './layout.ts'

const HOME = 'usr/lib/kappa'

/** What the system's Node programs would be allowed with it, kappa's own is alone: the namespaces that guests live in. */
const apparmor = (node: string) => `# Made by the package kappa. Own additions belong into local/kappa.
abi <abi/4.0>,
include <tunables/global>

profile kappa ${node} flags=(unconfined) {
  userns,

  include if exists <local/kappa>
}
`

const control = ({ debian }: Platform, kibibytes: number) => `Package: kappa
Version: ${VERSION}
Architecture: ${debian}
Maintainer: the kappa developers <kappa@localhost>
Installed-Size: ${kibibytes}
Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6, util-linux, mount
Recommends: iproute2, perl-base
Section: utils
Priority: optional
Description: run commands on whichever of your machines finishes them soonest
 kappa lends the idle machines of a household to whichever of them needs more:
 kappa run CMD runs the command on the machine that finishes it soonest, as if
 it ran here. Machines are paired once by a person; there is no server, no
 account and no configuration. It brings its own Node.
`

/** From Ubuntu 23.10 on only programs with a profile make user namespaces; elsewhere its parser doesn't know that word. */
const POSTINST = `#!/bin/sh
set -e
if [ "$1" = configure ] && [ -e /etc/apparmor.d/abi/4.0 ]; then
  cp /${HOME}/apparmor /etc/apparmor.d/kappa
  if [ -d /sys/kernel/security/apparmor ] && command -v apparmor_parser >/dev/null; then
    apparmor_parser --replace --write-cache /etc/apparmor.d/kappa ||
      echo 'kappa: the AppArmor profile could not be loaded; kappa doctor says what that means' >&2
  fi
fi
`

const POSTRM = `#!/bin/sh
set -e
if [ "$1" = remove ] && [ -e /etc/apparmor.d/kappa ]; then
  if [ -d /sys/kernel/security/apparmor ] && command -v apparmor_parser >/dev/null; then
    apparmor_parser --remove /etc/apparmor.d/kappa || true
  fi
  rm -f /etc/apparmor.d/kappa
fi
`

/** Its path; what is in it stays in `work`/deb. */
export async function makeDeb(platform: Platform, work: string, output: string, quick: boolean): Promise<string> {
  const root = join(work, 'deb')
  const home = join(root, HOME)
  await layOut(platform, home, work)
  await addPapers(root, {
    bash: 'usr/share/bash-completion/completions/kappa',
    zsh: 'usr/share/zsh/vendor-completions/_kappa',
    fish: 'usr/share/fish/vendor_completions.d/kappa.fish',
    man: 'usr/share/man/man1/kappa.1.gz'
  })
  writeFileSync(join(home, 'apparmor'), apparmor(`/${HOME}/node_modules/node-${platform.name}/bin/node`))
  mkdirSync(join(root, 'usr/bin'))
  symlinkSync('../lib/kappa/dist/kappa', join(root, 'usr/bin/kappa'))
  addDocuments(join(root, 'usr/share/doc/kappa'), join(home, 'node_modules', `node-${platform.name}`, 'LICENSE'))
  addControl(root, platform)
  const path = join(output, `kappa_${VERSION}_${platform.debian}.deb`)
  const compression = quick ? ['-Znone'] : ['-Zxz', '-z6']
  run('dpkg-deb', ['--root-owner-group', ...compression, '--build', root, path])
  return path
}

function addDocuments(directory: string, nodeLicense: string): void {
  mkdirSync(directory, { recursive: true })
  cpSync(join(ROOT, 'README.md'), join(directory, 'README.md'))
  cpSync(join(ROOT, 'docs'), join(directory, 'docs'), { recursive: true, filter: (path) => !path.endsWith('/results') })
  const parts = [join(ROOT, 'LICENSE'), join(ROOT, 'dist/LICENSES'), nodeLicense].map((path) =>
    readFileSync(path, 'utf8')
  )
  const [own, bundled, node] = parts
  const text = `kappa:\n\n${own}\nWhat is bundled with it:\n\n${bundled}\nNode, which comes with it:\n\n${node}`
  writeFileSync(join(directory, 'copyright'), text)
}

function addControl(root: string, platform: Platform): void {
  const files = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
  const sums = files.map((path) => {
    const digest = createHash('md5').update(readFileSync(path)).digest('hex')
    return `${digest}  ${relative(root, path)}\n`
  })
  const bytes = files.reduce((sum, path) => sum + statSync(path).size, 0)
  const directory = join(root, 'DEBIAN')
  mkdirSync(directory)
  writeFileSync(join(directory, 'control'), control(platform, Math.ceil(bytes / 1024)))
  writeFileSync(join(directory, 'md5sums'), sums.join(''))
  writeFileSync(join(directory, 'postinst'), POSTINST, { mode: 0o755 })
  writeFileSync(join(directory, 'postrm'), POSTRM, { mode: 0o755 })
}
