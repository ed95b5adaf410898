import { VERSION } from '../version.ts'
import { readArguments } from './arguments.ts'
import type { Command, Takes } from './command.ts'
import { print, printJson } from './output.ts'

const HELP = `Usage: kappa version [--json]

Prints the version of this program.

Example:
  kappa version`

const TAKES = { options: { json: { type: 'boolean' } } } as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa version', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    if (parsed.values.json) printJson({ version: VERSION, node: process.version })
    else print(`kappa ${VERSION}`)
    return 0
  }
}
