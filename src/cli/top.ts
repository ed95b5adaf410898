import { isatty } from 'node:tty'
import { KappaError } from '../errors.ts'
import { readArguments, usageError } from './arguments.ts'
import { inAscii } from './cells.ts'
import type { Command, Takes } from './command.ts'
import { millisecondsOf } from './length-of-time.ts'
import { print, printJson, type Style, styled } from './output.ts'
import { Feed, whyAway } from './top/feed.ts'
import { snapshotOf } from './top/frame.ts'
import { Screen } from './top/screen.ts'
import { beginning, handle } from './top/state.ts'
import { type Look, Top } from './top/top.ts'

const HELP = `Usage: kappa top [--every TIME] [--json]

Shows, until q is pressed, the machines with how they fare (metric, cores in use, slots that guests hold; each over the last
seconds or minutes), their connections, and the jobs of this machine and on it. Keys select, sort, say why a job runs where it
runs, end it, and pause lending; ? lists them.

  --every TIME    look that often; 1s unless given
  --json          write one object for each look, on a line of its own, until it is ended: at (ms since the epoch),
                  status, jobs, guests as of kappa status and kappa ps; error instead while the daemon is away

Where stdout is no terminal, or a dumb one (TERM=dumb), it prints once what there is. NO_COLOR leaves out colours; where the
locale is not UTF-8 only ASCII is drawn.

Example:
  kappa top --json | jq -r '[.status.metric, .status.slots.used] | @tsv'`

const TAKES = {
  options: { every: { type: 'string', default: '1s' }, json: { type: 'boolean' } }
} as const satisfies Takes

const STDOUT = 1
const STDERR = 2

const EVERY_MS_MIN = 100
const EVERY_MS_MAX = 3_600_000
/** Where nothing says how wide a line may be. */
const COLUMNS = 120

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa top', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const everyMs = interval(parsed.values.every)
    const feed = new Feed()
    if (parsed.values.json) return stream(feed, everyMs)
    const look = lookOf(process.env)
    const screen = Screen.open()
    // Before anything is drawn: where the daemon can't be started, that is said as by any command.
    const first = await feed.news('minutes')
    if (screen) await new Top(screen, feed, everyMs, look).run(first)
    else {
      const state = beginning(0, columnsNow())
      handle(state, { type: 'news', news: first })
      const lines = snapshotOf(state, look.paint)
      print(lines.map((line) => (look.ascii ? inAscii(line) : line)).join('\n'))
    }
    return 0
  }
}

/** Of the terminal that it is read on in the end, as far as that is known. */
function columnsNow(): number {
  const terminal = isatty(STDOUT) ? process.stdout : isatty(STDERR) ? process.stderr : undefined
  return Number(process.env.COLUMNS) || terminal?.columns || COLUMNS
}

function interval(text: string): number {
  const ms = millisecondsOf(text, 's')
  if (ms === undefined || ms < EVERY_MS_MIN || ms > EVERY_MS_MAX) {
    throw usageError('kappa top', `--every can't be ${JSON.stringify(text)}: write 0.5s, 2s or 1m, at most an hour`)
  }
  return ms
}

/** Until it is ended, or nobody reads any more. */
async function stream(feed: Feed, everyMs: number): Promise<never> {
  for (let first = true; ; first = false) {
    const startedAt = performance.now()
    try {
      printJson(await feed.news())
    } catch (error) {
      if (first || !(error instanceof KappaError)) throw error
      printJson({ at: Date.now(), error: whyAway(error) })
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, everyMs - (performance.now() - startedAt))))
  }
}

/** What the terminal can show, by what the environment says. */
function lookOf({ LC_ALL, LC_CTYPE, LANG, TERM }: NodeJS.ProcessEnv): Look {
  const looks = new Map<Style, [string, string]>()
  const paint = (style: Style, text: string) => {
    let around = looks.get(style)
    if (around === undefined) {
      const [before = '', after = ''] = styled(style, '|').split('|')
      looks.set(style, (around = [before, after]))
    }
    return around[0] + text + around[1]
  }
  // The console's own font has no blocks of eighths.
  const ascii = TERM === 'linux' || !/utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '')
  return { paint, ascii }
}
