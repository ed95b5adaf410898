/** What does a daemon cost while nothing happens, with three neighbours, beside a bare libp2p node with as many? */

import type { ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'
import { childrenOf } from '../src/execution/process.ts'
import { firstLine } from '../test/end-to-end/peers.ts'
import { Household, unavailable } from './household.ts'
import { type Benchmark, type Result, type Row, round } from './measure.ts'

const NEIGHBOURS = 3
/** What was busy at the start is over, and memory has settled. */
const CALM_MS = 30_000
const WATCHED_MS = 60_000
const PORT = 4_000

interface Reading {
  cpuMs: number
  wakeUps: number
  bytes: number
}

async function run(): Promise<Result> {
  const household = await Household.make(1 + NEIGHBOURS)
  try {
    await delay(CALM_MS)
    const kappa = await watch('kappa daemon', household.daemonPid(0))
    for (const peer of household.peers) await peer.stopDaemon()
    const nodes = await startBareNodes(household)
    await delay(CALM_MS)
    const bare = await watch('bare libp2p node', childrenOf(nodes[0]!.pid!)[0]!)
    for (const node of nodes) node.stdin!.end()
    return {
      question: `An idle daemon with ${NEIGHBOURS} neighbours, over ${WATCHED_MS / 1000} s`,
      rows: [bare, kappa],
      notes: ['bytes are counted on the cable of its host, both directions, headers and multicast DNS included']
    }
  } finally {
    await household.close()
  }
}

/** As a bundle, like the daemon: loading hundreds of files costs memory too. */
async function startBareNodes(household: Household): Promise<ChildProcess[]> {
  const { lan } = household
  const file = join(lan.outside(0, '/root'), 'bare-node.mjs')
  await build({
    input: fileURLToPath(new URL('bare-node.ts', import.meta.url)),
    platform: 'node',
    tsconfig: false,
    output: { file, format: 'esm' }
  })
  const nodes: ChildProcess[] = []
  const addresses: string[] = []
  for (let host = NEIGHBOURS; host >= 0; host--) {
    if (host > 0) await lan.run(host, ['sh', '-c', 'cat > /root/bare-node.mjs'], { input: readFileSync(file) })
    const listen = `/ip4/${lan.address(host)}/tcp/${PORT}`
    const node = lan.spawn(host, [process.execPath, '/root/bare-node.mjs', listen, ...(host === 0 ? addresses : [])])
    addresses.push(await firstLine(node))
    nodes.unshift(node)
  }
  return nodes
}

async function watch(what: string, pid: number): Promise<Row> {
  const before = reading(pid)
  await delay(WATCHED_MS)
  const after = reading(pid)
  const seconds = WATCHED_MS / 1000
  return {
    what,
    values: {
      'resident MiB': round(residentMib(pid)),
      '% of a core': round((after.cpuMs - before.cpuMs) / 10 / seconds),
      'wake-ups/s': round((after.wakeUps - before.wakeUps) / seconds),
      'bytes/s for each neighbour': round((after.bytes - before.bytes) / seconds / NEIGHBOURS)
    }
  }
}

function reading(pid: number): Reading {
  let cpuMs = 0
  let wakeUps = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [running] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1')
    cpuMs += Number(running) / 1e6
    wakeUps += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)![1])
  }
  // The process's own view of the network is its host's.
  const [, fields] = /^\s*eth0:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/net/dev`, 'latin1'))!
  const numbers = fields!.split(/\s+/).map(Number)
  return { cpuMs, wakeUps, bytes: numbers[0]! + numbers[8]! }
}

function residentMib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) / 1024
}

export const benchmark: Benchmark = { question: 'An idle daemon', unavailable, run }
