/**
 * What both machines compute when people compare numbers or use an invitation. Every hash starts with a label and the
 * protocol's version, and each part is preceded by its length, so that no two different inputs give the same bytes.
 */

import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { PairingKind, PeerId } from '../../core/types.ts'
import { DIGITS, PAIR_PROTOCOL } from './constants.ts'

/** The opener has pairing open and shows the digits; the joiner came to it and its user types them. */
export type Role = 'opener' | 'joiner'

/** What one side brings into a session. */
export interface Party {
  peerId: PeerId
  /** As sent, not yet fit to be shown. */
  name: string
  /** What it will show and lend to the other. */
  kind: PairingKind
  /** Multiaddrs where it says that it listens; at most `ADDRESSES_MAX`. */
  addresses: string[]
  nonce: Uint8Array
}

/** What a side promises before it knows the other's nonce. */
export function commitmentOf(role: Role, peerId: PeerId, nonce: Uint8Array): Uint8Array {
  return hash('commitment', [role, peerId, nonce])
}

/** True when `nonce` is what the commitment was made to. */
export function opensCommitment(commitment: Uint8Array, role: Role, peerId: PeerId, nonce: Uint8Array): boolean {
  return timingSafeEqual(commitment, commitmentOf(role, peerId, nonce))
}

/** The six digits that both sides show or expect. */
export function digitsOf(opener: Party, joiner: Party): string {
  const digest = hash('digits', transcriptOf(opener, joiner))
  // 64 bits modulo a million: no digit is more likely than another by more than 1 in 10^13.
  const number = Buffer.from(digest).readBigUInt64BE(0) % 10n ** BigInt(DIGITS)
  return number.toString().padStart(DIGITS, '0')
}

/** What `prover` sends to show that it knows the invitation's secret, good for this session only. */
export function proofOf(secret: Uint8Array, prover: Role, opener: Party, joiner: Party): Uint8Array {
  const mac = createHmac('sha256', secret)
  for (const part of framed('proof', [prover, ...transcriptOf(opener, joiner)])) mac.update(part)
  return mac.digest()
}

export function isProof(mac: Uint8Array, secret: Uint8Array, prover: Role, opener: Party, joiner: Party): boolean {
  return timingSafeEqual(mac, proofOf(secret, prover, opener, joiner))
}

function transcriptOf(opener: Party, joiner: Party): (string | Uint8Array)[] {
  const parts: (string | Uint8Array)[] = []
  for (const [role, party] of Object.entries({ opener, joiner })) {
    parts.push(role, party.peerId, party.name, party.kind, party.addresses.join('\n'), party.nonce)
  }
  return parts
}

function hash(label: string, parts: (string | Uint8Array)[]): Uint8Array {
  const digest = createHash('sha256')
  for (const part of framed(label, parts)) digest.update(part)
  return digest.digest()
}

function* framed(label: string, parts: (string | Uint8Array)[]): Generator<Uint8Array> {
  for (const part of ['kappa pairing', PAIR_PROTOCOL, label, ...parts]) {
    const bytes = Buffer.from(part as string)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.byteLength)
    yield length
    yield bytes
  }
}
