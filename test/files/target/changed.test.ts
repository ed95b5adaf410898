import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { needs } from '../../require.ts'
import { finished, fuseUnavailable } from '../fuse/mounted.ts'
import { TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable()

/** A program there that says `ready`, waits for a line, and goes on. */
async function met(t: Test, script: string, meanwhile: (home: string) => void) {
  const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-changed-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  writeFileSync(join(home, 'file'), Buffer.alloc(400_000, 'a'))
  await using mount = await TreeMount.start()
  const child = mount.spawn(home, ['python3', '-c', script])
  const over = finished(child, script)
  const ready = new Promise<void>((resolve) => child.stdout!.once('data', () => resolve()))
  await Promise.race([ready, over])
  meanwhile(home)
  await mount.settle()
  child.stdin!.end('\n')
  const { code, signal, stdout, stderr } = await over
  return { home, code, signal, said: stdout.replace(/^ready\n/, ''), stderr }
}

const READER = `import os, sys
f = open('file', 'rb'); f.read(10); print('ready', flush=True); sys.stdin.readline()
`

const hasPython = spawnSync('python3', ['--version']).status === 0

if (needs(t, unavailable === undefined, unavailable ?? '') && needs(t, hasPython, 'python3')) {
  t.test('truncated at home while it is read: it ends there', async (t) => {
    const script = `${READER}print(len(f.read()) <= 400000, os.fstat(f.fileno()).st_size, len(open('file', 'rb').read()))`
    t.match(await met(t, script, (home) => truncateSync(join(home, 'file'), 5)), { code: 0, said: 'True 5 5\n' })
  })

  t.test('truncated at home while it is mapped: SIGBUS beyond its end, as here', async (t) => {
    const script = `import mmap, sys
f = open('file', 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
print('ready', flush=True); sys.stdin.readline(); print(m[0:3]); sys.stdout.flush(); m[399000]`
    const { code, signal } = await met(t, script, (home) => truncateSync(join(home, 'file'), 5))
    t.ok(signal === 'SIGBUS' || code === 135, `${code} ${signal}`)
  })

  t.test('removed at home while it is read: an error, or what it held', async (t) => {
    const script = `${READER}
try: print(set(f.read()) <= {97})
except OSError as e: print(e.errno == 116)
try: open('file')
except FileNotFoundError: print('gone')`
    t.match(await met(t, script, (home) => unlinkSync(join(home, 'file'))), { code: 0, said: 'True\ngone\n' })
  })

  t.test('grown at home while it is read: all of it is read', async (t) => {
    const script = `${READER}rest = f.read(); print(len(rest), rest[-3:])`
    const said = "400003 b'bbb'\n"
    t.match(await met(t, script, (home) => appendFileSync(join(home, 'file'), 'b'.repeat(13))), { code: 0, said })
  })

  t.test('removed at home while it is written: it is written, without a name', async (t) => {
    const script = `import os, sys
f = open('file', 'r+b'); f.write(b'x'); f.flush(); print('ready', flush=True); sys.stdin.readline()
f.write(b'y' * 100000); f.flush(); os.fsync(f.fileno()); f.seek(0); print(f.read(3), os.fstat(f.fileno()).st_nlink)`
    const { code, said, stderr } = await met(t, script, (home) => unlinkSync(join(home, 'file')))
    t.match({ code, said }, { code: 0, said: "b'xyy' 0\n" }, stderr)
  })

  t.test('another file is put in its place while it is written: each is its own', async (t) => {
    const script = `import sys
f = open('file', 'r+b'); print('ready', flush=True); sys.stdin.readline(); f.write(b'z' * 10); f.close(); print(open('file').read())`
    const put = (home: string) => {
      unlinkSync(join(home, 'file'))
      writeFileSync(join(home, 'file'), 'other')
    }
    const { home, code, said, stderr } = await met(t, script, put)
    t.match({ code, said }, { code: 0, said: 'other\n' }, stderr)
    t.equal(readFileSync(join(home, 'file'), 'latin1'), 'other')
  })
}
