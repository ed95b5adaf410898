/** A system bus of its own with a stub of logind on it; locks are taken by the real systemd-inhibit. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { until } from './execution/executing.ts'
import { needs } from './require.ts'

const PROGRAMS = ['dbus-daemon', 'systemd-inhibit', 'busctl', 'python3']

/** Who is on it may do everything. */
const configuration = (socket: string) => `<!DOCTYPE busconfig PUBLIC
 "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true"/><allow receive_type="method_call"/><allow receive_type="method_return"/>
<allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>
`

export function logindAvailable(t: Test): boolean {
  const missing = PROGRAMS.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0)
  return needs(t, missing.length === 0, `${missing.join(', ')} (a bus with a stub of logind)`)
}

export class Logind {
  /** Of the bus, for DBUS_SYSTEM_BUS_ADDRESS. */
  readonly address: string
  /** Each line is `taken`, `refused` or `released`, then who, what and how. */
  readonly lines: string[] = []
  readonly bus: ChildProcess
  readonly #t: Test
  readonly #stub: ChildProcess

  private constructor(t: Test, address: string, bus: ChildProcess, stub: ChildProcess) {
    this.#t = t
    this.address = address
    this.bus = bus
    this.#stub = stub
    let text = ''
    stub.stdout!.on('data', (bytes) => {
      text += bytes
      this.lines.splice(0, Number.POSITIVE_INFINITY, ...text.split('\n').filter((line) => line !== ''))
    })
  }

  /** `refused`: modes and whats of locks that nobody gets. */
  static async start(t: Test, refused: readonly string[] = []): Promise<Logind> {
    const directory = mkdtempSync(join(tmpdir(), 'kappa-test-bus-'))
    const socket = join(directory, 'bus')
    writeFileSync(join(directory, 'bus.conf'), configuration(socket))
    const options = [`--config-file=${directory}/bus.conf`, '--nofork', '--print-address']
    const bus = spawn('dbus-daemon', options, { stdio: 'pipe' })
    await once(bus.stdout, 'data')
    const address = `unix:path=${socket}`
    const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: address }
    const stub = spawn('python3', [join(import.meta.dirname, 'stub-logind.py'), ...refused], { env, stdio: 'pipe' })
    t.teardown(() => {
      stub.kill('SIGKILL')
      bus.kill('SIGKILL')
      rmSync(directory, { recursive: true })
    })
    await once(stub.stdout, 'data')
    return new Logind(t, address, bus, stub)
  }

  announce(what: 'sleep' | 'wake'): void {
    this.#stub.stdin!.write(`${what}\n`)
  }

  /** Waits for so many such lines in all. */
  async says(line: string, times = 1): Promise<void> {
    const count = () => this.lines.filter((said) => said === line).length
    await until(this.#t, `logind says ${line}`, () => count() >= times)
  }
}
