import { encode } from 'cborg'
import fc from 'fast-check'
import t from 'tap'
import { isKappaError } from '../../../src/errors.ts'
import { decodeMessage, encodeMessage, type PairMessage } from '../../../src/protocols/pair/codec.ts'
import { MESSAGE_BYTES_MAX } from '../../../src/protocols/pair/constants.ts'

const refuses = (frame: Uint8Array): boolean => {
  try {
    decodeMessage(frame)
    return false
  } catch (error) {
    return isKappaError(error) && error.name === 'ProtocolError'
  }
}

t.test('each message comes back as it was sent', async (t) => {
  const greeting = { name: 'nas', kind: 'own' as const, addresses: ['/ip4/192.0.2.1/tcp/5277'] }
  const messages: PairMessage[] = [
    { type: 'numbers', ...greeting, commitment: new Uint8Array(32) },
    { type: 'open', nonce: new Uint8Array(16) },
    { type: 'matched' },
    { type: 'confirm' },
    { type: 'invitation', ...greeting, nonce: new Uint8Array(16) },
    { type: 'proof', mac: new Uint8Array(32) },
    { type: 'paired' },
    { type: 'abort', code: 'busy' },
    { type: 'name?' },
    { type: 'name', name: 'nas' },
    { type: 'reconcile' },
    { type: 'standing', state: 'underway' },
    { type: 'bye' }
  ]
  for (const message of messages) t.strictSame(decodeMessage(encodeMessage(message)), message, message.type)
})

t.test('unknown fields are ignored, an unknown reason is a failure', async (t) => {
  t.strictSame(decodeMessage(encode({ type: 'bye', since: 5 })), { type: 'bye' })
  t.strictSame(decodeMessage(encode({ type: 'abort', code: 'moon' })), { type: 'abort', code: 'failed' })
})

t.test('what is out of bounds is refused', async (t) => {
  const numbers = {
    type: 'numbers',
    name: 'nas',
    kind: 'own',
    addresses: [] as string[],
    commitment: new Uint8Array(32)
  }
  t.notOk(refuses(encode(numbers)))
  for (const wrong of [
    { ...numbers, name: '' },
    { ...numbers, name: 'x'.repeat(65) },
    { ...numbers, name: new Uint8Array(3) },
    { ...numbers, kind: 'boss' },
    { ...numbers, commitment: new Uint8Array(31) },
    { ...numbers, commitment: 'x'.repeat(32) },
    { ...numbers, addresses: new Array(9).fill('/ip4/192.0.2.1/tcp/1') },
    { ...numbers, addresses: ['x'.repeat(256)] },
    { type: 'open', nonce: new Uint8Array(17) },
    { type: 'toString' },
    { type: ['bye'] },
    [],
    null,
    'bye'
  ]) {
    t.ok(refuses(encode(wrong)), JSON.stringify(wrong).slice(0, 60))
  }
  t.ok(refuses(encode({ type: 'bye', pad: new Uint8Array(MESSAGE_BYTES_MAX) })), 'too long')
  t.ok(refuses(new Uint8Array(MESSAGE_BYTES_MAX).fill(0x81)), 'too deep')
})

t.test('any bytes at all are decoded or refused', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      refuses(bytes) || decodeMessage(bytes)
    }),
    { seed: 5 }
  )
  t.pass()
})
