/**
 * An emulated LAN on one machine: hosts that are network, mount, UTS, IPC and PID namespaces on a bridge of their own, each with
 * its own host name, machine ID, /run, /tmp, /var/tmp, home directory and CPU quota. Several LANs can run at once; nothing
 * touches the machine's own network, and there is no way out of a LAN. Needs root; Linux only.
 *
 * Everything ends with `close`, with the process that made it, or with its kill: process 1 of each host, and whoever holds
 * the bridge, ends at the end of its standard input.
 */

import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseCgroupMounts, parseKey, parseMemberships, placeOf } from '../src/machine/cgroup.ts'

/** Hosts of one LAN, at most. */
const HOSTS_MAX = 64

/** A short period, so that a slow host doesn't stutter. */
const QUOTA_PERIOD_US = 20_000

/** Weight of a LAN whose hosts all have quotas, in default ones: they get them on a busy machine too, and no more. */
const WEIGHT = 100

/** How often a host that is bound to a CPU is told what it used; and the unit in which it is told, of every Linux. */
const TELL_MS = 20
const TICK_MS = 10

/** Setting up a host, and ending everything, takes at most that long. */
const PATIENCE_MS = 20_000

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')
const PREFIX = 'kappa-lan-'

export interface LanInit {
  /** How many hosts, 1–64: h0, h1, … at 10.77.0.10, 10.77.0.11, … */
  hosts: number
  /** CPU quota by host; default no limit. With one for each they come before whatever else the machine does. */
  cores?: (number | undefined)[]
  /**
   * CPU of the machine that each host is bound to. Its /proc/stat then shows what the host itself uses, and nothing of
   * what else runs: with a quota it is a machine of its own with one slow core. Default: any CPU, and the machine's numbers.
   */
  bound?: number[]
  /** Rate of each host's cable in each direction; default no limit. */
  rateMbit?: number
  /** Delay from host to host; above 0 a program of our own is the switch, which a C compiler makes. Default 0: a kernel bridge. */
  delayUs?: number
}

export interface RunOptions {
  /** Added to the host's own environment. */
  env?: Record<string, string>
  /** Default: the home directory. */
  cwd?: string
}

export interface RunResult {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** Standard output as it was. */
  bytes: Buffer
}

/** `unplug`: the host sees its carrier go. `drop`: frames vanish silently, both ways. */
export type Cut = 'unplug' | 'drop'

interface Host {
  name: string
  address: string
  /** Process 1 of the host as the machine counts. */
  init: number
  cgroups: string[]
  /** The CPU that it is bound to. */
  cpu: number | undefined
}

/** How files of cgroups are called by their versions. */
interface CgroupBase {
  version: 1 | 2
  /** Directories in which a LAN's own directory is made: one with v2, one or two with v1 (cpu, cpuacct). */
  parents: string[]
}

let cgroupBase: CgroupBase | string | undefined

/** Where a CPU quota can be set below, or why nowhere. */
function findCgroups(): CgroupBase | string {
  const memberships = parseMemberships(readFileSync('/proc/self/cgroup', 'utf8'))
  const mounts = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'))
  const cpu = placeOf('cpu', memberships, mounts)
  const accounting = placeOf('cpuacct', memberships, mounts)
  if (cpu === undefined || accounting === undefined || cpu.version !== accounting.version)
    return 'no cgroup with a CPU quota'
  const { version } = cpu
  let reason = ''
  // In v2 a cgroup with processes can't have limited ones below it, unless it is the root.
  for (const below of version === 2 ? [cpu.path, ''] : [cpu.path]) {
    const parents = [...new Set([cpu.mount + below, accounting.mount + (version === 2 ? below : accounting.path)])]
    const probe = join(parents[0]!, `${PREFIX}${process.pid}-probe`)
    try {
      if (version === 2) writeFileSync(join(parents[0]!, 'cgroup.subtree_control'), '+cpu')
      mkdirSync(probe)
      try {
        accessSync(join(probe, version === 2 ? 'cpu.max' : 'cpu.cfs_quota_us'), constants.W_OK)
      } finally {
        rmdirSync(probe)
      }
      return { version, parents }
    } catch (error) {
      reason = `cgroups can't be made: ${(error as Error).message}`
    }
  }
  return reason
}

const TOOLS = ['bash', 'ip', 'tc', 'unshare', 'nsenter', 'mount', 'env', 'taskset']

