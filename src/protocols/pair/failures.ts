/** What people read when a session failed. */

import { KappaError } from '../../errors.ts'
import type { Role } from './numbers.ts'
import type { FailureCode } from './session.ts'

export type Method = 'numbers' | 'invitation'

/** The failure of a session as an error: InvitationError when the invitation is to blame, else PairingError. */
export function failureOf(
  result: { code: FailureCode; by: 'here' | 'there' },
  session: { role: Role; method: Method; name: string }
): KappaError {
  const { role, method, name } = session
  if (method === 'invitation' && result.code === 'closed') return invitationOver(name)
  if (result.code === 'burnt') return new KappaError('InvitationError', burnt(result.by, role, name))
  return new KappaError(
    'PairingError',
    result.by === 'there' ? saidThere(result.code, name) : seenHere(result.code, role, name)
  )
}

/** Nobody there takes the invitation, or it would have opened a stream. */
export function invitationOver(name: string): KappaError {
  return new KappaError(
    'InvitationError',
    `${name} doesn't take this invitation any more: it was used, revoked, or is older than 10 minutes; make a new one there with: kappa pair --invite`
  )
}

function burnt(by: 'here' | 'there', role: Role, name: string): string {
  if (by === 'there') {
    return `${name} says that the invitation's secret is wrong, and it is void now; make a new one there with: kappa pair --invite`
  }
  return role === 'opener'
    ? `${name} came with a wrong secret, so the invitation is void; make a new one with: kappa pair --invite`
    : `${name} doesn't know this invitation's secret; make a new one there with: kappa pair --invite`
}

function saidThere(code: FailureCode, name: string): string {
  switch (code) {
    case 'busy':
      return `${name} is pairing with another machine; try again when that is over`
    case 'closed':
      return `${name} has no pairing open; run there first: kappa pair`
    case 'cancelled':
      return `pairing was cancelled on ${name}`
    case 'declined':
      return `pairing was not confirmed on ${name}`
    case 'mismatch':
      return `the digits typed on ${name} are not the ones shown here: mistyped, or another machine is in between`
    case 'timeout':
      return `it took too long for ${name}; try again`
    default:
      return `${name} broke off the pairing; see its log, and try again`
  }
}

function seenHere(code: FailureCode, role: Role, name: string): string {
  switch (code) {
    case 'cancelled':
      return `pairing with ${name} was cancelled`
    case 'declined':
      return `pairing with ${name} was not confirmed`
    case 'mismatch':
      return `these are not the digits of ${name}: mistyped, or another machine is in between; try again`
    case 'timeout':
      return role === 'joiner' ? `${name} didn't confirm in time; try again` : `${name} didn't answer in time`
    case 'lost':
      return `the connection to ${name} broke before pairing was confirmed; try again`
    case 'unsettled':
      return `the connection to ${name} broke while pairing was being confirmed; that is settled when the two meet again, see: kappa peers`
    case 'protocol':
      return `${name} sent something that doesn't belong in a pairing; are both on the same version of kappa?`
    default:
      return `pairing with ${name} failed`
  }
}
