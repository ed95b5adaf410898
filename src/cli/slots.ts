import type { StatusResult } from '../daemon/control-results.ts'
import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { print, printJson } from './output.ts'

const HELP = `Usage: kappa slots [--remote] [--json]

Prints how many jobs of one core would find a place just now: a core each here, and what other machines lend.

  --remote   only elsewhere
  --json     one object: slots

Example:
  make -j$(kappa slots)     with a shim for the compiler (kappa shim)`

const TAKES = {
  options: { remote: { type: 'boolean' }, json: { type: 'boolean' } }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa slots', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const status = (await request('status', {})) as StatusResult
    const slots = slotsOf(status, parsed.values.remote ?? false)
    if (parsed.values.json) printJson({ slots })
    else print(String(slots))
    return 0
  }
}

/** At least one: make takes -j0 for nothing that makes sense. */
function slotsOf({ load, reachable }: StatusResult, isRemote: boolean): number {
  const there = reachable.reduce((sum, { slots }) => sum + Math.max(0, Math.floor(slots.total - slots.used)), 0)
  return isRemote ? there : Math.max(1, Math.round(load.cores)) + there
}