/** Why there can be no LAN on this machine; undefined when there can. With `delay`, one with `delayUs`. */
export function lanAvailable(needs: { delay?: boolean } = {}): string | undefined {
  if (process.platform !== 'linux' || process.getuid!() !== 0) return 'needs root on Linux'
  for (const tool of [...TOOLS, ...(needs.delay ? ['cc'] : [])]) {
    if (findTool(tool) === undefined) return `needs the program ${tool}`
  }
  if (needs.delay && !existsSync('/dev/net/tun')) return 'needs /dev/net/tun'
  if (!existsSync(`/proc/self/task/${process.pid}/children`)) return 'needs a kernel with CONFIG_PROC_CHILDREN'
  cgroupBase ??= findCgroups()
  if (typeof cgroupBase === 'string') return cgroupBase
  try {
    const link = needs.delay ? '' : 'ip link add br0 type bridge && ip link add p0 type veth peer name p1 && '
    execFileSync('unshare', [...NAMESPACES, 'sh', '-c', `${link}mount -t tmpfs none /mnt`], {
      stdio: ['ignore', 'ignore', 'pipe']
    })
  } catch (error) {
    return `needs namespaces, bridges and mounts: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`
  }
  return undefined
}

function findTool(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
  return directories.map((directory) => join(directory, name)).find((file) => existsSync(file))
}

const NAMESPACES = ['--mount', '--net', '--uts', '--ipc', '--pid', '--fork', '--mount-proc', '--propagation', 'private']

/** Process 1 of a host: makes its file system, says `ready`, then reaps orphans until its standard input ends. $1: the host's directory, $2: its name; then directories that must stay visible. */
const HOST_SCRIPT = `
set -e
directory=$1 name=$2; shift 2
if [ -e "$directory/stat" ]; then
  # The kernel lets sandboxes mount /proc only where a whole one is to be seen.
  mount -t proc proc "$directory/proc"
  mount --bind "$directory/stat" /proc/stat
fi
echo "$name" >/proc/sys/kernel/hostname
echo cubic >/proc/sys/net/ipv4/tcp_congestion_control 2>/dev/null || true
for file in hosts hostname machine-id; do
  [ ! -e "/etc/$file" ] || mount --bind "$directory/etc/$file" "/etc/$file"
done
mount -t tmpfs -o mode=1777 none /dev/shm
for hidden in /run /root /var/tmp /tmp; do
  for kept; do
    case $kept/ in
    "$hidden"/*) mkdir -p "$directory$kept"; mount --bind "$kept" "$directory$kept" ;;
    esac
  done
done
cd /
for hidden in /run /root /var/tmp; do mount --rbind "$directory$hidden" "$hidden"; done
mount --rbind "$directory/tmp" /tmp
trap '' HUP INT TERM
echo ready
while read -r _; do :; done
`

/** Enters a host: joins its cgroups, its namespaces, its directory. $1: process 1, $2: directory, $3: how many cgroups; then those and the command. */
const ENTER_SCRIPT = `
set -e
init=$1 cwd=$2 groups=$3; shift 3
while [ "$groups" -gt 0 ]; do echo $$ >"$1/cgroup.procs"; shift; groups=$((groups - 1)); done
exec nsenter -t "$init" -m -n -u -i -p env -u OLDPWD -C "$cwd" "$@"
`

let lanCount = 0

/** Runs to the end and throws with what it wrote when it fails. */
function must(argv: [string, ...string[]], input = ''): void {
  execFileSync(argv[0], argv.slice(1), { input, stdio: ['pipe', 'ignore', 'pipe'], timeout: PATIENCE_MS })
}

/** Resolves when a line comes out of a child; rejects with what it wrote to stderr when it ends before. */
async function lineFrom(child: ChildProcess, what: string): Promise<void> {
  let complaint = ''
  const note = (chunk: Buffer) => {
    complaint += chunk
  }
  child.stderr!.on('data', note)
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
  const line = once(child.stdout!, 'data')
  const end = once(child, 'close').then(() => Promise.reject(new Error(`${what} did not start: ${complaint.trim()}`)))
  end.catch(() => {}) // when it ends later on purpose
  try {
    await Promise.race([line, end])
  } finally {
    clearTimeout(timer)
  }
}

