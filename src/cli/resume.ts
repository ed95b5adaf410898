import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { print, printJson } from './output.ts'

const HELP = `Usage: kappa resume [--json]

Lends this machine again after \`kappa pause\`.

  --json    an empty object, when it is done

Example:
  kappa resume`

const TAKES = { options: { json: { type: 'boolean' } } } as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa resume', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    await request('resume', {})
    if (parsed.values.json) printJson({})
    else print('This machine is lent again.')
    return 0
  }
}
