/** Home and one target on an emulated LAN, for jobs that see home's files; native runs and sshfs on that target beside them. */

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { childrenOf } from '../src/execution/process.ts'
import { sees, until } from '../test/end-to-end/peers.ts'
import { counts, RequestTrace } from './fuse-requests.ts'
import { Household, has } from './household.ts'

/** Where the project is, at home and, for native runs, on the target. */
export const PROJECT = '/root/project'
const SSHFS = '/root/sshfs'
const JOB_MS = 900_000
const TICKS = 100

/** Shell functions: `us CMD…` prints the microseconds that a command takes, and what it says when it fails. */
const SHELL = `us() { _b=$(date +%s%N); "$@" >/tmp/us.$$ 2>&1 </dev/null || { cat /tmp/us.$$ >&2; exit 1; }; _e=$(date +%s%N); echo $(((_e - _b) / 1000)); }
`

export interface FilesInit {
  /** ms there and back. */
  roundTripMs: number
  rateMbit?: number
  /** Each host has one of two CPUs for itself. */
  isBound?: boolean
}

/** What a job did beside its output. */
export interface Asked {
  /** What the kernel there asked, where that can be counted. */
  kernel: string
  /** What went to home. */
  home: string
}

export class FilesHousehold {
  readonly household: Household
  readonly notes: string[] = []
  #trace: RequestTrace | undefined

  private constructor(household: Household) {
    this.household = household
  }

