/**
 * `node scripts/session.ts`, as root: plays the session that the README shows, and draws docs/session.svg from what came of
 * it. A weak laptop and a desktop on an emulated LAN, real daemons, real terminals, a project as in the benchmarks of files.
 * What is typed stands below, everything else is what was printed.
 */

import { cpSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { sourceOf } from '../benchmarks/files-household.ts'
import { Household } from '../benchmarks/household.ts'
import { KAPPA, until } from '../test/end-to-end/peers.ts'
import { lanAvailable } from '../test/lan.ts'
import { drawTerminal } from './session-picture.ts'

const PICTURE = fileURLToPath(new URL('../docs/session.svg', import.meta.url))
const TITLE = 'A terminal: kappa status, kappa run make on another machine, kappa why'
const COLUMNS = 100
/** Of what a command prints, lines that are shown from its beginning and from its end. */
const SHOWN = { first: 4, last: 3 }
/** The laptop is a slow one. Each is bound to a CPU of its own, and sees of the machine what it uses itself. */
const [CORES, BOUND] = [
  [0.3, 0.9],
  [0, 1]
]

function fail(problem: string): never {
  process.stderr.write(`session: ${problem}\n`)
  process.exit(2)
}

if (process.argv.length > 2) fail('usage: node scripts/session.ts')
const lack = lanAvailable({ delay: true })
if (lack !== undefined) fail(lack)

const household = await Household.make(2, { names: ['laptop', 'desktop'], cores: CORES!, bound: BOUND! })
try {
  writeFileSync(PICTURE, drawTerminal(TITLE, await play(household)))
} finally {
  await household.close()
}
process.exit()

async function play({ lan, home }: Household): Promise<string[]> {
  const { name, directory, build } = sourceOf('lua')
  const cwd = `/root/${name}`
  cpSync(directory, lan.outside(0, cwd), { recursive: true })
  await until('the desktop is known and has come to rest', async () => {
    const { metric, reachable } = await home.status()
    return metric > 0 && reachable.some((other) => other.metric > 2 * metric)
  })
  const lines: string[] = []
  const type = async (shown: string, command = shown): Promise<string[]> => {
    const printed = await inTerminal(command)
    lines.push(`\x1b[32mlaptop\x1b[0m:\x1b[34m~/${name}\x1b[0m$ ${shown}`, ...shortened(printed), '')
    return printed
  }
  const inTerminal = async (command: string): Promise<string[]> => {
    const script = `stty cols ${COLUMNS} -echo; PATH=${KAPPA.replace(/\/[^/]*$/, '')}:$PATH; ${command}`
    const { stdout } = await lan.run(0, ['script', '-qec', script, '/dev/null'], {
      env: { ...home.environment, TERM: 'xterm-256color', SHELL: '/bin/bash' },
      cwd,
      timeoutMs: 600_000
    })
    return stdout.replaceAll('\r', '').trimEnd().split('\n')
  }
  await type('kappa status')
  const printed = await type(`time kappa run -v ${build}`, `TIMEFORMAT='%0R s'; time kappa run -v ${build}`)
  const job =
    /kappa why (\w+)/.exec(printed.join('\n'))?.[1] ?? fail(`the job ran here: ${printed.slice(0, 3).join('; ')}`)
  await type('ls -l src/lua')
  await type(`kappa why ${job}`)
  return lines.slice(0, -1)
}

function shortened(lines: string[]): string[] {
  if (lines.length <= 12) return lines
  return [...lines.slice(0, SHOWN.first), '…', ...lines.slice(-SHOWN.last)]
}
