/** A daemon in small, for tests that kill it: runs one job and waits. Arguments: scratch directory, `sandboxed` or
 * `unsandboxed`, command. */

import { Executor } from '../../src/execution/job.ts'
import { specOf } from './executing.ts'

const [scratchDirectory, mode, ...argv] = process.argv.slice(2)
const executor = await Executor.open({ scratchDirectory: scratchDirectory!, unsandboxed: mode === 'unsandboxed' })
const job = await executor.begin(specOf(argv))
job.stdout.resume()
job.stderr.resume()
job.start()
setInterval(() => {}, 1000)
