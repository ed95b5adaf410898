import t from 'tap'
import { NAME_LENGTH_MAX, printable } from '../src/printable.ts'

t.test('a name that is only text stays as it is', async (t) => {
  for (const name of ['desktop', 'Küche 2', '書斎', '🖥 nas']) t.equal(printable(name), name)
})

t.test('what would act on a terminal or hide is written out', async (t) => {
  t.equal(printable('\u001b[2Jnas\u0007'), '\\u{1b}[2Jnas\\u{7}')
  t.equal(printable('a\r\nb\u009bc\u007f'), 'a\\u{d}\\u{a}b\\u{9b}c\\u{7f}')
  t.equal(printable('a\u202eb\u200bc\u2028d\ufeff'), 'a\\u{202e}b\\u{200b}c\\u{2028}d\\u{feff}')
  t.equal(printable('a\ud800b'), 'a\\u{d800}b')
})

t.test('long text is cut, and shows that it was', async (t) => {
  t.equal(printable('x'.repeat(64)), 'x'.repeat(64))
  t.equal(printable('x'.repeat(65)), `${'x'.repeat(63)}…`)
  t.equal(printable('🖥'.repeat(5000)), `${'🖥'.repeat(63)}…`)
  t.equal([...printable('\u001b'.repeat(5000))].length, NAME_LENGTH_MAX)
  t.equal(printable('abcdef', 4), 'abc…')
})
