import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '../..')
const PAGES = [
  'README.md',
  ...globSync('docs/**/*.md', { cwd: root }),
  ...globSync('benchmarks/**/*.md', { cwd: root, exclude: ['**/node_modules/**'] })
]

/** What stands within code is no link. */
function textOf(page: string): string {
  const text = readFileSync(join(root, page), 'utf8')
  return text.replaceAll(/^```[\s\S]*?^```$/gm, '').replaceAll(/`[^`\n]*`/g, 'code')
}

/** The anchors that GitHub makes of headings: of the same words the second one ends with `-1`. */
function anchorsOf(page: string): Set<string> {
  const text = readFileSync(join(root, page), 'utf8').replaceAll(/^```[\s\S]*?^```$/gm, '')
  const times = new Map<string, number>()
  for (const heading of text.match(/^#+ .*$/gm) ?? []) {
    const anchor = heading
      .replace(/^#+ /, '')
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-')
    times.set(anchor, (times.get(anchor) ?? 0) + 1)
  }
  return new Set([...times].flatMap(([anchor, count]) => [anchor, ...(count > 1 ? [`${anchor}-${count - 1}`] : [])]))
}

t.test('every link within the documentation leads somewhere', async (t) => {
  for (const page of PAGES) {
    for (const [, target] of textOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue
      const [path, anchor] = target!.split('#')
      const file = path === '' ? page : join(dirname(page), path!)
      if (!existsSync(join(root, file))) t.fail(`${page}: there is no ${target}`)
      else if (anchor !== undefined && !anchorsOf(file).has(anchor))
        t.fail(`${page}: there is no heading for ${target}`)
    }
  }
})

t.test('every page can be reached from the README', async (t) => {
  const reached = new Set(['README.md'])
  for (const page of reached) {
    for (const [, target] of textOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      const file = join(dirname(page), target!.split('#')[0]!)
      if (PAGES.includes(file)) reached.add(file)
    }
  }
  t.same(
    PAGES.filter((page) => !reached.has(page)),
    []
  )
})
