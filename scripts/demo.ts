/** What kappa does, shown on this machine: a household of three, or with `--lan` the paper's tables on emulated hosts. */

import { parseArgs } from 'node:util'
import { messageOf } from '../src/errors.ts'

const USAGE = 'usage: npm run demo, or as root: npm run demo -- --lan'

function wantsLan(): boolean {
  try {
    return parseArgs({ options: { lan: { type: 'boolean', default: false } } }).values.lan
  } catch {
    process.stderr.write(`${USAGE}\n`)
    process.exit(2)
  }
}

const lan = wantsLan()
try {
  if (lan) await (await import('./demo-lan.ts')).demonstrateLan()
  else await (await import('./demo-household.ts')).demonstrateHousehold()
} catch (error) {
  process.stderr.write(`demo: ${messageOf(error)}\n`)
  process.exitCode = 1
}
process.exit()
