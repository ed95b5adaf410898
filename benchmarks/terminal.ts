/** What does a terminal cost: how much later does a command on one start, and how late is a key shown that was typed? */

import { fileURLToPath } from 'node:url'
import { Household, unavailable } from './household.ts'
import { type Benchmark, median, quantile, type Result, round } from './measure.ts'
import type { TerminalOrder } from './terminal-agent.ts'

const AGENT = fileURLToPath(new URL('terminal-agent.ts', import.meta.url))
const ROUNDS = 30
const PORT = 7007

async function run(): Promise<Result> {
  const household = await Household.make(2, {})
  try {
    const ssh = await household.startSsh()
    const notes = ssh ? [] : ['ssh is not installed: left out']
    const server = household.lan.spawn(1, [process.execPath, AGENT, 'serve', String(PORT)], {})
    const echo = ['sh', '-c', 'stty raw -echo; printf up; exec cat']
    const quoted = `sh -c '${echo[2]}'`
    const kappa = (...args: string[]) => household.kappa('run', '--plain', '--on', 'p1', ...args)
    const order: TerminalOrder = {
      rounds: ROUNDS,
      starts: {
        'start of true, without a terminal': kappa('-T', 'true'),
        'start of true, on a terminal': kappa('true'),
        ...(ssh && { 'start of true by ssh -tt, connection kept': household.ssh(1, ['-tt', 'true'], true) })
      },
      echoes: {
        'key until it is shown': kappa(...echo),
        ...(ssh && { 'key until it is shown by ssh -tt': household.ssh(1, ['-tt', quoted], true) })
      },
      server: { host: household.lan.address(1), port: PORT }
    }
    const { code, stdout, stderr } = await household.lan.run(0, [process.execPath, AGENT, JSON.stringify(order)], {
      env: household.environment(),
      timeoutMs: 300_000
    })
    server.kill()
    if (code !== 0) throw new Error(stderr)
    const times: Record<string, number[]> = JSON.parse(stdout)
    const of = (name: string) => median(times[name]!)
    const start = of('start of true, on a terminal') - of('start of true, without a terminal')
    const key = of('key until it is shown') - of('round trip of TCP')
    notes.push(`a terminal adds ${round(start)} ms to a start, ${round(key)} ms to the round trip of a key`)
    return {
      question: 'A terminal',
      rows: Object.entries(times).map(([what, ms]) => ({
        what,
        values: { 'median ms': round(median(ms)), 'p95 ms': round(quantile(ms, 0.95)) }
      })),
      notes
    }
  } finally {
    await household.close()
  }
}

export const benchmark: Benchmark = { question: 'A terminal', unavailable, run }
