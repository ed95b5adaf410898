import { readArguments } from './arguments.ts'
import type { Command } from './command.ts'

const HELP = `Usage: kappa daemon

Runs the daemon in the foreground, for service managers and for debugging. Other commands start it when none runs.
SIGTERM and Ctrl-C end it; SIGHUP makes it read its configuration again.

Example:
  KAPPA_DIR=/tmp/second kappa daemon`

export const command: Command = {
  help: HELP,
  async execute(args) {
    if (!readArguments({ name: 'kappa daemon', help: HELP, options: {} }, args)) return 0
    const { runDaemon } = await import('../daemon/main.ts')
    return runDaemon()
  }
}
