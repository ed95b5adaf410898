/** Three hosts on an emulated LAN, all paired, that lend to each other; and what can be done to them. */

import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { nextVersion } from '../end-to-end/next-version.ts'
import { firstLine, pair, sees, TestPeer } from '../end-to-end/peers.ts'
import { Lan } from '../lan.ts'
import { LOG_PORT } from './jobs.ts'
import { type FaultPlan, HOSTS, SMALL_DISK } from './plan.ts'

/** What its daemon writes while it runs is a part of this. */
const SMALL_DISK_SIZE = '64m'
/** Addresses of a LAN's hosts end in 10 and so on: these are free. */
const FIRST_FREE = 100

/** Takes the words of the host's jobs down. */
const LOG = '/root/jobs.log'
const LOGGER = `
const { appendFileSync } = require('node:fs')
appendFileSync(process.argv[1], '')
const server = require('node:net').createServer((socket) => {
  let text = ''
  socket.on('data', (bytes) => (text += bytes)).on('end', () => appendFileSync(process.argv[1], text)).on('error', () => {})
})
server.listen(${LOG_PORT}, '127.0.0.1', () => console.log('listening'))
`

export class Household {
  readonly lan: Lan
  readonly peers: TestPeer[]
  /** Where the next version is installed, on every host. */
  readonly #newer: string
  /** Faults that are under way, by host and kind: one of each at a time. */
  readonly #busy = new Set<string>()
  #addresses = FIRST_FREE

  private constructor(lan: Lan, peers: TestPeer[], newer: string) {
    this.lan = lan
    this.peers = peers
    this.#newer = newer
  }

  static async start(t: Pick<Test, 'teardown'>, directory: string): Promise<Household> {
    const lan = await Lan.create({ hosts: HOSTS })
    t.teardown(() => lan.close())
    const peers = Array.from({ length: HOSTS }, (_, host) =>
      TestPeer.prepare(t as Test, { name: `p${host}`, lan, host })
    )
    for (const host of peers.keys()) await firstLine(lan.spawn(host, [process.execPath, '-e', LOGGER, LOG]))
    const state = `${peers[SMALL_DISK]!.inside}/state`
    const mount = `mkdir -m 700 ${state} && mount -t tmpfs -o size=${SMALL_DISK_SIZE},mode=700 none ${state}`
    await lan.run(SMALL_DISK, ['sh', '-c', mount])
    await Promise.all(peers.map((peer) => peer.startDaemon()))
    const household = new Household(lan, peers, nextVersion(directory))
    for (const [one, peer] of peers.entries()) for (const other of peers.slice(one + 1)) await pair(peer, other, 'own')
    return household
  }

  /** Everybody is back and sees everybody. */
  async settled(): Promise<void> {
    for (const one of this.peers) for (const other of this.peers) if (one !== other) await sees(one, other)
  }

  /** Lines that jobs wrote, of all hosts together. */
  log(): string[] {
    return this.peers.flatMap((_, host) => readFileSync(this.lan.outside(host, LOG), 'latin1').split('\n'))
  }

  /** The daemon of a host, as the host counts its processes; undefined: none runs. */
  async daemonOf(host: number): Promise<string | undefined> {
    const { stdout } = await this.lan.run(host, ['cat', `${this.peers[host]!.inside}/state/lock`])
    return /^(\d+) /.exec(stdout)?.[1]
  }

  /** What the daemons of each host wrote, those that clients started after the first. */
  async logs(): Promise<string[]> {
    return Promise.all(
      this.peers.map(async (peer, host) => {
        const files = `cat ${peer.inside}/state/daemon.log.old ${peer.inside}/state/daemon.log 2>/dev/null || :`
        return peer.log() + (await this.lan.run(host, ['sh', '-c', files])).stdout
      })
    )
  }

  /** What any daemon wrote of a bug of its own. */
  async bugs(): Promise<string[]> {
    return (await this.logs()).flatMap((log) => log.split('\n').filter((line) => line.includes(' error a bug')))
  }

  async #signal(host: number, signal: string): Promise<string | undefined> {
    const pid = await this.daemonOf(host)
    if (pid !== undefined) await this.lan.run(host, ['sh', '-c', `kill -${signal} ${pid}`])
    return pid
  }

  /** Breaks something and mends it again; false: that is broken already. */
  async suffer({ name, host, lastsMs }: FaultPlan): Promise<boolean> {
    const key = `${host} ${KIND[name] ?? name}`
    if (this.#busy.has(key)) return false
    this.#busy.add(key)
    try {
      await this.#suffer(name, host, lastsMs)
    } finally {
      this.#busy.delete(key)
    }
    return true
  }

  async #suffer(name: FaultPlan['name'], host: number, ms: number): Promise<void> {
    const { lan } = this
    const peer = this.peers[host]!
    switch (name) {
      case 'kill daemon':
      case 'stop daemon':
        await this.#signal(host, name === 'kill daemon' ? 'KILL' : 'TERM')
        await delay(ms)
        // Whoever needs it starts it; so it may run already.
        return void (await peer.kappa(['status']))
      case 'freeze': {
        const frozen = await this.#signal(host, 'STOP')
        await delay(ms)
        return void (await lan.run(host, ['sh', '-c', `kill -CONT ${frozen}`]))
      }
      case 'unplug':
      case 'drop':
        await lan.cut(host, name)
        await delay(ms)
        return lan.mend(host)
      case 'new address':
        return lan.readdress(host, lan.address(host).replace(/\d+$/, String(this.#addresses++)))
      case 'pause lending':
        await peer.kappa(['pause', '--now'])
        await delay(ms)
        return void (await peer.kappa(['resume']))
      case 'full disk': {
        const state = `${peer.inside}/state`
        await lan.run(host, ['sh', '-c', `cat /dev/zero >${state}/filler 2>/dev/null; :`])
        await delay(ms)
        return void (await lan.run(host, ['rm', '-f', `${state}/filler`]))
      }
      case 'upgrade': {
        const env = { ...peer.environment, PATH: process.env.PATH! }
        return void (await lan.run(host, [this.#newer, 'status'], { env }))
      }
    }
  }
}

/** What can't be done to a host twice at once. */
const KIND: Partial<Record<FaultPlan['name'], string>> = {
  'kill daemon': 'daemon',
  'stop daemon': 'daemon',
  freeze: 'daemon',
  upgrade: 'daemon',
  'pause lending': 'daemon',
  unplug: 'cable',
  drop: 'cable',
  'new address': 'cable'
}
