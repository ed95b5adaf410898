/**
 * `guests.commands`: which commands the owner lets which home run here. Judged by what would be executed. A bare name is looked
 * for in the system's directories, where no guest writes; it allows the same program by its path there, and nothing else
 * of that name: not what a guest brings along.
 */

import type { PairingKind, PeerId } from '../core/types.ts'
import { targetPath } from '../execution/tools.ts'

/** Entries that a refusal tells. */
const TOLD_MAX = 8
/** Characters of each: a phrase travels, and is bounded. */
const SHOWN_MAX = 40
/** A start of a peer ID must be so long: all begin alike. */
const ID_START_MIN = 16

/** Who wants to run something. */
export interface Caller {
  peer: PeerId
  /** As the owner calls it; those that are not paired have none, as they would choose it themselves. */
  name: string | undefined
  /** The weakest kind of pairing on the way. */
  kind: PairingKind
}

/** What that home may run; undefined: anything. */
export function commandsFor(entries: readonly string[], caller: Caller): string[] | undefined {
  if (entries.length === 0) return undefined
  const commands: string[] = []
  for (const entry of entries) {
    const colon = entry.indexOf(':')
    if (colon < 0 || isMeant(entry.slice(0, colon), caller)) commands.push(entry.slice(colon + 1))
  }
  return commands.includes('*') ? undefined : commands
}

/** Why that command may not run, in a phrase for its user; undefined: it may. */
export function whyForbidden(commands: readonly string[] | undefined, command: string): string | undefined {
  if (commands === undefined || commands.some((allowed) => isAllowed(allowed, command))) return undefined
  if (commands.length === 0) return 'its owner lets this home run nothing there (guests.commands)'
  const names = [...new Set(commands)].map((name) => name.slice(0, SHOWN_MAX))
  const told = names.length > TOLD_MAX ? [...names.slice(0, TOLD_MAX), '…'] : names
  return `its owner lets this home run only ${told.join(', ')} there, not ${command.slice(0, SHOWN_MAX)} (guests.commands)`
}

function isMeant(who: string, { peer, name, kind }: Caller): boolean {
  if (who === 'own') return kind === 'own'
  if (who === 'friends') return kind === 'friend'
  return who === name || who === peer || (who.length >= ID_START_MIN && peer.startsWith(who))
}

function isAllowed(allowed: string, command: string): boolean {
  if (allowed === command) return true
  if (allowed.startsWith('/')) return false
  const slash = command.lastIndexOf('/')
  return command.slice(slash + 1) === allowed && targetPath.split(':').includes(command.slice(0, slash))
}
