/** What a detached job on this machine leaves in its directory, for the daemon to see. */

import { join } from 'node:path'
import { z } from 'zod'
import { StateFile } from './state-file.ts'

/** Names the process that runs the job, as long as it lives. */
export const HERE_LOCK = 'here'

const schema = z.object({
  /** The command's process, which leads a group; null: it doesn't stand. */
  child: z.int().min(1).nullable(),
  /** What is missing in its output. */
  unkept: z.object({ bytes: z.int().min(0), reason: z.string() }).nullable(),
  end: z
    .object({
      exitCode: z.number().nullable(),
      signal: z.string().nullable(),
      error: z.object({ name: z.string(), message: z.string() }).exactOptional()
    })
    .nullable()
})

export type HereNews = z.output<typeof schema>

export function newsFile(directory: string): StateFile<HereNews> {
  return new StateFile(join(directory, 'news.json'), schema, { info() {}, warn() {}, error() {} })
}
