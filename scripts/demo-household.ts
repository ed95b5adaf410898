/**
 * A household of three on this machine: three peers on loopback, one core each, paired by the real commands. The laptop
 * gets more work than it has cores; each job goes where it finishes soonest. Each peer is kept to its own core as far as
 * there are enough, or the load of one would be the load of all. Ends everything that it started.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'

const KAPPA = fileURLToPath(new URL('kappa', import.meta.url))
const NAMES = ['laptop', 'desktop', 'nas'] as const
/** Real input: pieces of the Node that runs this. */
const PIECES = 6
const PIECE_BYTES = 12 * 1024 * 1024
const PAIR_TIMEOUT_MS = 20_000

interface Peer {
  name: string
  /** Words before a command that keep it to the peer's core. */
  pinned: string[]
  environment: NodeJS.ProcessEnv
  daemon: ChildProcess
}

interface Outcome {
  stdout: string
  stderr: string
  code: number | null
}

const children = new Set<ChildProcess>()

/** Cores that this process may use, by their numbers. */
function usableCores(): number[] {
  const list = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'
  return list.split(',').flatMap((range) => {
    const [first, last] = range.split('-').map(Number) as [number, number?]
    return Array.from({ length: (last ?? first) - first + 1 }, (_, index) => first + index)
  })
}

function pinning(index: number): string[] {
  const cores = usableCores()
  const hasTaskset = process.env.PATH?.split(':').some((directory) => existsSync(join(directory, 'taskset')))
  if (!hasTaskset || cores.length < 2) return []
  // The laptop's core is its own; the others share what is left.
  const core = index === 0 ? cores[0]! : cores[1 + ((index - 1) % (cores.length - 1))]!
  return ['taskset', '-c', String(core)]
}

function start(peer: Pick<Peer, 'environment' | 'pinned'>, args: string[], directory = '/'): ChildProcess {
  const [command, ...words] = [...peer.pinned, KAPPA, ...args]
  const child = spawn(command!, words, { env: peer.environment, cwd: directory, stdio: ['pipe', 'pipe', 'pipe'] })
  children.add(child)
  child.once('exit', () => children.delete(child))
  // A job that takes no more input is no failure of the demo.
  child.stdin!.on('error', () => undefined)
  return child
}

async function ended(child: ChildProcess): Promise<Outcome> {
  let stdout = ''
  let stderr = ''
  child.stdout!.on('data', (bytes) => (stdout += bytes))
  child.stderr!.on('data', (bytes) => (stderr += bytes))
  child.stdin!.end()
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { stdout, stderr, code }
}

async function kappa(peer: Peer, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await ended(start(peer, args))
  if (code !== 0) throw new Error(`kappa ${args.join(' ')} on ${peer.name} ended with ${code}: ${stderr.trim()}`)
  return stdout
}

async function startPeer(root: string, name: string, index: number): Promise<Peer> {
  const directory = join(root, name)
  await mkdir(directory, { mode: 0o700 })
  await writeFile(join(directory, 'kappa.toml'), 'mdns = false\n[machine]\ncores = 1\n')
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    KAPPA_DIR: directory,
    KAPPA_NAME: name,
    KAPPA_LISTEN: '127.0.0.1:0'
  }
  const pinned = pinning(index)
  const daemon = start({ environment, pinned }, ['daemon'])
  let said = ''
  daemon.stderr!.on('data', (bytes) => (said += bytes))
  const up = Promise.withResolvers<void>()
  daemon.stderr!.on('data', () => said.includes(' serving') && up.resolve())
  daemon.once('exit', () => up.reject(new Error(`the daemon of ${name} ended: ${said.trim()}`)))
  await up.promise
  return { name, pinned, environment, daemon }
}

/** As a person would over ssh: one machine prints the link, the other takes it. */
async function pair(host: Peer, guest: Peer): Promise<void> {
  const invite = start(host, ['pair', '--invite', '--own'])
  const line = await new Promise<string>((resolve, reject) => {
    let text = ''
    invite.stdout!.on('data', (bytes) => {
      text += bytes
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')))
    })
    invite.once('exit', () => reject(new Error('the invitation ended before it printed a link')))
  })
  const timer = setTimeout(() => invite.kill(), PAIR_TIMEOUT_MS)
  await kappa(guest, 'pair', '--yes', '--own', line)
  await new Promise((resolve) => (invite.exitCode === null ? invite.once('exit', resolve) : resolve(0)))
  clearTimeout(timer)
}

async function makeInput(directory: string): Promise<string[]> {
  const names: string[] = []
  const source = await open(process.execPath)
  const { size } = await source.stat()
  for (let index = 0; index < PIECES; index++) {
    const bytes = Buffer.alloc(PIECE_BYTES)
    await source.read(bytes, 0, PIECE_BYTES, Math.floor(((size - PIECE_BYTES) / PIECES) * index))
    names.push(`piece-${index}`)
    await writeFile(join(directory, names[index]!), bytes)
  }
  await source.close()
  return names
}

