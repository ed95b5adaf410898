/**
 * What was run already with the very code that is here now: one line of JSON for each run, in a file named by the hash of the
 * code. Another version of the simulator or of the core finds nothing of it.
 */

import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, globSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Result } from '../../src/simulator/scenario.ts'
import type { Run } from './run.ts'

/** What decides about a result. */
const CODE = ['src/core/**/*.ts', 'src/simulator/**/*.ts']

export class ResultStore {
  readonly #path: string
  /** By the run in JSON; as many as the studies have. */
  readonly #results = new Map<string, Result>()

  /** `root`: of the repository. */
  constructor(directory: string, root: string) {
    mkdirSync(directory, { recursive: true })
    this.#path = join(directory, `${hashOfCode(root)}.jsonl`)
    if (!existsSync(this.#path)) return
    for (const line of readFileSync(this.#path, 'utf8').split('\n')) this.#read(line)
  }

  get(run: Run): Result | undefined {
    return this.#results.get(JSON.stringify(run))
  }

  put(run: Run, result: Result): void {
    this.#results.set(JSON.stringify(run), result)
    appendFileSync(this.#path, `${JSON.stringify({ run, result })}\n`)
  }

  /** The last line may have been cut short. */
  #read(line: string): void {
    try {
      const { run, result } = JSON.parse(line) as { run: Run; result: Result }
      this.#results.set(JSON.stringify(run), result)
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
    }
  }
}

function hashOfCode(root: string): string {
  const hash = createHash('sha256')
  for (const path of globSync(CODE, { cwd: root }).sort()) hash.update(path).update(readFileSync(join(root, path)))
  return hash.digest('hex').slice(0, 16)
}
