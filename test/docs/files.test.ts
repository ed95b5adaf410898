import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DENIED_IN_HOME } from '../../src/files/home/view.ts'

t.test('what is told to be refused of a user’s directory is what is', async (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/files.md'), 'utf8')
  const [, list] = /### What is refused\n\n([^#]+)/.exec(page)!
  t.same(
    [...list!.matchAll(/`~\/([^`]+)`/g)].map(([, path]) => path),
    DENIED_IN_HOME
  )
})
