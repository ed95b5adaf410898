import { accessSync, constants } from 'node:fs'
import type { Test } from 'tap'

/**
 * What a test needs of the machine. True: go on. False: the test was skipped, printing the reason; with
 * KAPPA_TEST_REQUIRE=all, where nothing may be skipped, it failed instead.
 */
export function needs(t: Test, condition: boolean, reason: string): boolean {
  if (condition) return true
  if (process.env.KAPPA_TEST_REQUIRE === 'all') t.fail(`needs: ${reason}`)
  else t.plan(0, reason)
  return false
}

/** Whether this user may write to a file or directory. */
export function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}