interface Job {
  what: string
  target: string
  reason: string
  seconds: number
  output: string
}

/** One job of the laptop: odd ones through streams, even ones with staged files. */
async function runJob(laptop: Peer, directory: string, name: string, index: number, place: string[]): Promise<Job> {
  const began = performance.now()
  const output = `${name}.gz`
  const staged = index % 2 === 0
  const argv = staged
    ? ['run', '-v', ...place, '--in', name, '--out', output, 'gzip', '-9', '-n', '-k', name]
    : ['run', '-v', '--plain', ...place, 'gzip', '-9', '-n']
  const child = start(laptop, argv, directory)
  let said = ''
  child.stderr!.on('data', (bytes) => (said += bytes))
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
  if (staged) child.stdin!.end()
  else {
    void pipeline(createReadStream(join(directory, name)), child.stdin!).catch(() => undefined)
    await pipeline(child.stdout!, createWriteStream(join(directory, output)))
  }
  const code = await closed
  if (code !== 0) throw new Error(`the job for ${name} ended with ${code}: ${said.trim()}`)
  const [, where, reason] = /kappa: running (?:on )?(\S+): (.*?)(?: \(kappa why|\n)/.exec(said) ?? []
  return {
    what: staged ? `gzip -9 ${name}` : `gzip -9 < ${name}`,
    target: where === 'here' ? laptop.name : (where ?? '?'),
    reason: reason ?? '',
    seconds: (performance.now() - began) / 1000,
    output: await sha256(join(directory, output))
  }
}

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

async function demonstrate(root: string): Promise<void> {
  print('Three machines, one core each, on this one:')
  const [laptop, desktop, nas] = (await Promise.all(NAMES.map((name, index) => startPeer(root, name, index)))) as [
    Peer,
    Peer,
    Peer
  ]
  await pair(desktop, laptop)
  print('  $ kappa pair --yes --own LINK      (on laptop, with the invitation of desktop)')
  await pair(nas, laptop)
  print('  $ kappa pair --yes --own LINK      (on laptop, with the invitation of nas)')
  await connected(laptop, 2)

  const directory = join(root, 'work')
  await mkdir(directory)
  const names = await makeInput(directory)

  print(`\n${PIECES} jobs at home, one after another, as its one core would do them:`)
  const homeBegan = performance.now()
  const home: Job[] = []
  for (const [index, name] of names.entries()) home.push(await runJob(laptop, directory, name, index, ['--local']))
  const homeSeconds = (performance.now() - homeBegan) / 1000
  print(`  ${homeSeconds.toFixed(1)} s`)
  for (const name of names) await rm(join(directory, `${name}.gz`))

  print('\nThe same with kappa, all at once:')
  const began = performance.now()
  const jobs = await Promise.all(names.map((name, index) => runJob(laptop, directory, name, index, [])))
  const seconds = (performance.now() - began) / 1000
  for (const [index, job] of jobs.entries()) {
    const same = job.output === home[index]!.output
    print(
      `  ${job.what.padEnd(22)} ${job.target.padEnd(8)} ${job.seconds.toFixed(1).padStart(5)} s  ` +
        `${same ? 'identical' : 'DIFFERENT'}  ${job.reason}`
    )
    if (!same) process.exitCode = 1
  }
  print(`  ${seconds.toFixed(1)} s, ${(homeSeconds / seconds).toFixed(1)} times as fast as all at home`)
  print('\nTwo machines of your own: kappa pair on one, kappa pair NAME on the other; then kappa run CMD.')
}

/** Waits until the peer is connected with so many neighbours that told their record. */
async function connected(peer: Peer, count: number): Promise<void> {
  const deadline = performance.now() + PAIR_TIMEOUT_MS
  for (;;) {
    const { reachable } = JSON.parse(await kappa(peer, 'status', '--json'))
    if (reachable.length >= count) return
    if (performance.now() > deadline) throw new Error(`the peers did not connect:\n${await kappa(peer, 'status')}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

async function cleanUp(root: string): Promise<void> {
  const leaving = [...children].map((child) => {
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
    return gone.then(() => clearTimeout(timer))
  })
  await Promise.all(leaving)
  await rm(root, { recursive: true, force: true })
}

/** Shows it; whatever happens, nothing of it stays. */
export async function demonstrateHousehold(): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'kappa-demo-'))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void cleanUp(root).then(() => process.exit(128 + (signal === 'SIGINT' ? 2 : 15))))
  }
  try {
    await demonstrate(root)
  } finally {
    await cleanUp(root)
  }
}
