import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { layerViolations } from './source-layers.ts'

const root = join(import.meta.dirname, '../../src')
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))

t.test('imports only ever point down the layers, and core keeps to itself', async (t) => {
  t.ok(files.includes('core/peer-core.ts'), 'the tree was read')
  t.same(
    files.flatMap((path) => layerViolations(path, readFileSync(join(root, path), 'utf8'))),
    []
  )
})

t.test('a core that reaches out is caught', async (t) => {
  const bad = `
    import { readFileSync } from 'node:fs'
    import type { Daemon } from '../daemon/daemon.ts'
    import { encode } from "cborg"
    export { x } from '../machine/jiffies.ts'
    const late = await import('../network/node.ts')
    const at = Date.now() + performance.now() + Math.random()
    setTimeout(() => crypto.randomUUID(), 1) // Date in a comment doesn't count
    /* nor does process here */
  `
  t.same(layerViolations('core/bad.ts', bad), [
    'core/bad.ts: core imports node:fs',
    'core/bad.ts: core imports daemon/daemon.ts',
    'core/bad.ts: core imports cborg',
    'core/bad.ts: core imports machine/jiffies.ts',
    'core/bad.ts: core imports network/node.ts',
    'core/bad.ts: core uses node:',
    'core/bad.ts: core uses Date',
    'core/bad.ts: core uses performance',
    'core/bad.ts: core uses Math.random',
    'core/bad.ts: core uses setTimeout',
    'core/bad.ts: core uses crypto'
  ])
})

t.test('an import that points up is caught, one that points down is not', async (t) => {
  t.same(layerViolations('network/node.ts', "import { run } from '../protocols/exec/home.ts'"), [
    'network/node.ts: imports protocols/exec/home.ts, which is a layer above'
  ])
  t.same(layerViolations('network/deep/node.ts', "import { x } from '../../core/types.ts'"), [])
  t.same(layerViolations('errors.ts', "import { x } from './index.ts'"), [
    'errors.ts: imports index.ts, which is a layer above'
  ])
  t.same(layerViolations('index.ts', "import { x } from './cli/main.ts'"), [])
  t.same(layerViolations('cli/run.ts', "import x from '../../package.json'"), [
    'cli/run.ts: imports ../../package.json, which is outside src'
  ])
})

t.test('a file or an import without a layer is caught', async (t) => {
  t.same(layerViolations('utils/strings.ts', ''), ['utils/strings.ts: belongs to no layer'])
  t.same(layerViolations('daemon/a.ts', "import { x } from '../helpers.ts'"), [
    'daemon/a.ts: imports helpers.ts, which belongs to no layer'
  ])
})

t.test('words of core are no false alarms', async (t) => {
  t.same(
    layerViolations('core/a.ts', "import type { X } from './types.ts'\nimport { KappaError } from '../errors.ts'"),
    []
  )
  t.same(
    layerViolations('core/a.ts', "const updated = candidate.processes // a Date\nconst url = 'http://x' + updated"),
    []
  )
})
