/**
 * Noise's cryptography from Node's own OpenSSL, with the keys as key objects: given as bytes, Node imports the key anew
 * for every message, which costs more than encrypting a small one (14 µs instead of 4; a third more for 64 KiB).
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject
} from 'node:crypto'
import type { ICryptoInterface, KeyPair } from '@chainsafe/libp2p-noise'
import { Uint8ArrayList } from 'uint8arraylist'

const CIPHER = 'chacha20-poly1305'
const TAG_BYTES = 16
const HASH_BYTES = 32
/** What stands before the 32 bytes of an X25519 key in PKCS #8 and in SPKI. */
const PRIVATE_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex')
const PUBLIC_PREFIX = Buffer.from('302a300506032b656e032100', 'hex')

/** Noise brings its own version of the list class; the two work with each other, but their types don't. */
type Bytes = Parameters<ICryptoInterface['hashSHA256']>[0]
type List = Exclude<Bytes, Uint8Array>

/** A session has two keys, each used for every message in one direction. */
const keyObjects = new WeakMap<Uint8Array, KeyObject>()

function keyObject(key: Uint8Array): KeyObject {
  let object = keyObjects.get(key)
  if (object === undefined) {
    object = createSecretKey(key)
    keyObjects.set(key, object)
  }
  return object
}

function pieces(bytes: Bytes): Iterable<Uint8Array> {
  return bytes instanceof Uint8Array ? [bytes] : bytes
}

/** Pieces up to this many bytes are joined first: copying them is cheaper than one more call of the cipher. */
const JOIN_BELOW_BYTES = 1024

/** The same bytes in few pieces: headers in front of data become one. */
function fewPieces(bytes: Bytes): Uint8Array[] {
  if (bytes instanceof Uint8Array) return [bytes]
  const few: Uint8Array[] = []
  let small: Uint8Array[] = []
  const join = (): void => {
    if (small.length > 0) few.push(small.length === 1 ? small[0]! : Buffer.concat(small))
    small = []
  }
  for (const piece of bytes) {
    if (piece.byteLength <= JOIN_BELOW_BYTES) small.push(piece)
    else {
      join()
      few.push(piece)
    }
  }
  join()
  return few
}

function privateKeyOf(bytes: Bytes): KeyObject {
  const key = Buffer.concat([PRIVATE_PREFIX, bytes.subarray()])
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
}

function rawPublicKey(key: KeyObject): Uint8Array {
  return key.export({ format: 'der', type: 'spki' }).subarray(PUBLIC_PREFIX.length)
}

export const noiseCrypto: ICryptoInterface = {
  hashSHA256(data: Bytes): Uint8Array {
    const hash = createHash('sha256')
    for (const piece of pieces(data)) hash.update(piece)
    return hash.digest()
  },

  getHKDF(chainingKey: Uint8Array, input: Uint8Array): [Uint8Array, Uint8Array, Uint8Array] {
    const derived = new Uint8Array(hkdfSync('sha256', input, chainingKey, new Uint8Array(), 3 * HASH_BYTES))
    return [0, 1, 2].map((i) => derived.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array
    ]
  },

  generateX25519KeyPair(): KeyPair {
    const { privateKey, publicKey } = generateKeyPairSync('x25519')
    const exported = privateKey.export({ format: 'der', type: 'pkcs8' })
    return { publicKey: rawPublicKey(publicKey), privateKey: exported.subarray(PRIVATE_PREFIX.length) }
  },

  generateX25519KeyPairFromSeed(seed: Uint8Array): KeyPair {
    return { publicKey: rawPublicKey(createPublicKey(privateKeyOf(seed))), privateKey: seed }
  },

  generateX25519SharedKey(privateKey: Bytes, publicKey: Bytes): Uint8Array {
    const key = Buffer.concat([PUBLIC_PREFIX, publicKey.subarray()])
    return diffieHellman({
      privateKey: privateKeyOf(privateKey),
      publicKey: createPublicKey({ key, format: 'der', type: 'spki' })
    })
  },

  chaCha20Poly1305Encrypt(plaintext: Bytes, nonce: Uint8Array, ad: Uint8Array, key: Uint8Array): List {
    const cipher = createCipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    if (ad.byteLength > 0) cipher.setAAD(ad, { plaintextLength: plaintext.byteLength })
    const output = new Uint8ArrayList() as unknown as List
    for (const piece of fewPieces(plaintext)) output.append(cipher.update(piece))
    cipher.final()
    output.append(cipher.getAuthTag())
    return output
  },

  chaCha20Poly1305Decrypt(ciphertext: Bytes, nonce: Uint8Array, ad: Uint8Array, key: Uint8Array): List {
    const end = ciphertext.byteLength - TAG_BYTES
    const decipher = createDecipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    if (ad.byteLength > 0) decipher.setAAD(ad, { plaintextLength: end })
    decipher.setAuthTag(ciphertext.subarray(end))
    const text = ciphertext instanceof Uint8Array ? ciphertext.subarray(0, end) : ciphertext.sublist(0, end)
    const output = new Uint8ArrayList() as unknown as List
    for (const piece of pieces(text)) output.append(decipher.update(piece))
    decipher.final()
    return output
  }
}
