/** In a job, for benchmarks/files.ts: random reads and writes of a file. FILE WHAT COUNT; prints operations a second. */

import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'

const PAGE = 4096

const [path, what, words] = process.argv.slice(2) as [string, 'read' | 'write', string]
const count = Number(words)
const file = openSync(path, what === 'read' ? 'r' : 'r+')
const pages = Math.floor(fstatSync(file).size / PAGE)
const page = Buffer.alloc(PAGE, 7)
let seed = 1
/** The same places in each run: a generator by Lehmer. */
const draw = (): number => {
  seed = (seed * 48_271) % 0x7fff_ffff
  return (seed % pages) * PAGE
}
const began = performance.now()
for (let i = 0; i < count; i++) {
  if (what === 'read') readSync(file, page, 0, PAGE, draw())
  else writeSync(file, page, 0, PAGE, draw())
}
if (what === 'write') fsyncSync(file)
closeSync(file)
process.stdout.write(`${count / ((performance.now() - began) / 1000)}\n`)
