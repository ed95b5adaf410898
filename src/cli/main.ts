/**
 * The client's entry: finds the command's file, runs it, shows its error. Every job pays for the start of `kappa run`, so
 * nothing is imported here that it doesn't need.
 */

import { writeSync } from 'node:fs'
import { EXIT, isKappaError, KappaError } from '../errors.ts'
import type { Command } from './command.ts'
import { command as run } from './run.ts'

const STDERR = 2

const COMMANDS: Record<string, () => Promise<{ command: Command }>> = {
  // Not a file of its own: each job pays for every file that is opened.
  run: async () => ({ command: run }),
  pair: () => import('./pair.ts'),
  unpair: () => import('./unpair.ts'),
  peers: () => import('./peers.ts'),
  each: () => import('./each.ts'),
  shim: () => import('./shim.ts'),
  slots: () => import('./slots.ts'),
  metrics: () => import('./metrics.ts'),
  ui: () => import('./ui.ts'),
  status: () => import('./status.ts'),
  top: () => import('./top.ts'),
  ps: () => import('./ps.ts'),
  logs: () => import('./logs.ts'),
  wait: () => import('./wait.ts'),
  kill: () => import('./kill.ts'),
  why: () => import('./why.ts'),
  doctor: () => import('./doctor.ts'),
  pause: () => import('./pause.ts'),
  resume: () => import('./resume.ts'),
  config: () => import('./config.ts'),
  daemon: () => import('./daemon.ts'),
  service: () => import('./service.ts'),
  'detached-job': () => import('./detached-job.ts'),
  completions: async () => ({ command: (await import('./completions.ts')).completionsOf(COMMANDS) }),
  version: () => import('./version.ts'),
  help: () => import('./help.ts')
}

const ALIASES: Record<string, string> = { '--help': 'help', '-h': 'help', '--version': 'version', '-V': 'version' }

async function execute(name: string | undefined, args: string[]): Promise<number> {
  if (name === undefined) return (await import('./welcome.ts')).welcome()
  const known = ALIASES[name] ?? name
  const load = Object.hasOwn(COMMANDS, known) ? COMMANDS[known] : undefined
  if (load === undefined) throw await unknownCommand(name)
  return (await load()).command.execute(args)
}

async function unknownCommand(name: string): Promise<KappaError> {
  const { nearest } = await import('../daemon/suggestion.ts')
  const near = nearest(name, Object.keys(COMMANDS))
  const advice = near ? `did you mean: kappa ${near}` : 'see: kappa help'
  return new KappaError('UsageError', `there is no command ${JSON.stringify(name)}; ${advice}`)
}

/** One line for an expected error; anything else is a bug in kappa, shown with its stack. `run` exits as a shell would. */
function report(error: unknown, running: boolean): number {
  const expected = isKappaError(error)
  const bug = error instanceof Error ? error.stack : String(error)
  // Of `kappa run: there is no option --frob` the first word is said already.
  const text = expected
    ? error.message.replaceAll(/\s*\n\s*/g, ' ').replace(/^kappa (?=[a-z]+: )/, '')
    : `this is a bug: ${bug}`
  try {
    writeSync(STDERR, `kappa: ${text}\n`)
  } catch {
    // Nobody reads it; the exit status still tells.
  }
  if (running) return expected && error.exitCode > EXIT.usage ? error.exitCode : EXIT.nothingRan
  return expected ? error.exitCode : EXIT.failure
}

const [name, ...args] = process.argv.slice(2)
execute(name, args).then(
  (code) => {
    process.exitCode = code
  },
  (error) => {
    process.exitCode = report(error, name === 'run')
  }
)
