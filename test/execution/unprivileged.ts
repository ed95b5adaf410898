/** Runs tests of this folder as a user without any rights. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { findProgram } from '../../src/execution/tools.ts'
import { needs } from '../require.ts'
import { sandboxed } from './executing.ts'

/**
 * All at once; `names` are those of files, without `.test.ts`. `uid` is not the one that a root daemon's guests are, and another
 * for each caller: some limits count all processes of a user.
 */
export async function unprivileged(t: Test, uid: number, names: readonly string[]): Promise<void> {
  const setpriv = findProgram('setpriv')
  if (!needs(t, process.getuid?.() === 0, 'root, to become another user (else the other tests have shown it)')) return
  if (setpriv === null || (await sandboxed(t)) === null) return
  // What needs root in them was shown by the run as root.
  const { KAPPA_TEST_REQUIRE: _, ...env } = process.env
  const become = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups']
  const failures = names.map((name) => {
    const file = new URL(`./${name}.test.ts`, import.meta.url).pathname
    const run = promisify(execFile)(setpriv, [...become, process.execPath, file], { cwd: '/', env, maxBuffer: 1 << 24 })
    return run.then(
      () => '',
      (error) => `${error.stdout}\n${error.stderr}`
    )
  })
  for (const [index, name] of names.entries()) t.equal(await failures[index], '', name)
}