/** The children of a process. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** Signals the only child of one that waits for it outside of a host (nsenter, unshare), or else that one itself; false when it was gone. */
function endInside(child: ChildProcess, signal: NodeJS.Signals | number): boolean {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return false
  try {
    const signalled = process.kill(childrenOf(child.pid)[0] ?? child.pid, signal)
    // nsenter stops when its program does, and doesn't go on with it.
    if (signal !== 'SIGSTOP') process.kill(child.pid, 'SIGCONT')
    return signalled
  } catch {
    return false
  }
}

export class Lan {
  readonly #directory: string
  readonly #groupName: string
  readonly #rateMbit: number
  readonly #hosts: Host[] = []
  /** What runs outside on behalf of the LAN: who holds a host or waits for a program in one, and the switch. */
  readonly #children = new Set<ChildProcess>()
  /** Holds the bridge's namespace, or is the switch itself. */
  #switch: ChildProcess | undefined
  #delayed = false
  /** The last command to the switch, answered. */
  #obeyed: Promise<unknown> = Promise.resolve()
  #closed = false
  /** Tells hosts that are bound to CPUs what they used. */
  #teller: NodeJS.Timeout | undefined
  readonly #startedMs = performance.now()
  readonly #onExit = () => this.#endNow()

  /** Makes a LAN; on failure nothing of it stays. Check `lanAvailable` first. */
  static async create(init: LanInit): Promise<Lan> {
    const reason = lanAvailable({ delay: (init.delayUs ?? 0) > 0 })
    if (reason !== undefined) throw new Error(`no LAN: ${reason}`)
    if (!(init.hosts >= 1 && init.hosts <= HOSTS_MAX)) throw new RangeError(`a LAN has 1 to ${HOSTS_MAX} hosts`)
    removeStale()
    const lan = new Lan(init.rateMbit ?? 0)
    try {
      await lan.#setUp(init)
    } catch (error) {
      await lan.close()
      throw error
    }
    return lan
  }

