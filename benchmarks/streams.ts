/** How fast do bytes flow, what do they cost, and does memory stay flat? */

import { readFileSync } from 'node:fs'
import { Household, has, unavailable } from './household.ts'
import { type Benchmark, type Result, type Row, round } from './measure.ts'

const MIB = 512
const ROUNDS = 3

async function run(): Promise<Result> {
  const household = await Household.make(2, { rateMbit: 1000 })
  const notes: string[] = []
  try {
    const ssh = await household.startSsh()
    const { lan } = household
    const blob = '/root/blob'
    await lan.run(0, ['sh', '-c', `head -c ${MIB}M /dev/urandom > ${blob}`])
    await lan.run(1, ['sh', '-c', `head -c ${MIB}M /dev/urandom > ${blob}`])
    const kappa = household.kappa().join(' ')
    const kept = (command: string) =>
      household
        .ssh(1, [command], true)
        .map((word) => `'${word}'`)
        .join(' ')
    const shells: Record<string, string> = {
      'kappa, stdin': `${kappa} run --plain --on p1 sh -c 'cat >/dev/null' < ${blob}`,
      'kappa, stdout': `${kappa} run --plain --on p1 head -c ${MIB}M /dev/zero > /dev/null`,
      'kappa, --in and --out': `cd /root && ${kappa} run --on p1 --in blob --out blob.out mv blob blob.out`,
      ...(ssh && {
        'ssh, stdin': `${kept('cat >/dev/null')} < ${blob}`,
        'ssh, stdout': `${kept(`head -c ${MIB}M /dev/zero`)} > /dev/null`
      })
    }
    const rows: Row[] = []
    if (has('iperf3')) {
      lan.spawn(1, ['iperf3', '-s'], { stdio: 'ignore' })
      const { stdout } = await lan.run(0, ['sh', '-c', `sleep 0.3; iperf3 -J -t 5 -c ${lan.address(1)}`])
      const rate = JSON.parse(stdout).end.sum_received.bits_per_second / 8 / 2 ** 20
      rows.push({ what: 'iperf3', values: { 'MiB/s': round(rate) } })
    } else notes.push('iperf3 is not installed: left out')
    const seconds = new Map<string, number[]>()
    const cpu = new Map<string, number[]>()
    let peak = 0
    const daemons = [memory(household.daemonPid(0)), memory(household.daemonPid(1))]
    const watch = setInterval(() => {
      for (const [host, before] of daemons.entries()) {
        peak = Math.max(peak, memory(household.daemonPid(host)) - before)
      }
    }, 100)
    for (let index = 0; index < ROUNDS; index++) {
      for (const [what, shell] of Object.entries(shells)) {
        const { cpuMs, wallMs, result } = await household.cpuOf([0, 1], () =>
          lan.run(0, ['sh', '-c', shell], { env: household.environment(), timeoutMs: 120_000 })
        )
        if (result.code !== 0) throw new Error(`${what}: ${result.stderr}`)
        seconds.set(what, [...(seconds.get(what) ?? []), wallMs / 1000])
        cpu.set(what, [...(cpu.get(what) ?? []), cpuMs[0]! + cpuMs[1]!])
      }
    }
    clearInterval(watch)
    for (const [what, values] of seconds) {
      const middle = values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
      const cost = cpu.get(what)!.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
      const twice = what.includes('--out') ? 2 : 1
      rows.push({
        what,
        values: {
          'MiB/s': round((MIB * twice) / middle),
          seconds: round(middle),
          'CPU ms/MiB, both sides': round(cost / MIB / twice),
          'CPU s/GiB, both sides': round((cost / MIB / twice) * 1.024)
        }
      })
    }
    notes.push(`resident memory of the daemons rose by ${round(peak / 2 ** 20)} MiB at most`)
    return { question: `${MIB} MiB through streams and files, 1 Gbit/s, 0.25 ms each way`, rows, notes }
  } finally {
    await household.close()
  }
}

/** Resident bytes of a process. */
function memory(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024
}

export const benchmark: Benchmark = { question: 'Streams and files', unavailable, run }
