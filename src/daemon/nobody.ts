/** What is said when nobody can take a job: who was asked, what each lacks, and what to do next. One line. */

import { isPassing, type Lack } from '../core/needs.ts'
import { AWAY, mayBeHere } from '../core/placing.ts'
import type { PeerId, PlacementTrace, PlaceRequest } from '../core/types.ts'

/** Machines that one line tells of; `kappa why` has them all. */
const TOLD_MAX = 6

interface Asking {
  /** Of the job. */
  id: string
  request: PlaceRequest
  trace: PlacementTrace
  self: PeerId
  /** Whether any machine is paired. */
  paired: boolean
  /** What this machine would lack if it might run it. */
  lackHere: Lack | undefined
  nameOf(peer: PeerId): string
}

export function whyNobody(asking: Asking): string {
  return `nobody could take the job: ${whoAndWhy(asking)}. ${nextSteps(asking)}, or see: kappa why ${asking.id}`
}

function whoAndWhy(asking: Asking): string {
  const { request, self, paired, nameOf } = asking
  const reasons = [...reasonsOf(asking)].map(
    ([peer, why]) => `${peer === self ? 'this machine' : nameOf(peer)}: ${why}`
  )
  const told = reasons.slice(0, TOLD_MAX)
  if (reasons.length > TOLD_MAX) told.push(`${reasons.length - TOLD_MAX} more`)
  if (told.length > 0) return told.join('; ')
  if (!paired) return 'no machine is paired with this one yet'
  const { on, not, remote } = request
  if (on.length > 0 && on.every((peer) => peer === self))
    return '--on names this machine alone, and --remote forbids it'
  const excluded = on.length > 0 && on.every((peer) => not.includes(peer)) ? on : not
  const here = remote ? ', --remote this machine' : ''
  if (excluded.length > 0)
    return `--not excludes ${excluded.map(nameOf).join(', ')}${here}, and nobody else is connected`
  return 'no paired machine is connected'
}

/** The last word of each that was asked, and what the others lack from the start. */
function reasonsOf({ trace, self }: Asking): Map<PeerId, string> {
  const reasons = new Map<PeerId, string>()
  // Who was only passed on the way says less than what is known of it otherwise.
  const said = trace.refusals.filter(({ code }) => code !== 'not-better')
  for (const { peer, reason } of said) reasons.set(peer, reason)
  for (const { peer, lacks } of trace.candidates) {
    if (lacks !== undefined && !reasons.has(peer)) reasons.set(peer, lacks)
  }
  for (const { peer, reason } of trace.refusals) if (!reasons.has(peer)) reasons.set(peer, reason)
  const here = reasons.get(self)
  if (here === undefined) return reasons
  reasons.delete(self)
  return reasons.set(self, here)
}

function nextSteps({ request, trace, self, paired, lackHere, nameOf }: Asking): string {
  const away = trace.candidates.filter(({ lacks }) => lacks === AWAY).map(({ peer }) => nameOf(peer))
  const steps: string[] = []
  if (!paired) steps.push('pair one with: kappa pair')
  if (away.length > 0) steps.push(`start kappa on ${away.slice(0, TOLD_MAX).join(', ')}`)
  if (!request.wait && trace.refusals.some(({ code }) => isPassing(code))) steps.push('wait for a free one with --wait')
  if (!mayBeHere(request, self) && lackHere === undefined) steps.push('run it here with --local')
  if (steps.length === 0) steps.push('ask for less')
  const text = steps.join(', ')
  return `${text[0]!.toUpperCase()}${text.slice(1)}`
}
