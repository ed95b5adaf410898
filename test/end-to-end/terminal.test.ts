/** Programs that are used at a terminal, on another machine, as a person in tmux uses them. */

import { type ChildProcess, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { needs } from '../require.ts'
import { jobProcesses, KAPPA, longJob, pair, TestPeer, until } from './peers.ts'

const tools = ['tmux', 'vim.tiny', 'htop', 'less', 'bash']
const missing = tools.filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0)
if (!needs(t, missing.length === 0, `${missing.join(', ')}: apt install tmux vim-tiny htop less`)) process.exit()

const [laptop, desktop] = await Promise.all([
  TestPeer.start(t, { name: 'laptop' }),
  TestPeer.start(t, { name: 'desktop', config: '[guests]\nnice = 0' })
])
await pair(desktop, laptop)

/** Runs a command on the desktop; one that could not be asked in time is asked again. */
const there = join(laptop.directory, 'there')
const again =
  'while :; do "$KAPPA" run --plain --on desktop "$@"; status=$?; [ "$status" = 125 ] || exit "$status"; done'
writeFileSync(there, `#!/bin/sh\n${again}\n`, { mode: 0o755 })

/** A shell in tmux, where `there CMD` runs it on the desktop. */
class Pane {
  readonly #server: string

  constructor(t: Test, client: string, size: [number, number] = [100, 30]) {
    this.#server = `kappa-test-${process.pid}-${randomBytes(4).toString('hex')}`
    t.teardown(() => void this.tmux('kill-server'))
    const { HOME, KAPPA_DIR, KAPPA_NAME } = laptop.environment
    const own = { HOME, KAPPA_DIR, KAPPA_NAME, KAPPA, KAPPA_CLIENT: client, PS1: '$ ', HISTFILE: '' }
    const settings = Object.entries({ ...own, PATH: `${laptop.directory}:${process.env.PATH}` })
    const words = ['env', ...settings.map(([name, value]) => `${name}=${value}`), 'bash', '--norc', '--noprofile']
    const command = words.map((word) => `'${word}'`).join(' ')
    this.tmux(
      '-f',
      '/dev/null',
      'new-session',
      '-d',
      '-x',
      `${size[0]}`,
      '-y',
      `${size[1]}`,
      '-c',
      laptop.work,
      command
    )
  }

