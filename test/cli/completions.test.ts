import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Command } from '../../src/cli/command.ts'
import { type Commands, complete } from '../../src/cli/completions/complete.ts'
import { needs } from '../require.ts'
import { Seat } from '../terminals.ts'
import { fakeDaemon, kappa, kappaDir } from './fake-daemon.ts'

const KAPPA = join(import.meta.dirname, '../../scripts/kappa')
const SOURCE = join(import.meta.dirname, '../../src/cli')
const WITH_MORE = '/usr/share/bash-completion/bash_completion'

const JOB = { argv: ['make', '-j8'], target: 'nas', home: 'here', startedAt: 0, exitCode: null, signal: null }
const JOBS = [
  { ...JOB, id: 'j7running', state: 'running', endedAt: null, detached: false },
  { ...JOB, id: 'j8over', state: 'exited', endedAt: 1, detached: true }
]
const STATUS = {
  neighbours: [
    { name: 'nas-upstairs', kind: 'own', connected: true },
    { name: 'desk', kind: 'friend', connected: false }
  ],
  reachable: [{ name: 'attic', through: 'desk' }]
}

const daemon = (t: Test) => fakeDaemon(t, { status: () => STATUS, ps: () => JOBS })

/** As main.ts has them; that runs when it is imported. */
const main = readFileSync(join(SOURCE, 'main.ts'), 'utf8')
const names = [...main.matchAll(/^ {2}'?([a-z-]+)'?: async \(|^ {2}'?([a-z-]+)'?: \(\) => import/gm)].map(
  ([, a, b]) => (a ?? b)!
)
const commands: Commands = Object.fromEntries(
  names.map((name) => [
    name,
    async () => {
      const module = await import(join(SOURCE, `${name}.ts`))
      return { command: (module.command ?? module.completionsOf(commands)) as Command }
    }
  ])
)

/** The answer for the last of these words, without what they mean. */
async function words(directory: string, ...line: string[]): Promise<string[]> {
  process.env.KAPPA_DIR = directory
  const [kind, ...others] = await complete(commands, ['kappa', ...line], line.length)
  return kind === 'words' ? others.map((line) => line.split('\t')[0]!) : [`(${kind})`]
}

t.test('every option that a command declares is in its help, and every one of its help is declared', async (t) => {
  const directory = kappaDir(t)
  const all = await words(directory, '')
  t.ok(all.includes('run') && all.length > 20)
  t.strictSame(
    names.filter((name) => !all.includes(name)),
    ['detached-job'],
    'the help lists all but that'
  )
  for (const name of all) {
    const { help } = (await commands[name]!()).command
    const declared = await words(directory, name, '-')
    const own = name === 'each' ? declared.slice(0, declared.indexOf('--files')) : declared
    const short: Record<string, string> = { '--arg-file': '-a', '--null': '-0', '--jobs': '-j', '--signal': '-s' }
    for (const option of own.filter((option) => option !== '--help'))
      t.match(help, new RegExp(`${short[option] ?? option}\\b`), `${name} ${option}`)
    for (const [, option] of help.matchAll(/^ {2}(--[a-z-]+)/gm)) t.ok(declared.includes(option!), `${name} ${option}`)
  }
})

t.test('what may stand where', async (t) => {
  const directory = await daemon(t)
  const cases: [string[], string[]][] = [
    [['unp'], ['unpair']],
    [
      ['unpair', ''],
      ['nas-upstairs', 'desk', 'attic']
    ],
    [['unpair', 'desk', ''], []],
    [['run', '--on', 'de'], ['desk']],
    [
      ['run', '--on', 'desk,'],
      ['desk,nas-upstairs', 'desk,attic']
    ],
    [['run', '--on=n'], ['--on=nas-upstairs']],
    [['run', '--on', '=', 'n'], ['nas-upstairs']],
    [['run', '--not', '=', 'desk,n'], ['desk,nas-upstairs']],
    [
      ['run', '--tools', ''],
      ['home', 'target']
    ],
    [['run', '--on', 'desk', '--pl'], ['--plain']],
    [['run', '--in', 'x'], ['(files)']],
    [['run', '--cwd', 'x'], ['(directories)']],
    [['run', ''], ['(command 2)']],
    [['run', '-v', '--', 'gcc', '-'], ['(command 4)']],
    [['run', '--on', '=', 'desk', 'gcc', '-'], ['(command 5)']],
    [['each', '-j', '4', 'gzip', '-'], ['(command 4)']],
    [['each', 'gzip', ':::', 'x'], ['(files)']],
    [
      ['why', 'j'],
      ['j7running', 'j8over']
    ],
    [['kill', 'j'], ['j7running']],
    [['kill', '-s', 'KI'], ['KILL']],
    [['logs', 'j'], ['j8over']],
    [
      ['config', ''],
      ['get', 'set', 'edit', 'path']
    ],
    [['config', 'set', 'machine.'], ['machine.cores']],
    [['shim', 'add', 'g'], ['(programs)']],
    [
      ['completions', ''],
      ['bash', 'zsh', 'fish']
    ],
    [['stauts', ''], ['(files)']]
  ]
  for (const [line, expected] of cases) t.strictSame(await words(directory, ...line), expected, line.join(' '))
})

t.test('without a daemon there are no names, and none is started', async (t) => {
  t.strictSame(await words(kappaDir(t), 'unpair', ''), [])
})

t.test('a shell that there is not', async (t) => {
  t.match(await kappa(kappaDir(t), ['completions', 'csh']), {
    code: 2,
    stderr: 'kappa: completions: it takes bash, zsh or fish; see: kappa completions --help\n'
  })
})

/** What is typed, what the Tab adds of it, and what kappa is called with then (zsh takes the slash of a directory back). */
const TYPED: [string, string, string][] = [
  ['kappa compl', 'etions', 'completions|>'],
  ['kappa run --on nas-up', 'stairs', 'run|--on|nas-upstairs|>'],
  ['kappa run --tools=tar', 'get', 'run|--tools=target|>'],
  ['kappa why j7r', 'unning', 'why|j7running|>'],
  ['kappa run --cwd some-dir', 'ectory', 'run|--cwd|some-directory'],
  ['kappa run unusual-pro', 'gram', 'run|unusual-program|>'],
  ['kappa run -v unusual-program some-fi', 'le.txt', 'run|-v|unusual-program|some-file.txt|>'],
  ['kappa each gzip ::: some-fi', 'le.txt', 'each|gzip|:::|some-file.txt|>']
]

async function inShell(t: Test, command: string[], start: string, file: string): Promise<void> {
  const directory = await daemon(t)
  for (const name of ['bin', 'home/some-directory']) mkdirSync(join(directory, name), { recursive: true })
  const home = join(directory, 'home')
  writeFileSync(join(home, 'some-file.txt'), '')
  // Says what it would do, but for completing.
  const stub = `#!/bin/sh\n[ "$1" = completions ] && [ "$2" ] && exec '${KAPPA}' "$@"\nprintf '<'; printf '%s|' "$@"; echo '>'\n`
  writeFileSync(join(directory, 'bin/kappa'), stub, { mode: 0o755 })
  writeFileSync(join(directory, 'bin/unusual-program'), '#!/bin/sh\n', { mode: 0o755 })
  mkdirSync(join(home, file, '..'), { recursive: true })
  writeFileSync(join(home, file), `cd '${home}'\n${start}\n`)
  const seat = new Seat(
    t,
    command.map((word) => word.replace('~', home)),
    {
      ...{ HOME: home, ZDOTDIR: home, KAPPA_DIR: directory, TERM: 'xterm', LC_ALL: 'C' },
      PATH: `${directory}/bin:/usr/local/bin:/usr/bin:/bin`
    }
  )
  await seat.shows('ready>')
  for (const [typed, added, called] of TYPED) {
    let shown = seat.text.length
    // Without the rest: what is typed is shown, too.
    seat.type(typed)
    await seat.shows(typed.slice(-3), shown)
    shown = seat.text.length
    seat.type('\t')
    await seat.shows(added, shown)
    seat.type('\r')
    await seat.shows(`<${called}`, shown)
  }
  t.pass('all completed')
}

const there = (program: string) => spawnSync(program, ['--version']).status === 0

t.test('bash', async (t) => {
  if (!needs(t, there('bash'), 'bash')) return
  const start = 'PS1="ready>"; eval "$(kappa completions bash)"'
  await inShell(t, ['bash', '--noprofile', '--rcfile', '~/rc', '-i'], start, 'rc')
})

t.test('bash with the completions of other programs', async (t) => {
  if (!needs(t, existsSync(WITH_MORE), WITH_MORE)) return
  const start = `PS1="ready>"; . ${WITH_MORE}; eval "$(kappa completions bash)"`
  await inShell(t, ['bash', '--noprofile', '--rcfile', '~/rc', '-i'], start, 'rc')
})

t.test('zsh', async (t) => {
  if (!needs(t, there('zsh'), 'zsh')) return
  const start = 'PS1="ready>"; autoload -U compinit; compinit -u -D; eval "$(kappa completions zsh)"'
  await inShell(t, ['zsh', '-i'], start, '.zshrc')
})

t.test('fish', async (t) => {
  if (!needs(t, there('fish'), 'fish')) return
  const start = 'function fish_prompt; echo "ready>"; end; kappa completions fish | source'
  await inShell(t, ['fish', '-i'], start, '.config/fish/config.fish')
})
