/**
 * Runs on the host that is measured, so that entering it isn't timed: takes commands as JSON in its first argument, runs
 * them in turns (A B A B), prints the milliseconds of each run as JSON.
 */

import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'

export interface Order {
  rounds: number
  /** Runs first that aren't counted. */
  warmUp: number
  commands: Record<
    string,
    { argv: string[]; env?: Record<string, string>; stdin?: string; stdout?: string; between?: string[] }
  >
}

const order: Order = JSON.parse(process.argv[2]!)
const times: Record<string, number[]> = {}

function once(
  argv: string[],
  env: Record<string, string> = {},
  stdin = '/dev/null',
  stdout = '/dev/null'
): Promise<number> {
  return new Promise((resolve, reject) => {
    const [input, output] = [openSync(stdin, 'r'), openSync(stdout, 'w')]
    const began = performance.now()
    const child = spawn(argv[0]!, argv.slice(1), { stdio: [input, output, 'pipe'], env: { ...process.env, ...env } })
    let said = ''
    child.stderr!.on('data', (bytes) => (said += bytes))
    child.once('error', reject)
    child.once('close', (code) => {
      const ms = performance.now() - began
      closeSync(input)
      closeSync(output)
      if (code === 0) resolve(ms)
      else reject(new Error(`${argv.join(' ')} ended with ${code}: ${said}`))
    })
  })
}

for (let round = -order.warmUp; round < order.rounds; round++) {
  for (const [name, { argv, env, stdin, stdout, between }] of Object.entries(order.commands)) {
    if (between) await once(between)
    const ms = await once(argv, env, stdin, stdout)
    if (round >= 0) (times[name] ??= []).push(ms)
  }
}
process.stdout.write(`${JSON.stringify(times)}\n`)
