import t from 'tap'
import { Blocks } from '../../../src/protocols/exec/blocks.ts'

const BLOCK = 10_000

/** Bytes of a stream from one offset to another, each telling where it belongs. */
function bytesOf(begin: number, end: number): Uint8Array {
  return Uint8Array.from({ length: end - begin }, (_, index) => ((begin + index) * 7) % 251)
}

t.test('what is appended in pieces of any size comes out in order, in pieces of one block at most', async (t) => {
  const blocks = new Blocks(BLOCK)
  const queue: Uint8Array[] = []
  let offset = 0
  for (const size of [1, 3, 9_000, 4_000, 25_000, 1, BLOCK, 2]) {
    blocks.append(queue, bytesOf(offset, offset + size))
    offset += size
  }
  t.equal(Buffer.compare(Buffer.concat(queue), bytesOf(0, offset)), 0)
  t.ok(queue.every(({ length }) => length <= BLOCK))
  // The first, which may stay the only one, is small.
  t.same(
    queue.map(({ length }) => length),
    [4_096, BLOCK, BLOCK, BLOCK, BLOCK, offset - 4_096 - 4 * BLOCK]
  )
})

t.test('what was taken from the queue stays as it was while more is appended', async (t) => {
  const blocks = new Blocks(BLOCK)
  const sent: Uint8Array[] = []
  for (let offset = 0; offset < 50_000; offset += 700) {
    const queue: Uint8Array[] = []
    blocks.append(queue, bytesOf(offset, offset + 700))
    sent.push(...queue)
  }
  t.equal(Buffer.compare(Buffer.concat(sent), bytesOf(0, Buffer.concat(sent).length)), 0)
})

t.test('memory is used again when its bytes were received there, and not before', async (t) => {
  const blocks = new Blocks(BLOCK)
  let offset = 0
  const append = (size: number): Uint8Array[] => {
    const queue: Uint8Array[] = []
    blocks.append(queue, bytesOf(offset, offset + size))
    offset += size
    return queue
  }
  const [first, second] = append(2 * BLOCK)
  blocks.release(BLOCK - 1)
  const [third] = append(BLOCK)
  t.not(third!.buffer, first!.buffer)
  t.equal(Buffer.compare(first!, bytesOf(0, BLOCK)), 0)
  blocks.release(BLOCK)
  const [fourth] = append(BLOCK)
  t.equal(fourth!.buffer, first!.buffer)
  t.equal(Buffer.compare(second!, bytesOf(BLOCK, 2 * BLOCK)), 0)
  t.equal(Buffer.compare(fourth!, bytesOf(3 * BLOCK, 4 * BLOCK)), 0)
})
