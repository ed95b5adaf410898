import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { STUDIES } from '../../../scripts/reproduce/studies.ts'

const SCRIPT = fileURLToPath(new URL('../../../scripts/reproduce.ts', import.meta.url))

function reproduce(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, ...args], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

function filesIn(directory: string): Map<string, string> {
  return new Map(
    readdirSync(directory)
      .sort()
      .map((name) => [name, readFileSync(join(directory, name), 'utf8')])
  )
}

t.test('two runs write the same bytes: a page for each study, its plots, an index', async (t) => {
  const names = STUDIES.map(({ name }) => name)
  const directory = t.testdir()
  const [one, two] = [join(directory, 'one'), join(directory, 'two')]
  t.match(reproduce('--quick', '--into', one, ...names), { status: 0 })
  t.match(reproduce('--quick', '--into', two, ...names), { status: 0 })
  const files = filesIn(one)
  t.same(filesIn(two), files)
  const index = files.get('README.md')!
  for (const { name, title } of STUDIES) {
    t.match(index, `## [${title}](${name}.md)`)
    const page = files.get(`${name}.md`)!
    t.ok(page.startsWith(`# ${title}\n`), name)
    t.notMatch(page, /NaN|undefined|Infinity/, name)
    const pictures = [...page.matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map(([, file]) => file!)
    t.ok(pictures.length > 0, `${name} has a plot`)
    for (const picture of pictures) t.match(files.get(picture), /^<svg /, picture)
  }
})

t.test('wrong usage ends with 2 and one line', async (t) => {
  t.match(reproduce('nothing'), {
    status: 2,
    stdout: '',
    stderr: /^reproduce: there is no study nothing; there are: .+\n$/
  })
  t.match(reproduce('--quick'), { status: 2, stdout: '', stderr: /^reproduce: --quick needs --into DIR.*\n$/ })
})
