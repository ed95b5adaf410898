import { readFileSync } from 'node:fs'
import t from 'tap'
import { PROGRAM_HEAD_BYTES, programClass } from '../../src/machine/program-class.ts'

const X64 = 62
const ARM64 = 183

/** An ELF file with segments of these types, and a note of properties behind them. */
function elf(machine: number, aligns: number[], isaNeeded?: number): Buffer {
  const count = aligns.length + 1
  const note = 64 + count * 56
  const head = Buffer.alloc(note + 48)
  head.write('\x7fELF\x02\x01\x01', 'latin1')
  head.writeUInt16LE(machine, 18)
  head.writeBigUInt64LE(64n, 32)
  head.writeUInt16LE(56, 54)
  head.writeUInt16LE(count, 56)
  for (const [index, align] of aligns.entries()) {
    head.writeUInt32LE(1, 64 + index * 56)
    head.writeBigUInt64LE(BigInt(align), 64 + index * 56 + 48)
  }
  if (isaNeeded === undefined) return head
  const at = 64 + aligns.length * 56
  head.writeUInt32LE(0x6474e553, at)
  head.writeBigUInt64LE(BigInt(note), at + 8)
  head.writeBigUInt64LE(48n, at + 32)
  head.writeUInt32LE(4, note)
  head.writeUInt32LE(32, note + 4)
  head.writeUInt32LE(5, note + 8)
  head.write('GNU\0', note + 12)
  // Another property comes first.
  for (const [offset, value] of [0xc0000002, 4, 3, 0, 0xc0008002, 4, isaNeeded, 0].entries())
    head.writeUInt32LE(value, note + 16 + offset * 4)
  return head
}

t.test('a program runs on machines of its architecture', async (t) => {
  t.same(programClass(elf(X64, [4096])), { os: 'linux', arch: 'x64' })
  t.same(programClass(elf(ARM64, [65536])), { os: 'linux', arch: 'arm64' })
  const here = readFileSync(process.execPath).subarray(0, PROGRAM_HEAD_BYTES)
  t.match(programClass(here), { os: 'linux', arch: process.arch })
})

t.test('of a level of the CPU that it asks for, or a higher one', async (t) => {
  for (const [bits, cpuLevel] of [
    [0b0001, undefined],
    [0b0011, 2],
    [0b0111, 3],
    [0b1000, 4]
  ] as const) {
    t.equal(programClass(elf(X64, [4096], bits))?.cpuLevel, cpuLevel)
  }
})

t.test('with pages no larger than it is linked for', async (t) => {
  t.same(programClass(elf(ARM64, [4096, 4096])), { os: 'linux', arch: 'arm64', pageSize: 4096 })
  t.same(programClass(elf(ARM64, [4096, 16384])), { os: 'linux', arch: 'arm64' })
})

t.test('nothing is said of what is no program, cut off or odd', async (t) => {
  t.equal(programClass(Buffer.from('#!/bin/sh\necho\n'.padEnd(100))), undefined)
  t.equal(programClass(Buffer.alloc(0)), undefined)
  t.equal(programClass(elf(9999, [])), undefined)
  const whole = elf(X64, [4096], 0b0111)
  for (let length = 0; length < whole.length; length++) programClass(whole.subarray(0, length))
  for (let index = 5; index < whole.length; index++) {
    const odd = Buffer.from(whole)
    odd[index] = 0xff
    programClass(odd)
  }
  t.pass('nothing is thrown')
})
