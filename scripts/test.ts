/**
 * Checks types, lint and format, builds, and runs tap with the arguments given. Closes with one plain line: how many
 * assertions passed, failed and were skipped; checks that failed count as one. With KAPPA_TEST_REQUIRE=all a skipped one
 * is a failure.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const tap = join(root, 'node_modules/.bin/tap')

/** Of whole peers: their jobs go where it is idle, which must not depend on who else is being tested. */
const ALONE =
  'agreement commands control-socket each faults-burst faults-middle faults-suite guests-yield learn modes shim ship \
strategies two-homes upgrade'.split(' ')

interface Counts {
  pass: number
  fail: number
  skip: number
}

const checked = succeeds('npm', ['run', '--silent', 'check'])
const built = succeeds('npm', ['run', '--silent', 'build']) && buildTap()
const { pass, fail, skip } = built ? runTests(process.argv.slice(2)) : { pass: 0, fail: 1, skip: 0 }
const mayNotSkip = process.env.KAPPA_TEST_REQUIRE === 'all' && skip > 0
const failed = fail + (checked ? 0 : 1)
if (!checked) console.log('The checks of types, lint or format failed: see above.')
if (mayNotSkip) console.log('Nothing may be skipped here (KAPPA_TEST_REQUIRE=all).')
console.log(`${pass} passed, ${failed} failed, ${skip} skipped`)
process.exitCode = failed > 0 || mayNotSkip ? 1 : 0

function succeeds(command: string, args: string[]): boolean {
  return spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status === 0
}

/** tap's class, as npm installs it, has a plugin that .taprc takes out; tap itself notices only after a first failed run. */
function buildTap(): boolean {
  const made = readFileSync(join(root, 'node_modules/@tapjs/test/test-built/dist/esm/index.js'), 'utf8')
  return !made.includes('@tapjs/typescript') || succeeds(tap, ['build'])
}

/** Whole peers whose jobs say where they go mostly wait, for leases and time-outs: two files at a time. */
function runTests(args: string[]): Counts {
  if (args.length > 0) return runTap(args)
  const files = globSync('test/**/*.test.ts', { cwd: root }).sort()
  const whole = files.filter((file) => file.startsWith('test/end-to-end/'))
  const alone = ALONE.map((name) => `test/end-to-end/${name}.test.ts`)
  const counts = [
    runTap(files.filter((file) => !whole.includes(file))),
    runTap(['--jobs=2', ...whole.filter((file) => !alone.includes(file))]),
    runTap(['--jobs=1', ...alone])
  ]
  const sum = (name: keyof Counts) => counts.reduce((total, count) => total + count[name], 0)
  return { pass: sum('pass'), fail: sum('fail'), skip: sum('skip') }
}

/** On a terminal tap shows its progress and writes its results to a file; elsewhere they are what it prints. */
function runTap(args: string[]): Counts {
  const directory = mkdtempSync(join(tmpdir(), 'kappa-tap-'))
  const results = join(directory, 'results.tap')
  try {
    const passed = process.stdout.isTTY
      ? succeeds(tap, ['run', `--output-file=${results}`, ...args])
      : succeeds('bash', [
          '-o',
          'pipefail',
          '-c',
          'file=$1; shift; "$@" | tee "$file"',
          'bash',
          results,
          tap,
          'run',
          ...args
        ])
    const counts = countsOf(existsSync(results) ? readFileSync(results, 'utf8') : '')
    // A file that dies after its last assertion fails too.
    return passed ? counts : { ...counts, fail: Math.max(counts.fail, 1) }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** From tap's last comment, such as `# { total: 12, pass: 10, fail: 1, skip: 1 }`. */
function countsOf(text: string): Counts {
  const summary = [...text.matchAll(/^# \{ total: .* \}$/gm)].at(-1)?.[0] ?? ''
  const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0)
  return { pass: count('pass'), fail: count('fail'), skip: count('skip') }
}
