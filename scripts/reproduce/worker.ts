/** Runs one scenario after the other in a thread of its own. */

import { parentPort } from 'node:worker_threads'
import { type Run, runNow } from './run.ts'

parentPort!.on('message', (run: Run) => parentPort!.postMessage(runNow(run)))
