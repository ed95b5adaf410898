import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { unitText } from '../../src/cli/service/unit.ts'
import { needs } from '../require.ts'
import { type Finished, finished, kappaDir } from './fake-daemon.ts'

const KAPPA = join(import.meta.dirname, '../../scripts/kappa')

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within 20 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Does with the unit what systemd does: runs what is in it. Each call is a line of its log. */
const SYSTEMCTL = `#!/bin/sh
shift 3
echo "$*" >>"$STUB/calls"
unit=$XDG_CONFIG_HOME/systemd/user/kappa.service
pid=$(cat "$STUB/pid" 2>/dev/null || echo 0)
# A zombie has none.
[ -n "$(tr -d '\\0' <"/proc/$pid/cmdline" 2>/dev/null)" ] || pid=0
case $1 in
  enable) touch "$STUB/enabled" ;;
  is-enabled) [ -e "$STUB/enabled" ] ;;
  start)
    [ $pid = 0 ] || exit 0
    command=$(sed -n 's/^ExecStart=//p' "$unit")
    # Nothing else of the caller's than what is in the unit.
    eval "exec env -i HOME='$HOME' PATH='$PATH' XDG_RUNTIME_DIR='$XDG_RUNTIME_DIR' $(sed -n 's/^Environment=//p' "$unit" | sed 's/%%/%/g' | tr '\\n' ' ') setsid $command" >"$STUB/journal" 2>&1 </dev/null &
    echo $! >"$STUB/pid"
    ;;
  show)
    printf 'FragmentPath=%s\\nMainPID=%s\\n' "$unit" "$pid"
    ;;
  disable)
    rm -f "$STUB/enabled"
    [ $pid = 0 ] || kill $pid
    ;;
esac
`
const LOGINCTL = `#!/bin/sh
shift
echo "loginctl $*" >>"$STUB/calls"
case $1 in
  enable-linger) [ -e "$STUB/refuses" ] && { echo 'Could not enable linger: Access denied' >&2; exit 1; }; touch "$STUB/lingers" ;;
  show-user) [ -e "$STUB/lingers" ] && echo yes || echo no ;;
esac
`

class Machine {
  readonly directory: string
  readonly environment: Record<string, string>

  constructor(t: Test, systemd = true) {
    const directory = kappaDir(t)
    this.directory = directory
    const in_ = (name: string) => join(directory, name)
    for (const name of ['bin', 'run/systemd', 'home']) mkdirSync(in_(name), { recursive: true })
    chmodSync(in_('run'), 0o700)
    if (systemd) writeFileSync(in_('run/systemd/private'), '')
    for (const [name, text] of [
      ['systemctl', SYSTEMCTL],
      ['loginctl', LOGINCTL]
    ] as const)
      writeFileSync(in_(`bin/${name}`), text, { mode: 0o755 })
    this.environment = {
      PATH: `${in_('bin')}:${process.env.PATH}`,
      ...{ HOME: in_('home'), STUB: directory, XDG_RUNTIME_DIR: in_('run'), XDG_CONFIG_HOME: in_('home/config') },
      ...{ KAPPA_LISTEN: '127.0.0.1:0', KAPPA_NAME: 'a "b" 100%' }
    }
    t.teardown(() => this.#end())
  }

  async #end(): Promise<void> {
    const holder = this.daemon
    if (holder === undefined) return
    process.kill(holder, 'SIGKILL')
    while (this.daemon !== undefined) await new Promise((resolve) => setTimeout(resolve, 20))
  }

  /** The process that holds the lock. */
  get daemon(): number | undefined {
    const lock = join(this.directory, 'home/.local/state/kappa/lock')
    const pid = existsSync(lock) ? Number(readFileSync(lock, 'utf8').split(' ')[0]) : 0
    return pid > 0 && existsSync(`/proc/${pid}/status`) ? pid : undefined
  }

  get unit(): string {
    return join(this.directory, 'home/config/systemd/user/kappa.service')
  }

  calls(): string[] {
    const path = join(this.directory, 'calls')
    const lines = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : []
    rmSync(path, { force: true })
    return lines.filter((line) => !/^(show|is-enabled|loginctl show-user)/.test(line))
  }

  kappa(...args: string[]): Promise<Finished> {
    return finished(spawn(KAPPA, args, { env: this.environment, stdio: ['ignore', 'pipe', 'pipe'] }))
  }
}

