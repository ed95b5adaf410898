/** What people are told in their first hour: what the machines lack, what to try, what ends at reboot. */

import type { NeighbourResult, StatusResult } from '../daemon/control-results.ts'
import { printable } from '../printable.ts'
import { isInstalled } from './service/unit.ts'

/** What keeps jobs from this machine, or from another one, and what says more. */
export function lacks(status: StatusResult, neighbours: readonly NeighbourResult[]): string[] {
  const here = status.refuses ?? status.plainOnly
  return [
    ...(here === null ? [] : [`this machine: ${firstOf(here)}; to mend it: kappa doctor`]),
    ...neighbours.flatMap((neighbour) => {
      const why = neighbour.refuses ?? neighbour.plainOnly
      const name = printable(neighbour.name)
      return why === null ? [] : [`${name}: ${firstOf(why)}; to mend it: kappa doctor ${name}`]
    })
  ]
}

/** The reason without the advice behind it, which doctor gives for the right distribution. */
function firstOf(reason: string): string {
  return printable(reason, 300).split('; ')[0]!
}

/** Those whose version is another one. */
export function otherVersions(status: StatusResult, neighbours: readonly NeighbourResult[]): string[] {
  return neighbours.flatMap(({ name, version, refuses }) =>
    version === null || version === status.version || refuses !== null
      ? []
      : [`${printable(name)} runs kappa ${printable(version)}, this machine ${status.version}: they work together.`]
  )
}

export const TRY = 'Try: kappa run -v make -j8, or any other command; kappa why says why it ran where it ran.'

/** What ends at reboot; nothing when something starts it then, or for a peer that is not the user's own. */
export function untilReboot(): string[] {
  if (process.env.KAPPA_DIR || isInstalled()) return []
  return ['At reboot kappa ends here, until the next command; to have it start at boot: kappa service install']
}

/** Names of machines on the network that aren't paired, in a sentence. */
export function nearbyLine(names: readonly string[]): string[] {
  return names.length === 0
    ? []
    : [`On this network kappa runs on ${names.map((name) => printable(name)).join(', ')}, too.`]
}
