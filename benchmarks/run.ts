/** `npm run bench [-- NAME... --json]`: answers each question by a table, or one line of JSON for each. */

import { type Benchmark, table } from './measure.ts'

const BENCHMARKS: Record<string, () => Promise<{ benchmark: Benchmark }>> = {
  startup: () => import('./startup.ts'),
  decision: () => import('./decision.ts'),
  latency: () => import('./latency.ts'),
  terminal: () => import('./terminal.ts'),
  jobs: () => import('./jobs.ts'),
  crowd: () => import('./crowd.ts'),
  streams: () => import('./streams.ts'),
  sandbox: () => import('./sandbox.ts'),
  each: () => import('./each.ts'),
  shims: () => import('./shims.ts'),
  guests: () => import('./guests.ts'),
  idle: () => import('./idle.ts'),
  learning: () => import('./learning.ts'),
  fuse: () => import('./fuse.ts'),
  'files-operations': () => files('operations'),
  'files-bytes': () => files('bytes'),
  'files-compile': () => files('compile'),
  'files-builds': () => files('builds'),
  'files-directories': () => files('directories'),
  'files-memory': () => files('memory'),
  'files-techniques': () => files('techniques'),
  simulation: () => import('./simulation.ts'),
  agreement: () => import('./agreement.ts')
}

async function files(section: string): Promise<{ benchmark: Benchmark }> {
  const { benchmarks } = await import('./files.ts')
  return { benchmark: benchmarks[section]! }
}

const words = process.argv.slice(2)
const json = words.includes('--json')
/** One, or all whose names begin with it: `files` is all of `files-…`. */
const names = words
  .filter((word) => !word.startsWith('-'))
  .flatMap((word) => {
    const all = Object.keys(BENCHMARKS).filter((name) => name === word || name.startsWith(`${word}-`))
    return all.length > 0 ? all : [word]
  })
const unknown = names.find((name) => !Object.hasOwn(BENCHMARKS, name))
if (unknown !== undefined) {
  process.stderr.write(`there is no benchmark ${unknown}; there are: ${Object.keys(BENCHMARKS).join(', ')}\n`)
  process.exit(2)
}
for (const name of names.length > 0 ? names : Object.keys(BENCHMARKS)) {
  const { benchmark } = await BENCHMARKS[name]!()
  const why = benchmark.unavailable?.()
  if (why !== undefined) {
    process.stderr.write(`${name}: skipped: ${why}\n`)
    continue
  }
  const result = await benchmark.run()
  process.stdout.write(json ? `${JSON.stringify({ name, ...result })}\n` : `${table(result)}\n`)
}
process.exit()
