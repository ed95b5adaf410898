import t from 'tap'
import { fit, inAscii, sparkline, splitAt, widthOf, wrapped } from '../../src/cli/cells.ts'

t.test('cells of a text', async (t) => {
  const cases: [string, number][] = [
    ['', 0],
    ['make -j8', 8],
    ['größe', 5],
    ['日本語', 6],
    ['ｆｕｌｌ', 8],
    ['한글', 4],
    ['e\u0301', 1],
    ['😀!', 3],
    ['▁▂▃█…→', 6]
  ]
  for (const [text, width] of cases) t.equal(widthOf(text), width, text)
})

t.test('filled and cut to so many', async (t) => {
  t.equal(fit('nas', 5), 'nas  ')
  t.equal(fit('nas', 5, true), '  nas')
  t.equal(fit('desktop', 5), 'desk…')
  t.equal(fit('desktop', 7), 'desktop')
  t.equal(fit('日本語', 6), '日本語')
  t.equal(fit('日本語', 5), '日本…')
  t.equal(fit('日本語', 4), '日… ', 'half a character is none')
  t.equal(fit('日本語', 4, true), ' 日…')
  t.equal(fit('ab', 1), '…')
  t.equal(fit('ab', 0), '')
  t.equal(fit('ab', -3), '')
  t.strictSame(splitAt('日本語', 3), ['日', '本語'])
  t.strictSame(splitAt('abc', -1), ['', 'abc'])
})

t.test('over several lines', async (t) => {
  t.strictSame(wrapped('', 5), [''])
  t.strictSame(wrapped('one two three', 7), ['one two', 'three'])
  t.strictSame(wrapped('a bcdefgh', 6), ['a bcde', 'fgh'], 'a line that would be less than half full is not left so')
  t.strictSame(wrapped('abcdefgh', 3), ['abc', 'def', 'gh'])
  t.strictSame(wrapped('日本語日本語', 5), ['日本', '語日', '本語'])
})

t.test('columns of blocks', async (t) => {
  t.equal(sparkline([0, 1, 2, 3, 4, 5, 6, 7], 7, 8), '▁▂▃▄▅▆▇█')
  t.equal(sparkline([1, 2], 2, 4), '  ▅█')
  t.equal(sparkline([1, 2, 3], 3, 2), '▆█', 'the last ones')
  t.equal(sparkline([null, 1, null], 1, 3), ' █ ')
  t.equal(sparkline([-1, 99], 1, 2), '▁█')
  t.equal(sparkline([], 1, 2), '  ')
  t.equal(sparkline([1], 1, 0), '')
})

t.test('where nothing but ASCII is shown each text takes as many cells', async (t) => {
  t.equal(inAscii('plain \x1b[1mtext'), 'plain \x1b[1mtext')
  t.equal(inAscii('▁▂▃▄▅▆▇█'), '_.:-=+*#')
  t.equal(inAscii('größe 日本… ↑↓'), 'gr??e ????~ ^v')
})
