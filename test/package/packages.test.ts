import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { VERSION } from '../../src/version.ts'
import { finished } from '../cli/fake-daemon.ts'
import { needs } from '../require.ts'

const ROOT = join(import.meta.dirname, '../..')
const PLATFORM = `linux-${process.arch}`

function temporary(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'kappa-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function shell(script: string, env: Record<string, string>) {
  return finished(
    spawn('sh', ['-ec', script], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  )
}

t.test('what people are given can be installed, runs, and can be removed', async (t) => {
  const output = temporary(t)
  const tools = ['dpkg-deb', 'tar', 'gzip'].every((tool) => spawnSync(tool, ['--version']).status === 0)
  if (!needs(t, tools, 'dpkg-deb, tar and gzip')) return
  const words = ['scripts/package.ts', '--quick', '--platform', PLATFORM, '--output', output]
  const made = await finished(spawn(process.execPath, [...words, '--only', 'archive', '--only', 'deb'], { cwd: ROOT }))
  t.match(made, { code: 0, stderr: '' })
  t.match(made.stdout, /\.tar\.gz: \d+\.\d MB, installed \d+\.\d MB, starts in \d+ ms\n.*\.deb: \d+/)

  await t.test('the archive', async (t) => {
    const home = temporary(t)
    for (const directory of ['.local/lib', '.local/bin']) mkdirSync(join(home, directory), { recursive: true })
    const archive = join(output, `kappa-${VERSION}-${PLATFORM}.tar.gz`)
    t.equal(spawnSync('tar', ['-xzf', archive, '-C', join(home, '.local/lib')]).status, 0)
    symlinkSync('../lib/kappa/dist/kappa', join(home, '.local/bin/kappa'))
    const env = {
      PATH: `${home}/.local/bin:/usr/bin:/bin`,
      HOME: home,
      KAPPA_DIR: join(home, 'k'),
      KAPPA_LISTEN: '127.0.0.1:0'
    }
    const script = 'kappa version; kappa run --local echo hello; kill "$(cut -d " " -f 1 "$KAPPA_DIR/state/lock")"'
    t.match(await shell(script, env), { code: 0, stdout: `kappa ${VERSION}\nhello\n`, stderr: '' })
  })

  await t.test('the Debian package, on a copy of this system', async (t) => {
    const can =
      'mount -t tmpfs none "$1" && mkdir "$1/u" "$1/w" "$1/m" && mount -t overlay none -o "lowerdir=/,upperdir=$1/u,workdir=$1/w" "$1/m"'
    const copy = temporary(t)
    const possible = spawnSync('unshare', ['-m', 'sh', '-ec', can, 'sh', copy]).status === 0
    if (!needs(t, possible && spawnSync('dpkg', ['--version']).status === 0, 'root, overlayfs and dpkg')) return
    const there = `
      exec 2>&1
      dpkg --force-unsafe-io --no-triggers --install /mnt/kappa_${VERSION}_*.deb >/dev/null
      dpkg --verify kappa
      kappa version
      kappa run --local echo hello
      kill "$(cut -d ' ' -f 1 "$KAPPA_DIR/state/lock")"
      grep -o 'profile kappa.*' /etc/apparmor.d/kappa
      zcat /usr/share/man/man1/kappa.1.gz | grep -c '^.SH "kappa '
      bash -c '. /usr/share/bash-completion/completions/kappa; complete -p kappa'
      dpkg --no-triggers --remove kappa >/dev/null
      ls /usr/bin/kappa /usr/lib/kappa /etc/apparmor.d/kappa || true`
    const script = `${can.replaceAll('$1', copy)}
      mount --rbind /proc ${copy}/m/proc
      mount --rbind /dev ${copy}/m/dev
      mount --bind ${output} ${copy}/m/mnt
      mkdir -p ${copy}/m/etc/apparmor.d/abi
      # As on Ubuntu 24.04.
      touch ${copy}/m/etc/apparmor.d/abi/4.0
      cd /
      chroot ${copy}/m sh -ec "$THERE"`
    const env = { THERE: there, HOME: '/root', KAPPA_DIR: '/tmp/k', KAPPA_LISTEN: '127.0.0.1:0', LC_ALL: 'C' }
    const unshared = spawn('unshare', ['-m', 'sh', '-ec', script], {
      env: { PATH: process.env.PATH, ...env },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    const { code, stdout, stderr } = await finished(unshared)
    t.match({ code, stderr }, { code: 0, stderr: '' })
    const lines = stdout.trimEnd().split('\n')
    t.strictSame(lines.slice(0, 3), [
      `kappa ${VERSION}`,
      'hello',
      `profile kappa /usr/lib/kappa/node_modules/node-${PLATFORM}/bin/node flags=(unconfined) {`
    ])
    t.ok(Number(lines[3]) >= 20, 'each command is in the manual')
    t.equal(lines[4], 'complete -F _kappa kappa')
    t.strictSame(
      lines.slice(5).filter((line) => !line.endsWith('No such file or directory')),
      [],
      'nothing is left'
    )
  })
})
