/** The pages of the studies, and their index: a table of what the pages themselves begin with. */

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Report, Study } from './study.ts'

const INDEX = 'README.md'

/** How a reader gets the same numbers. */
function footer(name: string): string {
  return `Made by \`npm run reproduce -- ${name}\`; the same code makes the same bytes.`
}

export function writePage(directory: string, { name, title }: Study, { summary, body, plots }: Report): void {
  mkdirSync(directory, { recursive: true })
  const page = [`# ${title}`, summary, body.trim(), footer(name)].join('\n\n')
  writeFileSync(join(directory, `${name}.md`), `${page}\n`)
  for (const [plot, svg] of plots) writeFileSync(join(directory, `${plot}.svg`), svg)
}

/** Of the pages that are there: those of the studies in their order, and behind them what else was written. */
export function writeIndex(directory: string, studies: readonly Study[]): void {
  const pages = readdirSync(directory).filter((file) => file.endsWith('.md') && file !== INDEX)
  const made = studies.map(({ name }) => `${name}.md`)
  const inOrder = [
    ...made.filter((page) => pages.includes(page)),
    ...pages.filter((page) => !made.includes(page)).sort()
  ]
  const entries = inOrder.map((page) => {
    const [title, summary] = readFileSync(join(directory, page), 'utf8').split('\n\n')
    return `## [${title!.slice(2)}](${page})\n\n${summary}`
  })
  const head = `# Results

What the papers say, beside what the same experiments give in kappa's simulator, which drives the very cores that the daemon
drives. \`npm run reproduce\` makes all of it anew but the grid (\`npm run reproduce -- grid\`), the same bytes for the same code.`
  writeFileSync(join(directory, INDEX), `${[head, ...entries].join('\n\n')}\n`)
}
