import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type ControlHandler, ControlServer } from '../../src/daemon/control.ts'
import { socketPath } from '../../src/daemon/directories.ts'

/** The built program, as scripts call it. */
const KAPPA = join(import.meta.dirname, '../../scripts/kappa')
/** What the launcher becomes for the usual `kappa run`. */
export const NATIVE = join(import.meta.dirname, `../../dist/kappa-client-linux-${process.arch}`)

export interface Finished {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** A directory for KAPPA_DIR, short enough for a socket. */
export function kappaDir(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'kappa-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Something that answers as the daemon would; its KAPPA_DIR. */
export async function fakeDaemon(t: Test, handlers: Record<string, ControlHandler>): Promise<string> {
  const path = kappaDir(t)
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const server = new ControlServer(handlers, log, () => undefined)
  await server.listen(socketPath({ KAPPA_DIR: path }))
  t.teardown(() => server.close())
  return path
}

/** Starts the client as a script would; nothing of the caller's own settings reaches it. */
export function startKappa(
  directory: string,
  args: string[],
  environment: Record<string, string> = {},
  stdio: StdioOptions = 'pipe'
): ChildProcess {
  return spawn(KAPPA, args, { env: clientEnvironment(directory, environment), stdio })
}

function clientEnvironment(directory: string, environment: Record<string, string>): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: directory, KAPPA_DIR: directory, ...environment }
}

/** Runs the client to its end, with so much on stdin. */
export function kappa(
  directory: string,
  args: string[],
  stdin = '',
  environment: Record<string, string> = {}
): Promise<Finished> {
  return fed(startKappa(directory, args, environment), stdin)
}

async function fed(child: ChildProcess, stdin: string): Promise<Finished> {
  child.stdin?.on('error', () => undefined).end(stdin)
  return await finished(child)
}

/** One of the two clients of `kappa run`. */
export interface Client {
  name: 'native' | 'node'
  /** Program and arguments that are this client, for a script of its own; the arguments of `kappa` follow. */
  command(directory: string): string[]
  /** The whole environment that the client gets then. */
  environment(directory: string): NodeJS.ProcessEnv
  startKappa: typeof startKappa
  kappa: typeof kappa
}

/** What the native client would leave to the Node client comes here and says so. */
export function launcherIn(directory: string): string {
  const path = join(directory, 'launcher')
  const script = '#!/bin/sh\nprintf "left to Node: %s\\n" "$*"\nenv | grep ^KAPPA_LAUNCH\nexit 99\n'
  if (!existsSync(path)) writeFileSync(path, script, { mode: 0o755 })
  return path
}

function clientOf(name: Client['name'], command: Client['command'], fixed: Record<string, string>): Client {
  const start: typeof startKappa = (directory, args, environment = {}, stdio = 'pipe') => {
    const [program, ...words] = command(directory)
    const env = clientEnvironment(directory, { ...environment, ...fixed })
    return spawn(program!, [...words, ...args], { env, stdio })
  }
  return {
    name,
    command,
    environment: (directory) => clientEnvironment(directory, fixed),
    startKappa: start,
    kappa: (directory, args, stdin = '', environment = {}) => fed(start(directory, args, environment), stdin)
  }
}

export const NATIVE_CLIENT = clientOf('native', (directory) => [NATIVE, launcherIn(directory)], {})
const NODE_CLIENT = clientOf('node', () => [KAPPA], { KAPPA_CLIENT: 'node' })

/** What `kappa run` does is the same whichever client does it: a test for each. */
export function testClients(name: string, test: (t: Test, client: Client) => Promise<unknown>): void {
  for (const client of [NATIVE_CLIENT, NODE_CLIENT]) t.test(`${name} (${client.name})`, (t) => test(t, client))
}

export async function finished(child: ChildProcess): Promise<Finished> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk) => (stdout += chunk))
  child.stderr?.on('data', (chunk) => (stderr += chunk))
  return await new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}
