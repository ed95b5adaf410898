import t from 'tap'
import { Heap } from '../../src/simulator/heap.ts'
import { randomFrom } from '../../src/simulator/random.ts'
import { VirtualTime } from '../../src/simulator/virtual-time.ts'

t.test('events happen by time, and at the same time in the order in which they were asked for', async (t) => {
  const time = new VirtualTime()
  const seen: string[] = []
  const note = (what: string) => () => seen.push(`${what} ${time.now}`)
  time.at(20, note('c'))
  time.at(10, note('a'))
  time.at(20, note('d'))
  time.at(10, () => {
    note('b')()
    time.at(5, note('late'))
    time.after(10, note('e'))
  })
  time.at(30, note('never'))
  time.runUntil(25)
  t.same(seen, ['a 10', 'b 10', 'late 10', 'c 20', 'd 20', 'e 20'])
  t.equal(time.now, 25)
  t.equal(time.pending, 1)
})

t.test('it stops when that is enough', async (t) => {
  const time = new VirtualTime()
  let count = 0
  for (let at = 0; at < 10; at++) time.at(at, () => count++)
  time.runUntil(100, () => count === 3)
  t.equal(time.now, 2)
})

t.test('a heap gives back what was pushed, in order', async (t) => {
  const random = randomFrom(7)
  const heap = new Heap<number>((a, b) => a < b)
  const numbers = Array.from({ length: 1_000 }, () => Math.floor(random() * 100))
  for (const number of numbers) heap.push(number)
  const popped = numbers.map(() => heap.pop())
  t.same(
    popped,
    numbers.toSorted((a, b) => a - b)
  )
  t.equal(heap.pop(), undefined)
  t.equal(heap.size, 0)
})
