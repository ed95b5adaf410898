/** Run in an emulated host: prints what the checks of this machine find there, as JSON. The only argument is a scratch directory. */

import { examine } from '../../../src/daemon/doctor/examination.ts'
import { distribution, machineProbes, usableFirewall } from '../../../src/daemon/doctor/probes.ts'
import { checkSandbox, guestOf } from '../../../src/execution/availability.ts'
import { whyNoTrees } from '../../../src/execution/tree.ts'
import { probesOf } from './facts.ts'

const scratchDirectory = process.argv[2]!
const machine = machineProbes({
  sandbox: () => checkSandbox({ ...guestOf({}), scratchDirectory }),
  trees: () => whyNoTrees({}),
  before: { sandbox: true, terminals: true, files: true },
  groups: { memory: true, processes: true },
  unsandboxed: false,
  port: 5277,
  cacheBytes: 0,
  cache: scratchDirectory
})
const circumstances = { ...distribution(), firewall: usableFirewall(), root: process.getuid!() === 0 }
const { checks } = await examine({ ...probesOf(), ...machine }, circumstances)
process.stdout.write(JSON.stringify(checks), () => process.exit(0))
