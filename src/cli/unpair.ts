import type { UnpairResult } from '../daemon/control-results.ts'
import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { print, printJson } from './output.ts'

const HELP = `Usage: kappa unpair [--json] PEER

Ends a pairing at once, on both sides where the other one can be reached: connections are closed, its jobs here end.

  --json    one object: told, whether the other machine knows it already

Example:
  kappa unpair nas`

const TAKES = {
  options: { json: { type: 'boolean' } },
  arguments: { min: 1, max: 1, what: 'one PEER', completes: ['peer'] }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa unpair', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { told } = (await request('unpair', { peer: parsed.positionals[0] })) as UnpairResult
    if (parsed.values.json) printJson({ told })
    else if (told) print('The pairing is ended.')
    else print('The pairing is ended here; the other machine is away, and learns of it when it comes.')
    return 0
  }
}
