import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Command } from '../../src/cli/command.ts'

const root = join(import.meta.dirname, '../..')
const main = readFileSync(join(root, 'src/cli/main.ts'), 'utf8')
/** Each with its help; of those that need the list of all, none. */
const COMMANDS = new Map<string, string>()
for (const [, name, file] of main.matchAll(/^ {2}'?([a-z-]+)'?: .*import\('\.\/([\w-]+)\.ts'\)/gm)) {
  const { command } = (await import(`../../src/cli/${file}.ts`)) as { command?: Command }
  COMMANDS.set(name!, command?.help ?? '')
}
COMMANDS.set('run', ((await import('../../src/cli/run.ts')) as { command: Command }).command.help)
/** Behind these stand other programs with options of their own. */
const STARTERS = new Set(['run', 'each', 'shim'])

/** What is written as code: spans, and lines of blocks; but for lines that are messages. */
function codeOf(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8').replaceAll(/^(?:- | {2})`[^`\n]+`\\?$/gm, '')
  const blocks = [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].flatMap(([, block]) => block!.split('\n'))
  const indented = text.match(/^ {4}\S.*$/gm) ?? []
  const spans = [...text.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/`([^`\n]+)`/g)].map(([, span]) => span!)
  return [...blocks, ...indented, ...spans]
}

t.test('the documentation names commands and options that there are', async (t) => {
  t.ok(COMMANDS.size >= 20)
  let seen = 0
  for (const page of ['README.md', ...globSync('docs/*.md', { cwd: root, exclude: ['docs/protocol.md'] })]) {
    for (const code of codeOf(page)) {
      for (const [whole, name, rest] of code.matchAll(/(?:^|[$(|;] ?|: )kappa ([a-z][a-z-]*)((?: [^;|)#]*)?)/g)) {
        seen++
        const help = COMMANDS.get(name!)
        if (help === undefined) t.fail(`${page}: there is no ${whole}`)
        else if (!STARTERS.has(name!) && help !== '')
          for (const option of rest!.match(/(?<= )--[a-z-]+/g) ?? [])
            if (!help.includes(option) && option !== '--help') t.fail(`${page}: ${name} has no ${option} (${code})`)
      }
    }
  }
  t.ok(seen > 100, `${seen} of them`)
})
