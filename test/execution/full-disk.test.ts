/** A disk that is full when a sandbox is to be built. */

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { needs } from '../require.ts'

/** Printed by a program that has a disk of its own, with less room than a sandbox needs. */
const PROGRAM = `
const { Keeper } = await import(process.argv[1])
const { findTools } = await import(process.argv[2])
const { readdirSync } = await import('node:fs')
const init = { scratchDirectory: process.argv[3], uid: 0, gid: 0, network: 'none', nice: 0, group: null, ...findTools() }
for (let attempt = 0; attempt < 3; attempt++) await Keeper.start(init).catch(({ name, message }) => console.log(name, message))
console.log(readdirSync(process.argv[3]).length, 'left')
`

t.test('says so, and leaves nothing behind', async (t) => {
  const disk = t.testdir()
  const source = (name: string) => join(import.meta.dirname, '../../src/execution', name)
  const script = 'mount -t tmpfs -o size=32k full "$3" && exec "$0" --input-type=module -e "$4" -- "$1" "$2" "$3"'
  const words = [process.execPath, source('keeper.ts'), source('tools.ts'), disk, PROGRAM]
  const { status, stdout, stderr } = spawnSync('unshare', ['-Urm', 'sh', '-c', script, ...words], {
    encoding: 'latin1'
  })
  if (!needs(t, !/unshare|mount/.test(stderr), `user namespaces: ${stderr.trim()}`)) return
  const line = 'SandboxError the sandbox could not be built: ENOSPC: no space left on device, write\n'
  t.match({ status, stdout, stderr }, { status: 0, stdout: `${line.repeat(3)}0 left\n`, stderr: '' })
})
