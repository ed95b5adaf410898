/** What a study is: a question to a paper or to the simulator, answered by one page with its plots. */

import type { Laboratory } from './laboratory.ts'

export interface Report {
  /** Two sentences or so: what came out. The page begins with it, and the index quotes it. */
  summary: string
  /** The rest of the page, in Markdown. */
  body: string
  /** By file name, without its ending. */
  plots: ReadonlyMap<string, string>
}

export interface Study {
  /** The page's file name, without its ending, and the word by which it is asked for. */
  name: string
  title: string
  run(laboratory: Laboratory): Promise<Report>
}
