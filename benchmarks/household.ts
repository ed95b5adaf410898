/** An emulated household for benchmarks and demonstrations: a LAN with 0.25 ms each way, paired peers, and ssh beside them. */

import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { childrenOf } from '../src/execution/process.ts'
import { edgesOf } from '../src/simulator/topology.ts'
import { KAPPA, pair, TestPeer, until } from '../test/end-to-end/peers.ts'
import { Lan, type LanInit, lanAvailable } from '../test/lan.ts'
import type { Order } from './agent.ts'

const AGENT = fileURLToPath(new URL('agent.ts', import.meta.url))
const SSH_OPTIONS = ['-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no', '-o', 'LogLevel=ERROR']
export const DELAY_US = 250

export interface HouseholdInit extends Omit<LanInit, 'hosts'> {
  /** TOML of every peer. */
  config?: string
  /** What the peers are called; default p0, p1, … */
  names?: string[]
  /** What each says that it is faster than it is; default 1. */
  boasts?: number[]
  /** Who is paired: home (h0) with all others, the default, each with the next one, or everybody with everybody. */
  pairs?: 'star' | 'line' | 'clique'
}

export function unavailable(): string | undefined {
  return lanAvailable({ delay: true })
}

export function has(tool: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export class Household {
  readonly lan: Lan
  readonly peers: TestPeer[] = []
  readonly #teardowns: (() => unknown)[] = []

  private constructor(lan: Lan) {
    this.lan = lan
  }

  /** Hosts h0 (home), h1, … with a peer on each. */
  static async make(hosts: number, init: HouseholdInit = {}): Promise<Household> {
    const { config, names, boasts, pairs = 'star', ...lanInit } = init
    const household = new Household(await Lan.create({ hosts, delayUs: DELAY_US, ...lanInit }))
    const test = { teardown: (end: () => unknown) => household.#teardowns.push(end) } as unknown as Test
    try {
      for (let host = 0; host < hosts; host++) {
        const name = names?.[host] ?? `p${host}`
        household.peers.push(
          await TestPeer.start(test, {
            name,
            lan: household.lan,
            host,
            boasts: boasts?.[host] ?? 1,
            ...(config ? { config } : {})
          })
        )
      }
      const random = () => 0 // none of these topologies draws
      for (const [a, b] of edgesOf(pairs, hosts, random)) await pair(household.peers[b]!, household.peers[a]!)
    } catch (error) {
      await household.close()
      throw error
    }
    return household
  }

  get home(): TestPeer {
    return this.peers[0]!
  }

  /** The number of a host's daemon, as the machine counts; behind it waits who entered the host. */
  daemonPid(host: number): number {
    return childrenOf(this.peers[host]!.daemon.pid!)[0]!
  }

  /** Environment for kappa on a host. */
  environment(host = 0): Record<string, string> {
    return this.peers[host]!.environment
  }

  /** Starts sshd on every host but h0, with keys that let h0 in. */
  async startSsh(): Promise<boolean> {
    if (!has('sshd') || !has('ssh')) return false
    const home = this.lan.outside(0, '/root')
    mkdirSync(`${home}/.ssh`, { recursive: true, mode: 0o700 })
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${home}/.ssh/id_ed25519`])
    for (let host = 1; host < this.peers.length; host++) {
      const there = this.lan.outside(host, '/root')
      mkdirSync(`${there}/.ssh`, { recursive: true, mode: 0o700 })
      writeFileSync(`${there}/.ssh/authorized_keys`, readFileSync(`${home}/.ssh/id_ed25519.pub`), { mode: 0o600 })
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${there}/host_key`])
      mkdirSync(this.lan.outside(host, '/run/sshd'), { recursive: true })
      const config =
        'HostKey /root/host_key\nPidFile none\nUsePAM no\nPermitRootLogin yes\nMaxSessions 100\nMaxStartups 100:30:200\nStrictModes no\n'
      writeFileSync(`${there}/sshd_config`, config)
      this.lan.spawn(host, ['/usr/sbin/sshd', '-D', '-f', '/root/sshd_config'], { stdio: 'ignore' })
    }
    writeFileSync(`${home}/.ssh/config`, '')
    for (let host = 1; host < this.peers.length; host++) {
      appendFileSync(`${home}/.ssh/config`, `Host h${host}\n  HostName ${this.lan.address(host)}\n`)
      await until('sshd answers', async () => (await this.lan.run(0, this.ssh(host, ['true']))).code === 0)
      const master = [
        'ssh',
        ...SSH_OPTIONS,
        '-fN',
        '-o',
        'ControlMaster=yes',
        '-o',
        'ControlPath=/root/.ssh/kept-%n',
        `h${host}`
      ]
      await this.lan.run(0, ['sh', '-c', `${master.join(' ')} >/dev/null 2>&1 </dev/null`])
    }
    return true
  }

  ssh(host: number, command: string[], kept = false): string[] {
    const path = kept ? '/root/.ssh/kept-%n' : 'none'
    return ['ssh', ...SSH_OPTIONS, '-o', `ControlPath=${path}`, `h${host}`, ...command]
  }

  /** kappa on h0. */
  kappa(...args: string[]): string[] {
    return [KAPPA, ...args]
  }

  /** Times commands on h0, in turns. */
  async time(order: Order, timeoutMs = 300_000): Promise<Record<string, number[]>> {
    const { code, stdout, stderr } = await this.lan.run(0, [process.execPath, AGENT, JSON.stringify(order)], {
      env: this.environment(),
      timeoutMs
    })
    if (code !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }

  /** CPU that home and another host used while something ran, ms. */
  async cpuOf<T>(hosts: number[], work: () => Promise<T>): Promise<{ result: T; cpuMs: number[]; wallMs: number }> {
    const before = hosts.map((host) => this.lan.cpuMs(host))
    const began = performance.now()
    const result = await work()
    const wallMs = performance.now() - began
    return { result, wallMs, cpuMs: hosts.map((host, index) => this.lan.cpuMs(host) - before[index]!) }
  }

  async close(): Promise<void> {
    try {
      for (const end of this.#teardowns) await end()
    } finally {
      await this.lan.close()
    }
  }
}
