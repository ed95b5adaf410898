/** Prints whether guests can be run here, for a test that forbids it. Argument: scratch directory. */

import { checkSandbox, guestOf } from '../../src/execution/availability.ts'

console.log(JSON.stringify(await checkSandbox({ ...guestOf({}), scratchDirectory: process.argv[2]! })))
