import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { MachineClass } from '../../src/core/types.ts'
import { between } from '../../src/daemon/doctor/between.ts'
import { CHECKS } from '../../src/daemon/doctor/checks.ts'
import { plain, tablesOf } from './markdown.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/troubleshooting.md'), 'utf8')
const X64: MachineClass = { os: 'linux', arch: 'x64', cpuLevel: 3, pageSize: 4096, modes: [] }

/** Two machines between which nothing is in order. */
const worst = between({
  here: { name: '…', circumstances: { family: 'debian', root: false }, port: 5277 },
  there: { name: '…' },
  silence: { reason: 'it does not answer', isOld: false },
  waysThere: [],
  waysBack: [],
  versions: { here: '1.4.0', there: '1.2.0' },
  clock: { skewMs: 60_000, withinMs: 1 },
  classes: { here: X64, there: { ...X64, arch: 'arm64' } },
  mdns: { here: false, there: false }
})

t.test('each check of kappa doctor is told, with what is lost by it', async (t) => {
  const [told] = tablesOf(page).filter(({ head }) => head[0] === 'check')
  const known = [...CHECKS, ...worst].map(({ id, lost }) => [id, lost])
  t.same(
    told?.rows.map(([id, lost]) => [plain(id!), plain(lost!)]),
    known
  )
})
