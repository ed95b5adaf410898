/** Who a peer is: an Ed25519 key, and the libp2p peer ID made of its public half. Pure functions; the caller stores. */
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey, PeerId as Libp2pPeerId } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import type { PeerId } from '../core/types.ts'
import { KappaError, messageOf } from '../errors.ts'

export type IdentityKey = Ed25519PrivateKey

/** A new random key. */
export function createIdentity(): Promise<IdentityKey> {
  return generateKeyPair('Ed25519')
}

/** The key as bytes to be stored, in libp2p's protobuf. */
export function identityToBytes(key: IdentityKey): Uint8Array {
  return privateKeyToProtobuf(key)
}

/** The key from its stored bytes. Throws StateError when they are none of ours. */
export function identityFromBytes(bytes: Uint8Array): IdentityKey {
  let key: ReturnType<typeof privateKeyFromProtobuf>
  try {
    key = privateKeyFromProtobuf(bytes)
  } catch (error) {
    throw new KappaError('StateError', `the stored key is damaged: ${messageOf(error)}`, { cause: error })
  }
  if (key.type !== 'Ed25519') throw new KappaError('StateError', `the stored key is ${key.type}, not Ed25519`)
  return key
}

/** The peer ID of a key, as text. */
export function peerIdOf(key: IdentityKey): PeerId {
  return peerIdFromPrivateKey(key).toString()
}

/** The text of a peer ID in its one canonical form. Throws UsageError when it is not the ID of an Ed25519 key. */
export function parsePeerId(text: string): PeerId {
  return libp2pPeerId(text).toString()
}

/** libp2p's object for a peer ID. Throws UsageError when the text is not the ID of an Ed25519 key. */
export function libp2pPeerId(text: PeerId): Libp2pPeerId {
  let id: Libp2pPeerId | undefined
  // The length of any Ed25519 ID in base58 or as a CID; longer text is not worth parsing.
  if (text.length <= 80) {
    try {
      id = peerIdFromString(text)
    } catch {
      id = undefined
    }
  }
  if (id?.type !== 'Ed25519')
    throw new KappaError('UsageError', `"${text.slice(0, 80)}" is not a peer ID; one begins with 12D3KooW`)
  return id
}
