/**
 * An invitation as a link: one line of letters, digits, `-`, `_` and one `:`, so that no shell touches it.
 *
 *     kappa:BASE64URL(version, public key, secret, name, addresses, checksum)
 */

import { createHash } from 'node:crypto'
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPublicKey, peerIdFromString } from '@libp2p/peer-id'
import { CODE_P2P, multiaddr } from '@multiformats/multiaddr'
import { concat } from 'uint8arrays/concat'
import { toString as textOf } from 'uint8arrays/to-string'
import type { PeerId } from '../../core/types.ts'
import { KappaError } from '../../errors.ts'
import { NAME_LENGTH_MAX } from '../../printable.ts'
import { ADDRESSES_MAX, INVITATION_LENGTH_MAX, SECRET_BYTES } from './constants.ts'

export interface Invitation {
  /** Who invites; the only peer that the secret may be proven to. */
  peerId: PeerId
  /** What the inviting machine is called, not yet fit to be shown. */
  name: string
  /** Multiaddrs without `/p2p`, best first, 1 to `ADDRESSES_MAX`. */
  addresses: string[]
  /** Random, good once. */
  secret: Uint8Array
}

const SCHEME = 'kappa:'
const VERSION = 1
const PUBLIC_KEY_BYTES = 32
const CHECKSUM_BYTES = 4
const BYTE_MAX = 255

/** Throws InvitationError when there is no address or too many, or one is too long. */
export function formatInvitation(invitation: Invitation): string {
  checkAddressCount(invitation.addresses.length)
  const key = peerIdFromString(invitation.peerId).publicKey
  if (key?.type !== 'Ed25519') throw new KappaError('InvitationError', `${invitation.peerId} has no Ed25519 key`)
  const parts = [Uint8Array.of(VERSION), key.raw, invitation.secret, ...counted(Buffer.from(invitation.name))]
  parts.push(Uint8Array.of(invitation.addresses.length))
  for (const address of invitation.addresses) parts.push(...counted(multiaddr(address).decapsulateCode(CODE_P2P).bytes))
  const body = concat(parts)
  return SCHEME + textOf(concat([body, checksumOf(body)]), 'base64url')
}

/** White space around the link is ignored. Throws InvitationError, saying what is wrong with the text. */
export function parseInvitation(text: string): Invitation {
  const link = text.trim()
  if (!link.startsWith(SCHEME)) {
    throw new KappaError(
      'InvitationError',
      `that is not an invitation: one starts with "${SCHEME}"; make one with kappa pair --invite`
    )
  }
  const encoded = link.slice(SCHEME.length)
  if (link.length > INVITATION_LENGTH_MAX || !/^[\w-]+$/.test(encoded)) throw damaged()
  const bytes = Buffer.from(encoded, 'base64url')
  if (textOf(bytes, 'base64url') !== encoded || bytes.byteLength <= CHECKSUM_BYTES) throw damaged()
  const body = bytes.subarray(0, -CHECKSUM_BYTES)
  if (!checksumOf(body).equals(bytes.subarray(-CHECKSUM_BYTES))) throw damaged()
  if (body[0] !== VERSION) {
    throw new KappaError(
      'InvitationError',
      'this invitation is of another version of kappa: update kappa on the older machine'
    )
  }
  return readBody(body)
}

function readBody(body: Buffer): Invitation {
  let at = 1
  const take = (length: number): Uint8Array => {
    if (at + length > body.byteLength) throw damaged()
    at += length
    return Uint8Array.from(body.subarray(at - length, at))
  }
  const takeCounted = (): Uint8Array => take(take(1)[0] as number)
  try {
    const peerId = peerIdFromPublicKey(publicKeyFromRaw(take(PUBLIC_KEY_BYTES))).toString()
    const secret = take(SECRET_BYTES)
    const name = new TextDecoder('utf-8', { fatal: true }).decode(takeCounted())
    if (name.length === 0 || name.length > NAME_LENGTH_MAX) throw damaged()
    const count = take(1)[0] as number
    checkAddressCount(count)
    const addresses = Array.from({ length: count }, () => multiaddr(takeCounted()).toString())
    if (at !== body.byteLength) throw damaged()
    return { peerId, name, addresses, secret }
  } catch (error) {
    throw error instanceof KappaError ? error : damaged(error)
  }
}

function counted(bytes: Uint8Array): Uint8Array[] {
  if (bytes.byteLength > BYTE_MAX) {
    throw new KappaError(
      'InvitationError',
      `a name or address of ${bytes.byteLength} bytes doesn't fit into an invitation`
    )
  }
  return [Uint8Array.of(bytes.byteLength), bytes]
}

function checkAddressCount(count: number): void {
  if (count === 0)
    throw new KappaError(
      'InvitationError',
      'an invitation needs an address where this machine can be reached; name one with: kappa config set announce'
    )
  if (count > ADDRESSES_MAX) {
    throw new KappaError(
      'InvitationError',
      `an invitation has at most ${ADDRESSES_MAX} addresses, this one has ${count}; name those that matter with: kappa config set announce`
    )
  }
}

function checksumOf(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, CHECKSUM_BYTES)
}

function damaged(cause?: unknown): KappaError {
  const text = 'this invitation is damaged: copy the whole line that kappa pair --invite printed'
  return new KappaError('InvitationError', text, { cause })
}
