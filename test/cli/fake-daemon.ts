import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type ControlHandler, ControlServer } from '../../src/daemon/control.ts'
import { socketPath } from '../../src/daemon/directories.ts'

/** The built program, as scripts call it. */
const KAPPA = join(import.meta.dirname, '../../scripts/kappa')

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
  const env = {
    PATH: process.env.PATH,
    HOME: directory,
    KAPPA_DIR: directory,

    ...environment
  }
  return spawn(KAPPA, args, { env, stdio })
}

/** Runs the client to its end, with so much on stdin. */
export async function kappa(
  directory: string,
  args: string[],
  stdin = '',
  environment: Record<string, string> = {}
): Promise<Finished> {
  const child = startKappa(directory, args, environment)
  child.stdin?.on('error', () => undefined).end(stdin)
  return await finished(child)
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