t.test('installed, looked at, removed', async (t) => {
  const machine = new Machine(t)
  t.match(await machine.kappa('service', 'status'), { code: 1, stdout: /not installed; mend: kappa service install/ })
  t.match(await machine.kappa('service', 'remove'), { code: 2, stderr: /^kappa: service: it is not installed/ })

  t.match(await machine.kappa('service', 'install'), {
    ...{ code: 0, stderr: '' },
    stdout: 'kappa runs as a service, from boot on. Its log: journalctl --user -u kappa\n'
  })
  const user = spawnSync('id', ['-un'], { encoding: 'utf8' }).stdout.trim()
  t.strictSame(machine.calls(), [
    ...['daemon-reload', 'enable kappa.service', 'daemon-reload', 'start kappa.service'],
    `loginctl enable-linger ${user}`
  ])
  const first = machine.daemon
  t.equal(
    JSON.parse((await machine.kappa('status', '--json')).stdout).name,
    'a "b" 100%',
    'with what the unit passes on'
  )
  t.match(await machine.kappa('service', 'status'), {
    code: 0,
    stdout: /starts +at boot\ndaemon +process \d+\nlog +journalctl/
  })
  t.match(JSON.parse((await machine.kappa('service', 'status', '--json')).stdout), {
    ...{ installed: true, enabled: true, active: true, pid: first, lingering: true, unit: machine.unit }
  })

  mkdirSync(join(machine.directory, 'home/config/kappa'), { recursive: true })
  writeFileSync(join(machine.directory, 'home/config/kappa/kappa.toml'), 'lend = false\n')
  const reload = /^ExecReload=(.*)$/m.exec(readFileSync(machine.unit, 'utf8'))![1]!
  spawnSync('sh', ['-c', reload.replace('$MAINPID', String(first))])
  await until('what is edited by hand holds after a reload', async () => {
    const { refuses } = JSON.parse((await machine.kappa('status', '--json')).stdout)
    return refuses === 'its owner does not lend it'
  })

  t.match(await machine.kappa('service', 'install'), { code: 0 })
  t.equal(machine.daemon, first, 'once more: nothing is started anew')

  process.kill(first!, 'SIGKILL')
  machine.calls()
  t.match(await machine.kappa('peers'), { code: 0 })
  t.ok(machine.calls().includes('start kappa.service'), 'where it was ended, the next command starts the service')

  t.match(await machine.kappa('service', 'remove'), {
    code: 0,
    stdout: /^The service is removed.*\nLingering is left as it is/
  })
  t.strictSame(machine.calls(), ['disable --now kappa.service', 'daemon-reload'])
  t.equal(machine.daemon, undefined)
  t.notOk(existsSync(machine.unit))
})

t.test('a daemon that a command started gives way when its jobs are over', async (t) => {
  const machine = new Machine(t)
  const job = spawn(KAPPA, ['run', '--local', 'sh', '-c', 'echo up; read line; echo $line'], {
    env: machine.environment
  })
  const ended = finished(job)
  await new Promise((resolve) => job.stdout.once('data', resolve))
  const before = machine.daemon
  const install = spawn(KAPPA, ['service', 'install'], { env: machine.environment })
  const installed = finished(install)
  const said = await new Promise((resolve) => install.stderr.once('data', (bytes) => resolve(String(bytes))))
  t.match(said, /^kappa: waits for 1 job\(s\) of the daemon that runs; --now ends them/)
  t.equal(machine.daemon, before)
  t.match(JSON.parse((await machine.kappa('status', '--json')).stdout).refuses, 'about to be started anew')
  job.stdin.end('done\n')
  t.match(await ended, { code: 0, stdout: 'up\ndone\n' })
  t.match(await installed, { code: 0 })
  t.not(machine.daemon, before)
  t.match(await machine.kappa('service', 'status'), { code: 0 })
})

t.test('where lingering is refused it says what to run', async (t) => {
  const machine = new Machine(t)
  writeFileSync(join(machine.directory, 'refuses'), '')
  t.match(await machine.kappa('service', 'install'), {
    code: 0,
    stderr: /^kappa: it starts when you log in, .*: sudo loginctl enable-linger \S+\n$/
  })
  t.match(await machine.kappa('service', 'status'), {
    code: 0,
    stdout: /starts +when you log in\n[\s\S]*sudo loginctl enable-linger/
  })
})

t.test('without systemd it says how else', async (t) => {
  const machine = new Machine(t, false)
  const { code, stdout } = await machine.kappa('service', 'install')
  t.equal(code, 1)
  for (const words of [`@reboot ${KAPPA} daemon`, '#!/sbin/openrc-run', 'exec chpst -u'])
    t.ok(stdout.includes(words), words)
  // What it says for runit is a script that a shell understands.
  const script = stdout.slice(stdout.lastIndexOf('#!/bin/sh')).replaceAll('\n  ', '\n')
  t.equal(spawnSync('sh', ['-n'], { input: script }).status, 0)
  t.notOk(existsSync(machine.unit))
  t.match(await machine.kappa('service', 'status'), { code: 1, stdout: /how to start it here: kappa service install/ })
})

t.test('KAPPA_DIR names another peer', async (t) => {
  const machine = new Machine(t)
  machine.environment.KAPPA_DIR = machine.directory
  t.match(await machine.kappa('service', 'install'), { code: 2, stderr: /KAPPA_DIR names another: unset it/ })
})

t.test('systemd finds nothing wrong with the unit', async (t) => {
  if (!needs(t, spawnSync('systemd-analyze', ['--version']).status === 0, 'systemd-analyze')) return
  const directory = kappaDir(t)
  const launcher = join(directory, 'with $HOME 100% and space')
  writeFileSync(launcher, '#!/bin/sh\n', { mode: 0o755 })
  const unit = join(directory, 'kappa.service')
  const environment = { KAPPA_NAME: 'a "b" $c 100% \\', KAPPA_JOB: 'not this', KAPPA_CONFIG: '/x y/z' }
  writeFileSync(unit, unitText(launcher, environment))
  t.equal(statSync(unit).isFile(), true)
  const env = { PATH: process.env.PATH, HOME: directory, XDG_RUNTIME_DIR: directory }
  const verify = spawnSync('systemd-analyze', ['verify', '--user', '--man=no', unit], {
    encoding: 'utf8',
    env,
    timeout: 30_000
  })
  t.match(verify, { status: 0, stdout: '', stderr: '' })
  t.notMatch(readFileSync(unit, 'utf8'), 'KAPPA_JOB')
  writeFileSync(unit, unitText('/nowhere/kappa', {}))
  const missing = spawnSync('systemd-analyze', ['verify', '--user', '--man=no', unit], {
    encoding: 'utf8',
    env,
    timeout: 30_000
  })
  t.match(missing.stderr, /nowhere\/kappa/, 'it is really looked at')
})
