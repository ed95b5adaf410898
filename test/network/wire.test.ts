import { Socket } from 'node:net'
import { type ICryptoInterface, pureJsCrypto } from '@chainsafe/libp2p-noise'
import t from 'tap'
import { FrameStream } from '../../src/network/frames.ts'
import { noiseCrypto } from '../../src/network/noise-crypto.ts'
import { pairNodes, startNode } from './nodes.ts'

t.test("Noise's cryptography is the same as the reference in JavaScript", async (t) => {
  const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + length) % 256)
  const key = bytes(32)
  const nonce = bytes(12)
  const pairs: [ICryptoInterface, ICryptoInterface][] = [
    [noiseCrypto, pureJsCrypto],
    [pureJsCrypto, noiseCrypto]
  ]
  const same = (a: Uint8Array, b: Uint8Array) => t.equal(Buffer.compare(a, b), 0)
  same(noiseCrypto.hashSHA256(bytes(100)), pureJsCrypto.hashSHA256(bytes(100)))
  const derived = pureJsCrypto.getHKDF(key, bytes(32))
  noiseCrypto.getHKDF(key, bytes(32)).forEach((part, i) => void same(part, derived[i] as Uint8Array))
  noiseCrypto.getHKDF(key, new Uint8Array()).forEach((part, i) => {
    same(part, pureJsCrypto.getHKDF(key, new Uint8Array())[i] as Uint8Array)
  })
  same(
    noiseCrypto.generateX25519KeyPairFromSeed(key).publicKey as Uint8Array,
    pureJsCrypto.generateX25519KeyPairFromSeed(key).publicKey as Uint8Array
  )
  for (const [one, other] of pairs) {
    const [a, b] = [one.generateX25519KeyPair(), other.generateX25519KeyPair()]
    same(
      one.generateX25519SharedKey(a.privateKey, b.publicKey),
      other.generateX25519SharedKey(b.privateKey, a.publicKey)
    )
    for (const ad of [new Uint8Array(), bytes(32)]) {
      for (const length of [0, 1, 1000, 65_519]) {
        const sealed = one.chaCha20Poly1305Encrypt(bytes(length), nonce, ad, key).subarray()
        same(other.chaCha20Poly1305Decrypt(sealed, nonce, ad, key).subarray(), bytes(length))
        sealed[0] = (sealed[0] as number) ^ 1
        t.throws(() => other.chaCha20Poly1305Decrypt(sealed, nonce, ad, key).subarray())
      }
    }
  }
})

t.test('a message leaves in one piece: its length is never written alone', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  pairNodes(a, b)
  await b.node.handle('/kappa/wire-test/1.0.0', { rights: ['own'], maxStreams: 1 }, (stream) => {
    const echo = new FrameStream(stream, { maxFrameBytes: 100 })
    echo.onFrame(
      (frame) => echo.send(frame),
      () => {}
    )
  })
  const signal = AbortSignal.timeout(10_000)
  const connection = await a.node.dial(b.node.addresses(), b.id, signal)
  const stream = await a.node.openStream(connection, '/kappa/wire-test/1.0.0', signal)
  const written: number[] = []
  const { _write } = Socket.prototype
  t.after(() => {
    Socket.prototype._write = _write
  })
  Socket.prototype._write = function (chunk, ...rest) {
    written.push(chunk.length)
    return _write.call(this, chunk, ...rest)
  }
  const frames = new FrameStream(stream, { maxFrameBytes: 100 })
  const answers = frames.frames(signal)
  for (let i = 0; i < 20; i++) {
    frames.send(Buffer.alloc(77))
    await answers.next()
  }
  t.notOk(written.includes(2), `${written}`)
})
