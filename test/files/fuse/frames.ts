/** Frames for tests: recorded ones, and the means to make others. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { OPERATIONS } from '../../../src/files/fuse/codec.ts'
import { Frame } from '../../../src/files/fuse/frame.ts'
import type { Request } from '../../../src/files/fuse/requests.ts'

export const RECORDED: ReadonlyMap<string, Buffer> = new Map(
  readFileSync(join(import.meta.dirname, 'fixtures/frames.txt'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name, hex] = /^(.*): ([0-9a-f]+) #/.exec(line) ?? []
      return [name!, Buffer.from(hex!, 'hex')]
    })
)

/** A read buffer with the frame, and other bytes behind it as an earlier request left them. */
export function frameOf(bytes: Uint8Array): Frame {
  const memory = Buffer.from(new ArrayBuffer(bytes.length + 64))
  memory.fill(0x41)
  memory.set(bytes)
  const frame = new Frame(memory)
  frame.take(bytes.length)
  return frame
}

/** A frame with its length set right. */
export function makeFrame(opcode: number, body: Uint8Array, nodeid = 1, unique = 2): Buffer {
  const header = Buffer.alloc(40)
  header.writeUInt32LE(40 + body.length, 0)
  header.writeUInt32LE(opcode, 4)
  header.writeBigUInt64LE(BigInt(unique), 8)
  header.writeBigUInt64LE(BigInt(nodeid), 16)
  return Buffer.concat([header, body])
}

export function decode(bytes: Uint8Array): Request {
  const frame = frameOf(bytes)
  const keep = (data: Buffer) => ({ data: Buffer.from(data), release: () => {} })
  return OPERATIONS[frame.opcode]!.decode(frame, { keep })
}

/** 32- and 64-bit numbers and strings, one after the other, as C lays them out. */
export function struct(...fields: (number | bigint | string)[]): Buffer {
  return Buffer.concat(
    fields.map((field) => {
      if (typeof field === 'string') return Buffer.from(`${field}\0`, 'latin1')
      const bytes = Buffer.alloc(typeof field === 'bigint' ? 8 : 4)
      if (typeof field === 'bigint') bytes.writeBigUInt64LE(BigInt.asUintN(64, field))
      else bytes.writeUInt32LE(field >>> 0)
      return bytes
    })
  )
}