  private constructor(rateMbit: number) {
    this.#groupName = `${PREFIX}${process.pid}-${++lanCount}`
    this.#directory = mkdtempSync(join(tmpdir(), `${this.#groupName}-`))
    this.#rateMbit = rateMbit
    process.on('exit', this.#onExit)
  }

  /** The address of a host. */
  address(host: number): string {
    return this.#host(host).address
  }

  /** The host's name, h0, h1, … */
  hostName(host: number): string {
    return this.#host(host).name
  }

  /** Where a path below /tmp, /var/tmp, /run or /root of a host is on the machine. */
  outside(host: number, path: string): string {
    return join(this.#directory, this.#host(host).name, path)
  }

  /** Starts a program on a host. `kill` reaches the program itself, and so do exit status and signal of it come back. */
  spawn(host: number, argv: readonly string[], options: RunOptions & Pick<SpawnOptions, 'stdio'> = {}): ChildProcess {
    const { init, cgroups, cpu } = this.#host(host)
    const enter = [ENTER_SCRIPT, 'sh', String(init), options.cwd ?? '/root', String(cgroups.length), ...cgroups]
    const [program, ...before] = cpu === undefined ? ['/bin/sh'] : ['taskset', '-c', String(cpu), '/bin/sh']
    const child = spawn(program!, [...before, '-c', ...enter, ...argv], {
      stdio: options.stdio ?? 'pipe',
      env: {
        HOME: '/root',
        USER: 'root',
        LOGNAME: 'root',
        SHELL: '/bin/sh',
        LANG: 'C.UTF-8',
        TERM: 'dumb',
        PATH: `${REPOSITORY}/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        ...options.env
      }
    })
    child.kill = (signal: NodeJS.Signals | number = 'SIGTERM') => endInside(child, signal)
    this.#track(child)
    return child
  }

  /** Runs a program on a host to its end. Rejects when it takes longer than `timeoutMs` (default 60 s), after killing it. */
  async run(
    host: number,
    argv: readonly string[],
    options: RunOptions & { input?: string | Uint8Array; timeoutMs?: number } = {}
  ): Promise<RunResult> {
    const child = this.spawn(host, argv, options)
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout!.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr!.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.stdin!.on('error', () => {}) // a program needn't read its input
    child.stdin!.end(options.input ?? '')
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
      child.stdout!.destroy() // programs that it left behind may hold them open
      child.stderr!.destroy()
    }, options.timeoutMs ?? 60_000)
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    clearTimeout(timer)
    const bytes = Buffer.concat(stdout)
    const complaint = Buffer.concat(stderr).toString()
    if (late) throw new Error(`h${host}: ${argv.join(' ')} took too long; so far: ${bytes}${complaint}`)
    return { code, signal, stdout: bytes.toString(), stderr: complaint, bytes }
  }

  /** Cuts the cable of a host; connections stay as they are. */
  async cut(host: number, how: Cut = 'unplug'): Promise<void> {
    if (this.#delayed) return this.#command(`${how} ${this.#index(host)}`)
    this.#inSwitch(how === 'unplug' ? `link set p${this.#index(host)} down` : `link set p${this.#index(host)} nomaster`)
  }

  /** Mends the cable of a host, whichever way it was cut. */
  async mend(host: number): Promise<void> {
    if (this.#delayed) return this.#command(`mend ${this.#index(host)}`)
    this.#inSwitch(`link set p${this.#index(host)} master br0 up`)
  }

  /** Gives a host another address, as a lease that ran out would; the old one is gone at once. */
  async readdress(host: number, address: string): Promise<void> {
    const target = this.#host(host)
    this.#inHost(target, `addr flush dev eth0\n${addressCommands(address)}`)
    target.address = address
    this.#writeHosts()
  }

  /** Sets the CPU quota of a host; undefined lifts it. */
  setCores(host: number, cores: number | undefined): void {
    const directory = this.#host(host).cgroups[0]!
    const quotaUs = cores === undefined ? undefined : Math.round(cores * QUOTA_PERIOD_US)
    if ((cgroupBase as CgroupBase).version === 2) {
      writeFileSync(join(directory, 'cpu.max'), `${quotaUs ?? 'max'} ${QUOTA_PERIOD_US}`)
    } else {
      writeFileSync(join(directory, 'cpu.cfs_period_us'), String(QUOTA_PERIOD_US))
      writeFileSync(join(directory, 'cpu.cfs_quota_us'), String(quotaUs ?? -1))
    }
  }

  /** Processes of a host, its first one among them. */
  processes(host: number): number {
    return readFileSync(join(this.#host(host).cgroups[0]!, 'cgroup.procs'), 'latin1').split('\n').length - 1
  }

  /** All processes of a host, as this machine counts them; those of groups that it made for itself, too. */
  pids(host: number): number[] {
    const top = this.#host(host).cgroups[0]!
    const groups = [
      top,
      ...readdirSync(top, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => join(entry.parentPath, entry.name))
    ]
    return groups.flatMap((group) =>
      readFileSync(join(group, 'cgroup.procs'), 'latin1').split('\n').filter(Boolean).map(Number)
    )
  }

  /** CPU time that a host has used since it was made. */
  cpuMs(host: number): number {
    const directory = this.#host(host).cgroups.at(-1)!
    if ((cgroupBase as CgroupBase).version === 2)
      return parseKey(readFileSync(join(directory, 'cpu.stat'), 'latin1'), 'usage_usec')! / 1000
    return Number(readFileSync(join(directory, 'cpuacct.usage'), 'latin1')) / 1e6
  }

  /** Ends every process in the LAN and removes it. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#teller)
    const ended = [...this.#children].map((child) => once(child, 'exit'))
    this.#kill()
    await Promise.all(ended)
    process.off('exit', this.#onExit)
    await removeGroups(this.#groupName)
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #host(host: number): Host {
    const found = this.#hosts[host]
    if (found === undefined || this.#closed) throw new RangeError(`no host ${host} in this LAN`)
    return found
  }

  #index(host: number): number {
    return this.#hosts.indexOf(this.#host(host))
  }

  async #setUp(init: LanInit): Promise<void> {
    const numbers = Array.from({ length: init.hosts }, (_, number) => number)
    this.#hosts.push(...(await Promise.all(numbers.map((number) => this.#startHost(number, init.bound?.[number])))))
    if (init.bound !== undefined) this.#teller = setInterval(() => this.#tellUse(), TELL_MS).unref()
    this.#writeHosts()
    if ((init.delayUs ?? 0) > 0) await this.#startDelayed(init.delayUs!)
    else await this.#startBridge()
    for (const [number, host] of this.#hosts.entries()) {
      const shape =
        this.#rateMbit > 0 ? `qdisc add dev eth0 root tbf rate ${this.#rateMbit}mbit burst 128k latency 50ms\n` : ''
      const mac = `02:00:00:00:00:${(number + 10).toString(16).padStart(2, '0')}`
      this.#inHost(host, `link set lo up\nlink set eth0 address ${mac} up\n${addressCommands(host.address)}`)
      if (shape !== '') must(['nsenter', '-t', String(host.init), '-n', 'tc', '-batch', '-'], shape)
      this.setCores(number, init.cores?.[number])
    }
    if (numbers.every((number) => init.cores?.[number] !== undefined)) this.#favour()
  }

  /** Writes what a /proc/stat would say of a machine on which nothing else runs. */
  #tellUse(): void {
    const elapsedTicks = Math.floor((performance.now() - this.#startedMs) / TICK_MS)
    for (const [number, { name, cpu }] of this.#hosts.entries()) {
      if (cpu === undefined) continue
      const busyTicks = Math.min(elapsedTicks, Math.floor(this.cpuMs(number) / TICK_MS))
      const line = `${busyTicks} 0 0 ${elapsedTicks - busyTicks} 0 0 0 0 0 0\n`
      // Longer than before or as long: who reads meanwhile finds no end of an older text.
      writeFileSync(join(this.#directory, name, 'stat'), `cpu  ${line}cpu${cpu} ${line}procs_running 1\n`, {
        flag: 'r+'
      })
    }
  }

  #favour(): void {
    const group = dirname(this.#hosts[0]!.cgroups[0]!)
    if ((cgroupBase as CgroupBase).version === 2) writeFileSync(join(group, 'cpu.weight'), String(100 * WEIGHT))
    else writeFileSync(join(group, 'cpu.shares'), String(1024 * WEIGHT))
  }

  async #startHost(number: number, cpu: number | undefined): Promise<Host> {
    const name = `h${number}`
    const directory = join(this.#directory, name)
    for (const own of ['tmp', 'run', 'run/lock', 'var/tmp', 'root', 'etc'])
      mkdirSync(join(directory, own), { recursive: true })
    must(['chmod', '1777', join(directory, 'tmp'), join(directory, 'var/tmp'), join(directory, 'run/lock')])
    must(['chmod', '700', join(directory, 'root')])
    writeFileSync(join(directory, 'etc/hostname'), `${name}\n`)
    writeFileSync(join(directory, 'etc/hosts'), '')
    const machine = Buffer.concat([Buffer.from(this.#groupName.padEnd(15).slice(-15)), Buffer.of(number)])
    writeFileSync(join(directory, 'etc/machine-id'), `${machine.toString('hex')}\n`)
    if (cpu !== undefined) {
      mkdirSync(join(directory, 'proc'))
      writeFileSync(join(directory, 'stat'), '')
    }
    const cgroups = (cgroupBase as CgroupBase).parents.map((parent) => join(parent, this.#groupName, name))
    for (const group of cgroups) mkdirSync(group, { recursive: true })
    if ((cgroupBase as CgroupBase).version === 2)
      writeFileSync(join(dirname(cgroups[0]!), 'cgroup.subtree_control'), '+cpu')
    const kept = [REPOSITORY, dirname(process.execPath)]
    const holder = spawn(
      'unshare',
      [...NAMESPACES, '--kill-child=KILL', 'bash', '-c', HOST_SCRIPT, 'host', directory, name, ...kept],
      {
        stdio: 'pipe',
        detached: true
      }
    )
    this.#track(holder)
    await lineFrom(holder, `host ${name}`)
    const [init] = childrenOf(holder.pid!)
    if (init === undefined) throw new Error(`host ${name} ended at once`)
    for (const group of cgroups) writeFileSync(join(group, 'cgroup.procs'), String(init))
    return { name, address: `10.77.0.${number + 10}`, init, cgroups, cpu }
  }

  async #startBridge(): Promise<void> {
    this.#switch = spawn('unshare', ['--net', 'sh', '-c', 'echo ready; read -r _'], { stdio: 'pipe', detached: true })
    this.#track(this.#switch)
    await lineFrom(this.#switch, 'the bridge')
    let commands = 'link add br0 type bridge forward_delay 0\nlink set br0 up\n'
    let shapes = ''
    for (const [number, { init }] of this.#hosts.entries()) {
      commands += `link add p${number} type veth peer name eth0 netns ${init}\nlink set p${number} master br0 up\n`
      if (this.#rateMbit > 0)
        shapes += `qdisc add dev p${number} root tbf rate ${this.#rateMbit}mbit burst 128k latency 10ms\n`
    }
    this.#inSwitch(commands)
    if (shapes !== '') must(['nsenter', '-t', String(this.#switch.pid), '-n', 'tc', '-batch', '-'], shapes)
  }

  async #startDelayed(delayUs: number): Promise<void> {
    const program = join(this.#directory, 'wire')
    must(['cc', '-O2', '-o', program, join(REPOSITORY, 'benchmarks/wire.c')])
    const namespaces = this.#hosts.map((host) => `/proc/${host.init}/ns/net`)
    this.#switch = spawn(program, [String(delayUs), String(this.#rateMbit), ...namespaces], {
      stdio: 'pipe',
      detached: true
    })
    this.#track(this.#switch)
    this.#delayed = true
    await lineFrom(this.#switch, 'the switch')
  }

  /** One command to the switch, after the one before it. */
  #command(text: string): Promise<void> {
    const { stdin, stdout } = this.#switch!
    const answered = this.#obeyed.then(async () => {
      const answer = once(stdout!, 'data', { signal: AbortSignal.timeout(PATIENCE_MS) })
      stdin!.write(`${text}\n`)
      await answer
    })
    this.#obeyed = answered.catch(() => {})
    return answered
  }

  #inSwitch(commands: string): void {
    must(['nsenter', '-t', String(this.#switch!.pid), '-n', 'ip', '-batch', '-'], commands)
  }

  #inHost(host: Host, commands: string): void {
    must(['nsenter', '-t', String(host.init), '-n', 'ip', '-batch', '-'], commands)
  }

  #writeHosts(): void {
    const lines = this.#hosts.map((host) => `${host.address} ${host.name}\n`)
    for (const host of this.#hosts) {
      writeFileSync(join(this.#directory, host.name, 'etc/hosts'), `127.0.0.1 localhost\n${lines.join('')}`)
    }
  }

  #track(child: ChildProcess): void {
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    child.once('error', () => this.#children.delete(child)) // it wasn't started
  }

  #kill(): void {
    for (const child of this.#children) endInside(child, 'SIGKILL') // process 1 of a host takes all of it with it
  }

  /** When the process exits without `close`. */
  #endNow(): void {
    this.#kill()
    const cell = new Int32Array(new SharedArrayBuffer(4))
    for (let tries = 0; tries < 200 && !tryRemoveGroups(this.#groupName); tries++) Atomics.wait(cell, 0, 0, 10)
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

function addressCommands(address: string): string {
  return `addr add ${address}/24 broadcast + dev eth0\nroute replace 224.0.0.0/4 dev eth0\n`
}

/** Removes a LAN's cgroups; false while some still hold processes. */
function tryRemoveGroups(name: string): boolean {
  for (const parent of (cgroupBase as CgroupBase).parents) {
    const group = join(parent, name)
    if (!existsSync(group)) continue
    try {
      for (const entry of readdirSync(group, { withFileTypes: true })) {
        if (entry.isDirectory()) removeTree(join(group, entry.name))
      }
      rmdirSync(group)
    } catch {
      return false
    }
  }
  return true
}

/** Hosts may have made cgroups of their own. */
function removeTree(group: string): void {
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(group, entry.name))
  rmdirSync(group)
}

async function removeGroups(name: string): Promise<void> {
  for (const deadlineMs = Date.now() + PATIENCE_MS; !tryRemoveGroups(name); ) {
    if (Date.now() > deadlineMs) throw new Error(`processes of ${name} don't end`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Removes what LANs of killed processes left behind: cgroups and directories; their processes ended with them. */
function removeStale(): void {
  const dead = (name: string) => {
    const owner = new RegExp(`^${PREFIX}(\\d+)-\\d+`).exec(name)
    return owner !== null && !existsSync(`/proc/${owner[1]}`)
  }
  for (const parent of (cgroupBase as CgroupBase).parents) {
    for (const name of readdirSync(parent).filter(dead)) tryRemoveGroups(name)
  }
  for (const name of readdirSync(tmpdir()).filter(dead)) rmSync(join(tmpdir(), name), { recursive: true, force: true })
}
