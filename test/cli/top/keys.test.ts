import t from 'tap'
import { Keys } from '../../../src/cli/top/keys.ts'

const pressed = (text: string) => new Keys().push(Buffer.from(text, 'latin1'))

t.test('characters and sequences', async (t) => {
  t.strictSame(pressed('qK?'), ['q', 'K', '?'])
  t.strictSame(pressed('\t\r\n\x03\x1a\f\x1c'), ['tab', 'enter', 'enter', 'ctrl c', 'ctrl z', 'ctrl l', 'ctrl \\'])
  t.strictSame(pressed('\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[Z'), ['up', 'down', 'page up', 'page down', 'back tab'])
  t.strictSame(pressed('\x1b[H\x1b[4~\x1bOF\x1b[1~'), ['home', 'end', 'end', 'home'])
  t.strictSame(pressed('ü\x00\x07\x7fq'), ['q'], 'what is no key here is nothing')
  t.strictSame(pressed('\x1b[1;5C\x1b[200\x1b[15~q'), ['q'], 'sequences that mean nothing here')
})

t.test('a sequence in pieces', async (t) => {
  const keys = new Keys()
  t.strictSame(keys.push(Buffer.from('\x1b')), [])
  t.equal(keys.waits, true)
  t.strictSame(keys.push(Buffer.from('[')), [])
  t.strictSame(keys.push(Buffer.from('B')), ['down'])
  t.equal(keys.waits, false)
  t.strictSame(keys.flush(), [])
})

t.test('ESC alone', async (t) => {
  const keys = new Keys()
  t.strictSame(keys.push(Buffer.from('\x1b')), [])
  t.strictSame(keys.flush(), ['escape'])
  t.strictSame(keys.push(Buffer.from('q')), ['q'])
  t.strictSame(pressed('\x1bq'), ['escape', 'q'])
  t.strictSame(pressed('\x1b\x1b[A'), ['escape', 'up'])
})

t.test('what is pasted is no keys', async (t) => {
  t.strictSame(pressed('a\x1b[200~ky\x1b[A\x1b[201~b'), ['a', 'b'])
  const keys = new Keys()
  const pasted = `\x1b[200~${'ky'.repeat(10_000)}\x1b[201~q`
  const got = [...pasted].flatMap((character) => keys.push(Buffer.from(character)))
  t.strictSame(got, ['q'], 'also in pieces')
})

t.test('a sequence without an end is given up', async (t) => {
  t.strictSame(pressed(`\x1b[${'1'.repeat(100)}`), [])
  const keys = new Keys()
  keys.push(Buffer.from(`\x1b[${'1'.repeat(100)}`))
  t.strictSame(keys.push(Buffer.from('q')), ['q'])
})
