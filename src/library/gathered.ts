import type { Readable } from 'node:stream'
import { KappaError } from '../errors.ts'

/** All that a stream gives. Throws LimitError when that is more than `maxBytes`. */
export async function gathered(stream: Readable, name: string, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes)
      throw new KappaError('LimitError', `${name} is longer than ${maxBytes} bytes; read it as a stream`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