  static async make({ roundTripMs, rateMbit, isBound = false }: FilesInit): Promise<FilesHousehold> {
    const household = await Household.make(2, {
      delayUs: Math.round(roundTripMs * 500),
      ...(rateMbit === undefined ? {} : { rateMbit }),
      ...(isBound && { bound: [0, 1] })
    })
    const files = new FilesHousehold(household)
    for (const host of [0, 1]) mkdirSync(files.at(host, '.git'), { recursive: true })
    files.#trace = RequestTrace.start()
    if (files.#trace === undefined) files.notes.push('this kernel does not tell its FUSE requests: not counted')
    return files
  }

  /** A path of the project as this process sees it. */
  at(host: number, path: string): string {
    return join(this.household.lan.outside(host, PROJECT), path)
  }

  /** On both hosts. */
  write(path: string, content: string | Uint8Array): void {
    for (const host of [0, 1]) writeFileSync(this.at(host, path), content)
  }

  /** On both hosts. */
  copy(from: string, to: string): void {
    for (const host of [0, 1]) cpSync(from, this.at(host, to), { recursive: true, verbatimSymlinks: true })
  }

  /** A shell script in a job; what it wrote. */
  async job(script: string): Promise<string> {
    const { home, peers } = this.household
    const argv = ['sh', '-c', SHELL + script]
    const { code, stdout, stderr } = await home.there(peers[1]!, argv, { cwd: PROJECT, options: ['--files'] })
    if (code !== 0) throw new Error(`the job ended with ${code}: ${stdout}${stderr}`)
    return stdout
  }

  /** The same on the target itself, elsewhere too. */
  async native(script: string, cwd = PROJECT): Promise<string> {
    const argv = ['sh', '-c', SHELL + script]
    const { code, stdout, stderr } = await this.household.lan.run(1, argv, { cwd, timeoutMs: JOB_MS })
    if (code !== 0) throw new Error(`on the target itself it ended with ${code}: ${stdout}${stderr}`)
    return stdout
  }

  /** A script in a job, and what was asked of whom for it. */
  async counted(script: string): Promise<[string, Asked]> {
    const devices = (await this.job('stat -c %Ld / /usr')).trim().split('\n')
    const log = this.household.home.log
    const before = log().length
    const [text, kernel] = await (this.#trace?.count(devices, () => this.job(script)) ??
      this.job(script).then((said) => [said, undefined] as const))
    const line = await until('home says what was asked', () => / files were shown (.*)/.exec(log().slice(before))?.[1])
    const home = line
      .replace(/target=\S+ ?/, '')
      .replaceAll('=', ' ')
      .replaceAll(/(\d) /g, '$1, ')
    return [text, { kernel: kernel === undefined ? '' : counts(kernel), home }]
  }

  /** The target begins anew, with nothing of home's: neither in memory nor on its disk. */
  async forget(environment: Record<string, string> = {}): Promise<void> {
    const { home, peers } = this.household
    const target = peers[1]!
    await target.stopDaemon()
    const cache = join(target.directory, 'cache')
    for (const name of readdirSync(cache))
      if (name !== 'benchmark.json') rmSync(join(cache, name), { recursive: true, force: true })
    delete target.environment.KAPPA_FILES_WITHOUT
    Object.assign(target.environment, environment)
    await target.startDaemon()
    await sees(home, target)
  }

  /** The target's daemon begins anew; what is on its disk stays. */
  async restart(): Promise<void> {
    const { home, peers } = this.household
    await peers[1]!.stopDaemon()
    await peers[1]!.startDaemon()
    await sees(home, peers[1]!)
  }

  /** CPU of a host that something used, beside its time, ms. */
  async cpu<T>(work: () => Promise<T>): Promise<{ result: T; homeMs: number; targetMs: number }> {
    const { result, cpuMs } = await this.household.cpuOf([0, 1], work)
    return { result, homeMs: cpuMs[0]!, targetMs: cpuMs[1]! }
  }

  /** Home's project on the target by sshfs; false: it can't be, which is noted. */
  async mountSshfs(): Promise<boolean> {
    if (!has('sshfs') || !has('sshd')) {
      this.notes.push('sshfs or sshd is not installed: left out')
      return false
    }
    const { lan } = this.household
    const [home, there] = [lan.outside(0, '/root'), lan.outside(1, '/root')]
    for (const directory of [`${home}/.ssh`, `${there}/.ssh`]) mkdirSync(directory, { recursive: true, mode: 0o700 })
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${there}/.ssh/id_ed25519`])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${home}/host_key`])
    writeFileSync(`${home}/.ssh/authorized_keys`, readFileSync(`${there}/.ssh/id_ed25519.pub`), { mode: 0o600 })
    mkdirSync(lan.outside(0, '/run/sshd'), { recursive: true })
    const config = `HostKey /root/host_key\nPidFile none\nUsePAM no\nPermitRootLogin yes\nStrictModes no\nSubsystem sftp internal-sftp\n`
    writeFileSync(`${home}/sshd_config`, config)
    lan.spawn(0, ['/usr/sbin/sshd', '-D', '-f', '/root/sshd_config'], { stdio: 'ignore' })
    const options = 'StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,kernel_cache,auto_cache,ConnectTimeout=5'
    const mount = `mkdir -p ${SSHFS} && sshfs -o ${options} root@${lan.address(0)}:${PROJECT} ${SSHFS}`
    try {
      await until('sshfs is mounted', async () => (await lan.run(1, ['sh', '-c', mount])).code === 0, 10_000)
      return true
    } catch (error) {
      this.notes.push(`sshfs can't be mounted here: left out (${String(error)})`)
      return false
    }
  }

  /** A script in home's project by sshfs. */
  sshfs(script: string): Promise<string> {
    return this.native(script, SSHFS)
  }

  /** Highest resident memory of the daemons, and of the processes that serve trees, so far: MiB. */
  peaks(): { home: number; target: number; server: number } {
    const [home, target] = [this.household.daemonPid(0), this.household.daemonPid(1)]
    const servers = below(target).filter((pid) => commandOf(pid).includes('--input-type=module'))
    return { home: peakOf(home), target: peakOf(target), server: servers.reduce((sum, pid) => sum + peakOf(pid), 0) }
  }

  async close(): Promise<void> {
    this.#trace?.close()
    await this.household.lan.run(1, ['sh', '-c', `umount -l ${SSHFS}`]).catch(() => undefined)
    await this.household.close()
  }
}

/** All processes below one. */
function below(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...below(child)])
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}

