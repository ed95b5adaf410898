import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { UiResult } from '../daemon/control-results.ts'
import { directories, privateDirectory } from '../daemon/directories.ts'
import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { duration, print, printJson } from './output.ts'

const HELP = `Usage: kappa ui [--no-open] [--json]

Opens a page in the browser: the machines as a live graph, their figures over time, jobs and why they run where they run,
pause, pairing by numbers. It is served on this machine alone, until no browser has had it open for 10 minutes. The
address that is printed is good for one browser, once, within 5 minutes: like a password until then.

  --no-open   only print the address

Example:
  kappa ui`

const TAKES = { options: { 'no-open': { type: 'boolean' }, json: { type: 'boolean' } } } as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa ui', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { url, forMs } = (await request('ui', {})) as UiResult
    if (parsed.values.json) {
      printJson({ url })
      return 0
    }
    const { DISPLAY, WAYLAND_DISPLAY } = process.env
    const isOpened = !parsed.values['no-open'] && Boolean(DISPLAY || WAYLAND_DISPLAY) && (await open(url))
    print(isOpened ? 'The browser opens the page. If it does not:' : `Open this within ${duration(forMs)}:`)
    print(url)
    return 0
  }
}

/** By a file of the user's own that leads there: every user of this machine sees the arguments of programs. */
async function open(url: string): Promise<boolean> {
  const path = join(privateDirectory(directories().runtime), 'ui.html')
  writeFileSync(path, `<!doctype html><title>kappa</title><meta http-equiv="refresh" content="0;url=${url}">\n`, {
    mode: 0o600
  })
  const child = spawn('xdg-open', [path], { detached: true, stdio: 'ignore' })
  child.unref()
  return new Promise((resolve) => {
    child.once('error', () => resolve(false))
    child.once('spawn', () => resolve(true))
  })
}
