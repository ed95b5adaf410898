/** The native programs as they are in the package: built from the source beside them, and running on their machines. */

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { FRAME } from '../../src/daemon/control-codec.ts'
import { dataHeader } from '../../src/protocols/exec/frames.ts'
import { fakeDaemon, finished, launcherIn } from '../cli/fake-daemon.ts'
import { needs } from '../require.ts'

const ROOT = join(import.meta.dirname, '../..')
/** Where each is, without the machine it is for. */
const PREBUILT = {
  'kappa-client': join(ROOT, 'src/cli/native/prebuilt'),
  'kappa-enter': join(ROOT, 'src/execution/native/prebuilt'),
  'kappa-terminal': join(ROOT, 'src/execution/native/prebuilt'),
  'kappa-files': join(ROOT, 'src/files/native/prebuilt')
}
const PROGRAMS = Object.entries(PREBUILT).flatMap(([program, directory]) =>
  ['arm64', 'x64'].map((machine) => ({ directory, name: `${program}-linux-${machine}` }))
)
const COMPILER = '12.2.0'
const EMULATOR = '/usr/bin/qemu-aarch64-static'

t.test('they are there for each kind of machine, small and static', async (t) => {
  t.strictSame(
    [...new Set(Object.values(PREBUILT))].flatMap((directory) =>
      readdirSync(directory).filter((name) => name.startsWith('kappa-'))
    ),
    PROGRAMS.map(({ name }) => name)
  )
  for (const { directory, name } of PROGRAMS) {
    const bytes = readFileSync(join(directory, name))
    t.ok(bytes.equals(readFileSync(join(ROOT, 'dist', name))), `${name} is in dist`)
    t.ok(bytes.length < 100_000, `${bytes.length} bytes`)
    t.notOk(bytes.includes('/ld-'), 'no loader')
  }
})

t.test('the same source gives the same bytes', async (t) => {
  const compilers = ['x86_64', 'aarch64'].map((machine) => {
    return spawnSync(`${machine}-linux-gnu-gcc`, ['-dumpfullversion'], { encoding: 'utf8' }).stdout?.trim()
  })
  const fits = compilers.every((version) => version === COMPILER)
  if (!needs(t, fits, `gcc ${COMPILER} for both machines, as in Debian 12`)) return
  const directory = join(t.testdir(), 'built')
  mkdirSync(directory)
  const { status, stderr } = spawnSync(join(ROOT, 'scripts/build-native.sh'), [directory], { encoding: 'utf8' })
  if (!needs(t, status === 0 || !stderr.includes('are needed'), stderr.trim())) return
  t.match({ status, stderr }, { status: 0, stderr: '' })
  for (const { directory: prebuilt, name } of PROGRAMS)
    t.ok(readFileSync(join(directory, name)).equals(readFileSync(join(prebuilt, name))), name)
})

t.test('the one for arm64 runs commands here and there', async (t) => {
  if (!needs(t, process.arch === 'arm64' || existsSync(EMULATOR), EMULATOR)) return
  const program = [...(process.arch === 'arm64' ? [] : [EMULATOR]), join(ROOT, 'dist/kappa-client-linux-arm64')]
  const directory = await fakeDaemon(t, {
    run: (connection, asked) => {
      const [name] = (asked as { argv: string[] }).argv
      if (name === 'sh') return connection.tell(FRAME.local, {})
      connection.tell(FRAME.started, { kind: 'own' })
      let received = 0
      connection.onFrame((frame) => {
        if (frame.type === FRAME.eof) connection.tell(FRAME.end, { exitCode: null, signal: 'SIGTERM' })
        if (frame.type !== FRAME.data || !('bytes' in frame)) return
        connection.send(dataHeader(0, 1, received), Buffer.from(frame.bytes))
        received += frame.bytes.length
      })
    }
  })
  const env = { PATH: process.env.PATH, KAPPA_DIR: directory }
  const run = (...args: string[]) => {
    const [emulator, ...words] = [...program, launcherIn(directory), 'run', ...args]
    const child = spawn(emulator!, words, { env })
    child.stdin.end('x'.repeat(100_000))
    return finished(child)
  }
  t.match(await run('sh', '-c', 'wc -c; exit 7'), { code: 7, stdout: /^\s*100000\n$/, stderr: '' })
  t.match(await run('elsewhere'), { signal: 'SIGTERM', stdout: 'x'.repeat(100_000), stderr: '' })
  t.match(await run('--help'), { code: 99 })
})