function peakOf(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

/** CPU of a process so far, ms. */
export function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS
}

export interface Source {
  /** What it is, for whoever reads the table. */
  name: string
  directory: string
  /** Shell text that builds it with `$1` processes, from clean; and that cleans. */
  build: string
  clean: string
}

const BUILDS: Record<string, { package: string; build: string; clean: string }> = {
  zstd: { package: 'libzstd', build: 'make -C programs -j2 zstd', clean: 'make -C programs clean' },
  redis: { package: 'redis', build: 'make -j2 MALLOC=libc', clean: 'make distclean' },
  lua: { package: 'lua5.4', build: 'make -C src -j2 linux', clean: 'make -C src clean' }
}

const kept = new Map<string, Source>()

/**
 * A project to build: what KAPPA_BENCHMARK_SOURCES has (a directory with unpacked Debian source packages), else what
 * `apt-get source` brings, else one that is generated.
 */
export function sourceOf(name: string): Source {
  const found = kept.get(name) ?? findSource(name)
  kept.set(name, found)
  return found
}

function findSource(name: string): Source {
  const { package: wanted, build, clean } = BUILDS[name]!
  const given = process.env.KAPPA_BENCHMARK_SOURCES
  const in_ = (directory: string) => {
    const found = readdirSync(directory, { withFileTypes: true }).find(
      (entry) => entry.isDirectory() && (entry.name.startsWith(`${wanted}-`) || entry.name.startsWith(`${name}-`))
    )
    return found && { name: found.name, directory: join(directory, found.name), build, clean }
  }
  const own = given !== undefined && existsSync(given) ? in_(given) : undefined
  if (own) return own
  const directory = mkdtempSync(join(tmpdir(), 'kappa-source-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  try {
    execFileSync('apt-get', ['source', wanted], { cwd: directory, stdio: 'ignore', timeout: 120_000 })
    const fetched = in_(directory)
    if (fetched) return fetched
  } catch {}
  return generated(directory)
}

const FILES = 48

/** What is compiled alone: as many headers as a program for this system needs. */
export function program(number: number): string {
  const headers = 'stdio stdlib string unistd errno math time signal pthread sys/stat sys/socket netinet/in'.split(' ')
  const functions = Array.from(
    { length: 40 },
    (_, i) => `
int f${number}_${i}(const char *text, size_t length) {
  int sum = ${i};
  for (size_t at = 0; at < length; at++) sum = sum * 31 + text[at] + (int)strlen(text);
  if (sum % ${i + 2} == 0) fprintf(stderr, "%s %d\\n", text, sum);
  return sum;
}`
  )
  return `${headers.map((header) => `#include <${header}.h>`).join('\n')}\n#include "shared.h"\n${functions.join('\n')}\n`
}

function generated(directory: string): Source {
  const numbers = Array.from({ length: FILES }, (_, i) => i)
  const own = join(directory, 'generated')
  mkdirSync(join(own, 'src'), { recursive: true })
  for (const number of numbers) writeFileSync(join(own, `src/f${number}.c`), program(number))
  writeFileSync(join(own, 'src/shared.h'), '#define SHARED 1\n')
  writeFileSync(join(own, 'src/main.c'), '#include <stdio.h>\nint main(void) { return puts("built") < 0; }\n')
  const objects = `O := ${numbers.map((number) => `src/f${number}.o`).join(' ')} src/main.o`
  const rules =
    'program: $(O)\n\t$(CC) -o $@ $(O)\n%.o: %.c src/shared.h\n\t$(CC) -O1 -c $< -o $@\nclean:\n\trm -f $(O) program\n'
  writeFileSync(join(own, 'Makefile'), `${objects}\n${rules}`)
  return { name: `${FILES} generated C files`, directory: own, build: 'make -j2', clean: 'make clean' }
}

/** The generated project, whatever there is else. */
export function generatedSource(): Source {
  const directory = mkdtempSync(join(tmpdir(), 'kappa-source-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  return generated(directory)
}
