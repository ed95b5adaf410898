import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { VERSION } from '../../src/version.ts'
import { firstLine, gather, TestPeer, until } from './peers.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const NEWER = '999.0.0'

/** This program as its next version would be installed. */
function nextVersion(directory: string): string {
  cpSync(join(ROOT, 'dist'), join(directory, 'dist'), { recursive: true })
  mkdirSync(join(directory, 'node_modules'))
  for (const name of readdirSync(join(ROOT, 'node_modules')).filter((name) => /^node-linux-/.test(name))) {
    symlinkSync(join(ROOT, 'node_modules', name), join(directory, 'node_modules', name))
  }
  for (const file of ['client.cjs', 'daemon.mjs']) {
    const path = join(directory, 'dist', file)
    const text = readFileSync(path, 'utf8')
    t.ok(text.includes(`"${VERSION}"`), `${file} says its version`)
    writeFileSync(path, text.replaceAll(`"${VERSION}"`, `"${NEWER}"`))
  }
  return join(directory, 'dist/kappa')
}

t.test('a newer client uses the older daemon, which gives way when no job lives', async (t) => {
  const peer = await TestPeer.start(t, { name: 'laptop' })
  const newer = nextVersion(t.testdir())
  const run = (...args: string[]) => {
    const child = spawn(newer, args, { env: { ...process.env, ...peer.environment }, stdio: 'pipe' })
    child.stdin.end()
    return gather(child)
  }
  const job = peer.spawn(['run', '--local', 'sh', '-c', 'echo up; read line; echo $line'])
  const ended = gather(job)
  await firstLine(job)
  const { peerId } = await peer.status()
  t.match(await run('run', 'echo', 'served'), { code: 0, stdout: 'served\n' })
  t.equal((await peer.status()).version, VERSION, 'not while a job lives')
  job.stdin!.end('done\n')
  t.match(await ended, { code: 0, stdout: 'up\ndone\n' })
  const status = await until('the newer one serves', async () => {
    const { code, stdout } = await run('status', '--json')
    const status = code === 0 && JSON.parse(stdout)
    return status.version === NEWER && status
  })
  t.equal(status.peerId, peerId)
  t.equal(peer.daemon.exitCode, null, 'in the same process')
})
