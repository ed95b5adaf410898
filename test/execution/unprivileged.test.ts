import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { findProgram } from '../../src/execution/tools.ts'
import { needs } from '../require.ts'
import { sandboxed } from './executing.ts'

/** A user without any rights, who is not the one that a root daemon's guests are. */
const UID = '54321'

t.test('all of it holds for a daemon that is not root', { timeout: 110_000 }, async (t) => {
  const setpriv = findProgram('setpriv')
  if (!needs(t, process.getuid?.() === 0, 'root, to become another user (else the other tests have shown it)')) return
  if (setpriv === null || (await sandboxed(t)) === null) return
  // What needs root in them was shown by the run as root.
  const { KAPPA_TEST_REQUIRE: _, ...env } = process.env
  const become = ['--reuid', UID, '--regid', UID, '--clear-groups']
  const files = [
    'ends',
    'streams',
    'sandbox',
    'leftovers',
    'signals',
    'unsandboxed',
    'stage-in',
    'stage-out',
    'attacks',
    'limits',
    'shown',
    'terminal'
  ]
  const failures = files.map((name) => {
    const file = new URL(`./${name}.test.ts`, import.meta.url).pathname
    const run = promisify(execFile)(setpriv, [...become, process.execPath, file], { cwd: '/', env, maxBuffer: 1 << 24 })
    return run.then(
      () => '',
      (error) => `${error.stdout}\n${error.stderr}`
    )
  })
  for (const [index, name] of files.entries()) t.equal(await failures[index], '', name)
})