  tmux(...args: string[]): string {
    return spawnSync('tmux', ['-L', this.#server, ...args], { encoding: 'utf8' }).stdout
  }

  get screen(): string {
    return this.tmux('capture-pane', '-p').trimEnd()
  }

  type(text: string): void {
    this.tmux('send-keys', '-l', text)
  }

  /** By its name in tmux. */
  press(key: string): void {
    this.tmux('send-keys', key)
  }

  run(line: string): void {
    this.type(line)
    this.press('Enter')
  }

  async shows(what: RegExp): Promise<string> {
    return await until(
      () => `the screen shows ${what}; it shows:\n${this.screen}`,
      () => (what.test(this.screen) ? this.screen : undefined)
    )
  }
}

/** Once for each client. */
function inTmux(name: string, test: (t: Test, pane: Pane) => Promise<unknown>): void {
  for (const client of ['', 'node']) t.test(`${name} (${client || 'native'})`, (t) => test(t, new Pane(t, client)))
}

inTmux('vim edits; Ctrl-Z and fg', async (t, pane) => {
  pane.run(`there sh -c 'vim.tiny -u NONE -c "set showmode" file; cat file'`)
  await pane.shows(/~\n~[\s\S]*file/)
  pane.type('ihello from here')
  await pane.shows(/hello from here[\s\S]*INSERT/)
  pane.press('Escape')
  pane.press('C-z')
  await pane.shows(/Stopped/)
  pane.run('echo at home; stty -a | grep -c -- -icanon')
  await pane.shows(/at home\n0/)
  pane.run('fg')
  await pane.shows(/hello from here[\s\S]*~\n~/)
  pane.type(':wq')
  pane.press('Enter')
  await pane.shows(/\nhello from here\n\$$/)
  t.pass()
})

t.test('a file that comes along is edited there, and comes back', async (t) => {
  const pane = new Pane(t, '')
  pane.run('echo old >file; there --in file --out file vim.tiny -u NONE file; echo "<$(cat file)>"')
  await pane.shows(/^old\n~\n~/)
  pane.type('cwnew')
  pane.press('Escape')
  pane.type(':wq')
  pane.press('Enter')
  await pane.shows(/\n<new>\n\$$/)
  t.pass()
})

inTmux('less pages what comes by a pipe; htop draws and follows the size', async (t, pane) => {
  pane.run('seq 1000 | there less')
  await pane.shows(/^1\n2\n[\s\S]*\n:$/)
  pane.press('Space')
  await pane.shows(/^30\n31\n[\s\S]*\n:$/)
  pane.type('G')
  await pane.shows(/\n1000\n\(END\)$/)
  pane.type('q')
  await pane.shows(/\$$/)
  pane.run('clear; there seq 1000 | less')
  await pane.shows(/^1\n2\n[\s\S]*\n:$/)
  pane.type('q')
  pane.run('there htop')
  await pane.shows(/PID[\s\S]*F10\s*Quit/)
  pane.tmux('set-option', 'window-size', 'manual')
  pane.tmux('resize-window', '-x', '120', '-y', '20')
  await until('htop has 20 lines', () => pane.screen.split('\n').length === 20 && /F10\s*Quit *$/.test(pane.screen))
  pane.type('q')
  await pane.shows(/\n\$$/)
  t.pass()
})

inTmux('a shell with jobs of its own, Python, a password', async (t, pane) => {
  pane.run('there --env PS1 bash --norc --noprofile -i')
  await pane.shows(/\n\S*\$$/)
  pane.run(`sh -c 'echo u""p; exec sleep 1000'`)
  await pane.shows(/\nup$/)
  pane.press('C-z')
  await pane.shows(/Stopped/)
  pane.run('jobs; fg')
  await pane.shows(/\nsh -c [^\n]*$/)
  pane.press('C-c')
  pane.run('stty size; exit 7')
  await pane.shows(/30 100\nexit\n\$$/)
  pane.run('echo "<$?>"')
  await pane.shows(/<7>/)
  pane.run('there /usr/bin/python3 -q')
  await pane.shows(/\n>>>$/)
  pane.run('import sys; print(sys.stdin.isatty(), 6 * 7)')
  await pane.shows(/True 42/)
  pane.press('C-c')
  await pane.shows(/KeyboardInterrupt/)
  pane.press('C-d')
  await pane.shows(/\n\$$/)
  pane.run(`clear; there bash -c 'read -rsp "password: " word; echo "[$word]"'`)
  await pane.shows(/password:$/)
  pane.type('secret')
  pane.press('Enter')
  t.match(await pane.shows(/password: \[secret\]\n\$$/), /^(?!.*secret.*secret)/s)
})

inTmux('Ctrl-C, Ctrl-\\, an end by a signal, and 2>err', async (t, pane) => {
  pane.run(`there sh -c 'echo u""p; exec sleep 1000'; echo "<$?>"`)
  await pane.shows(/\nup$/)
  pane.press('C-c')
  await pane.shows(/\$$/)
  pane.run(`there sh -c 'echo u""p; ulimit -c 0; exec sleep 1000'; echo "<$?>"`)
  await until('it is up', () => pane.screen.split('\n').filter((line) => line === 'up').length === 2)
  pane.press('C-\\')
  await pane.shows(/<131>/)
  pane.run(`there sh -c 'tty; tty <&2; echo wrong >&2' 2>err; echo; cat err`)
  await pane.shows(/\/dev\/pts\/\d+\nnot a tty\n\nwrong\n\$$/)
  t.pass()
})

t.test('50 MiB through it are byte-exact, both ways', async (t) => {
  const path = join(laptop.directory, 'bytes')
  const bytes = randomBytes(50 * 1024 * 1024)
  writeFileSync(path, bytes)
  const sum = createHash('sha256').update(bytes).digest('hex')
  const pane = new Pane(t, '')
  const job = `stty raw -echo; printf up; head -c ${bytes.length}`
  // Not before the mode is set.
  const feed = 'until grep -q up shown; do sleep 0.01; done; cat "$1"'
  writeFileSync(
    join(laptop.work, 'through'),
    `: >shown; { ${feed}; } | there -t sh -c '${job}' >shown; tail -c +3 shown | sha256sum | cut -c -64; echo "over"\n`
  )
  pane.run(`sh through '${path}'`)
  t.match(await pane.shows(/over\n\$$/), sum)
})

t.test('the job is hung up when its client, or the terminal of that, is gone', async (t) => {
  const gone: [string, (pane: Pane, client: () => ChildProcess['pid']) => void][] = [
    ['the client is killed', (_, client) => process.kill(client()!, 'SIGKILL')],
    ['the window is closed', (pane) => pane.tmux('kill-pane')]
  ]
  for (const [what, end] of gone) {
    const pane = new Pane(t, '')
    const { mark, argv } = longJob()
    pane.run(`there ${argv.map((word) => `'${word}'`).join(' ')}`)
    await pane.shows(/\nup$/)
    t.ok(jobProcesses(mark).length > 0)
    const client = () => clientOf(mark)
    end(pane, client)
    await until(`nothing is left: ${what}`, () => jobProcesses(mark).length === 0)
  }
})

t.test('a daemon that dies leaves the terminal as it was', async (t) => {
  const pane = new Pane(t, '')
  pane.run(`there sh -c 'echo u""p; exec sleep 1000'`)
  await pane.shows(/\nup$/)
  await laptop.killDaemon()
  await pane.shows(/kappa: the daemon here ended while the job was with it/)
  pane.run('stty -a | grep -c -- -icanon')
  await pane.shows(/\n0\n\$$/)
  t.pass()
})

/** The native client of a job, by its arguments. */
function clientOf(mark: string): number | undefined {
  const { stdout } = spawnSync('sh', ['-c', `grep -lsa ${mark} /proc/[0-9]*/cmdline`], { encoding: 'utf8' })
  for (const path of stdout.split('\n').filter((path) => existsSync(path))) {
    if (readFileSync(path, 'latin1').includes('kappa-client-linux')) return Number(path.split('/')[2])
  }
  return undefined
}
