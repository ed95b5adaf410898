import { spawnSync } from 'node:child_process'
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { writeIndex } from '../../../scripts/reproduce/pages.ts'
import { STUDIES } from '../../../scripts/reproduce/studies.ts'

const SCRIPT = fileURLToPath(new URL('../../../scripts/reproduce.ts', import.meta.url))
const RESULTS = fileURLToPath(new URL('../../../docs/results', import.meta.url))
/** Studies of each kind: of a few machines, and of scenarios. */
const AGAIN = ['kappa-table-3', 'short-processes', 'information']

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
  const directory = t.testdir()
  const [one, two] = [join(directory, 'one'), join(directory, 'two')]
  const studies = STUDIES.filter(({ name }) => !name.startsWith('grid-') || name === 'grid-clique-8')
  t.match(reproduce('--quick', '--into', one, ...studies.map(({ name }) => name)), { status: 0 })
  t.match(reproduce('--quick', '--into', two, ...AGAIN), { status: 0 })
  const files = filesIn(one)
  const again = filesIn(two)
  t.ok(again.size > 2 * AGAIN.length, 'pages, plots and an index')
  for (const [name, content] of again) if (name !== 'README.md') t.equal(content, files.get(name), name)
  const index = files.get('README.md')!
  for (const { name, title } of studies) {
    t.match(index, `## [${title}](${name}.md)`)
    const page = files.get(`${name}.md`)!
    t.ok(page.startsWith(`# ${title}\n`), name)
    t.notMatch(page, /NaN|undefined|Infinity/, name)
    const pictures = [...page.matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map(([, file]) => file!)
    t.ok(pictures.length > 0, `${name} has a plot`)
    for (const picture of pictures) t.match(files.get(picture), /^<svg /, picture)
  }
})

t.test('what is committed of the tables of the Kappa paper was made by the code as it is', async (t) => {
  const directory = t.testdir()
  t.match(reproduce('--quick', '--into', directory, 'kappa-table-2', 'kappa-table-3'), { status: 0 })
  for (const [name, content] of filesIn(directory)) {
    if (name !== 'README.md') t.equal(readFileSync(join(RESULTS, name), 'utf8'), content, name)
  }
})

t.test('the committed index is that of the committed pages', async (t) => {
  const directory = t.testdir()
  cpSync(RESULTS, directory, { recursive: true })
  writeIndex(directory, STUDIES)
  t.same(filesIn(directory), filesIn(RESULTS))
})

t.test('wrong usage ends with 2 and one line', async (t) => {
  t.match(reproduce('nothing'), {
    status: 2,
    stdout: '',
    stderr: /^reproduce: there is no study nothing; there are: .+\n$/
  })
  t.match(reproduce('--quick'), { status: 2, stdout: '', stderr: /^reproduce: --quick needs --into DIR.*\n$/ })
})
