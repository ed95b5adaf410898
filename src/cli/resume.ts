import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command } from './command.ts'
import { print } from './output.ts'

const HELP = `Usage: kappa resume

Lends this machine again after \`kappa pause\`.

Example:
  kappa resume`

export const command: Command = {
  help: HELP,
  takes: { options: {} },
  async execute(args) {
    if (!readArguments({ name: 'kappa resume', help: HELP, options: {} }, args)) return 0
    await request('resume', {})
    print('This machine is lent again.')
    return 0
  }
}
