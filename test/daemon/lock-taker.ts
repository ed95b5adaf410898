/** Takes the lock given as an argument, says whether it could, and keeps it until its stdin ends. */

import { takeLock } from '../../src/daemon/lock.ts'

try {
  const lock = takeLock(process.argv[2]!)
  process.stdout.write('taken\n')
  process.stdin.resume().on('end', () => lock.release())
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`)
}
