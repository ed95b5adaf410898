/** What a program file needs of a machine to run there at all: what its ELF header and notes say. */

import type { Needs } from '../core/types.ts'

/** Bytes at the beginning of a program that are looked at; linkers put headers and notes first. */
export const PROGRAM_HEAD_BYTES = 64 * 1024

/** Names as `process.arch` has them, by e_machine. 32-bit programs run on more than one kind of machine: nothing is said of them. */
const ARCHITECTURES: Readonly<Record<number, string>> = {
  21: 'ppc64',
  22: 's390x',
  62: 'x64',
  183: 'arm64',
  243: 'riscv64',
  258: 'loong64'
}

const MAGIC = Buffer.from('\x7fELF\x02', 'latin1')
const LITTLE_ENDIAN = 1
const PT_LOAD = 1
const PT_GNU_PROPERTY = 0x6474e553
/** Bit n: x86-64-v(n+1) is needed. */
const X86_ISA_NEEDED = 0xc0008002
/** Programs are linked for no smaller pages. */
const PAGE_BYTES_MIN = 4_096

/** `undefined` when it is no program, or of a kind that isn't known. */
export function programClass(head: Buffer): Needs['class'] {
  if (head.length < 64 || !head.subarray(0, MAGIC.length).equals(MAGIC) || head[5] !== LITTLE_ENDIAN) return undefined
  const arch = ARCHITECTURES[head.readUInt16LE(18)]
  if (arch === undefined) return undefined
  const { align, cpuLevel } = segmentsOf(head)
  return {
    os: 'linux',
    arch,
    ...(cpuLevel > 1 ? { cpuLevel } : {}),
    // Where pages come in several sizes, one that is linked for the smallest runs on no others.
    ...(arch !== 'x64' && align === PAGE_BYTES_MIN ? { pageSize: PAGE_BYTES_MIN } : {})
  }
}

function segmentsOf(head: Buffer): { align: number; cpuLevel: number } {
  const begin = Number(head.readBigUInt64LE(32))
  const size = head.readUInt16LE(54)
  const count = head.readUInt16LE(56)
  let [align, cpuLevel] = [0, 0]
  for (let index = 0; index < count; index++) {
    const at = begin + index * size
    if (size < 56 || at + 56 > head.length) break
    const type = head.readUInt32LE(at)
    const offset = Number(head.readBigUInt64LE(at + 8))
    const bytes = Number(head.readBigUInt64LE(at + 32))
    if (type === PT_LOAD) align = Math.max(align, Number(head.readBigUInt64LE(at + 48)))
    else if (type === PT_GNU_PROPERTY) cpuLevel = cpuLevelOf(head.subarray(offset, offset + bytes))
  }
  return { align, cpuLevel }
}

/** The highest of the levels that a note of properties asks for; 0 when it asks for none. */
function cpuLevelOf(note: Buffer): number {
  // Behind the sizes, the type and the name `GNU`.
  for (let at = 16; at + 12 <= note.length; ) {
    const bytes = note.readUInt32LE(at + 4)
    if (note.readUInt32LE(at) === X86_ISA_NEEDED && bytes === 4) return 32 - Math.clz32(note.readUInt32LE(at + 8) & 0xf)
    at += 8 + Math.ceil(bytes / 8) * 8
  }
  return 0
}
