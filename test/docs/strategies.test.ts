import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { INFORMATION_POLICIES } from '../../src/core/information/index.ts'
import { STRATEGIES } from '../../src/core/strategies/index.ts'
import { plain, tablesOf } from './markdown.ts'

const root = join(import.meta.dirname, '../..')
const text = readFileSync(join(root, 'docs/strategies.md'), 'utf8')
const [strategies, policies] = tablesOf(text)

t.test('the strategies told are those of the code, with what they are made for', async (t) => {
  t.same(
    strategies!.rows.map((cells) => cells.map(plain)),
    STRATEGIES.map(({ name, description, information }) => [name, description, information])
  )
})

t.test('the information policies told are those of the code', async (t) => {
  t.same(
    policies!.rows.map((cells) => cells.slice(0, 2).map(plain)),
    INFORMATION_POLICIES.map(({ name, description }) => [name, description])
  )
})

t.test('the strategy that is shown is the one that runs', async (t) => {
  const source = readFileSync(join(root, 'src/core/strategies/threshold.ts'), 'utf8')
  const [, shown] = /```ts\n(const CHOOSER[\s\S]*?)```/.exec(text)!
  t.ok(source.includes(shown!.trim()))
})
