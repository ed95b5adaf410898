/**
 * Runs tap with the arguments given, and closes with one plain line: how many assertions passed, failed and were skipped.
 * With KAPPA_TEST_REQUIRE=all a skipped one is a failure.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'kappa-tap-'))
const results = join(directory, 'results.tap')
try {
  const tap = spawnSync(
    join(root, 'node_modules/.bin/tap'),
    ['run', `--output-file=${results}`, ...process.argv.slice(2)],
    {
      cwd: root,
      stdio: 'inherit'
    }
  )
  if (tap.error) throw tap.error
  const status = tap.status ?? 128 + constants.signals[tap.signal!]
  const { pass, fail, skip } = countsOf(existsSync(results) ? readFileSync(results, 'utf8') : '')
  // A file that dies after its last assertion fails too.
  const failed = status !== 0 ? Math.max(fail, 1) : fail
  const mayNotSkip = process.env.KAPPA_TEST_REQUIRE === 'all' && skip > 0
  if (mayNotSkip) console.log('Nothing may be skipped here (KAPPA_TEST_REQUIRE=all).')
  console.log(`${pass} passed, ${failed} failed, ${skip} skipped`)
  process.exitCode = status === 0 && mayNotSkip ? 1 : status
} finally {
  rmSync(directory, { recursive: true })
}

/** From tap's last comment, such as `# { total: 12, pass: 10, fail: 1, skip: 1 }`. */
function countsOf(text: string): { pass: number; fail: number; skip: number } {
  const summary = [...text.matchAll(/^# \{ total: .* \}$/gm)].at(-1)?.[0] ?? ''
  const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0)
  return { pass: count('pass'), fail: count('fail'), skip: count('skip') }
}
