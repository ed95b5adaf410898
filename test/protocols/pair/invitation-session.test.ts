import t from 'tap'
import { InvitationSession } from '../../../src/protocols/pair/invitation-session.ts'
import { proofOf } from '../../../src/protocols/pair/numbers.ts'
import { exchange, JOINER, OPENER, party, words } from './two-sides.ts'

const SECRET = new Uint8Array(16).fill(7)
const opener = (secret = SECRET) =>
  new InvitationSession('opener', { self: party('opener', 1, 'own'), peerId: JOINER, secret })
const joiner = (secret = SECRET) =>
  new InvitationSession('joiner', { self: party('joiner', 2), peerId: OPENER, secret })

t.test('the whole way', async (t) => {
  const wire: Uint8Array[] = []
  const {
    opener: o,
    joiner: j,
    lines
  } = exchange(opener(), joiner(), undefined, (frame) => {
    wire.push(frame)
    return frame
  })
  t.strictSame(lines, [
    'joiner invitation',
    'opener invitation',
    'joiner proof',
    'opener proof',
    'joiner paired',
    'opener paired'
  ])
  t.strictSame(words(o), ['greeted', 'burnt', 'store pending', 'store paired', 'done'])
  t.strictSame(words(j), ['greeted', 'store pending', 'store paired', 'done'])
  t.match(j.did[0], { name: 'opener', kind: 'own' })
  t.notOk(
    wire.some((frame) => Buffer.from(frame).includes(Buffer.from(SECRET))),
    'the secret itself never travels'
  )
})

t.test('a wrong secret is burnt, and both take it back', async (t) => {
  const { opener: o, joiner: j, lines } = exchange(opener(), joiner(new Uint8Array(16).fill(8)))
  t.equal(lines.at(-1), 'opener abort burnt')
  t.strictSame(words(o), ['greeted', 'burnt', 'failed burnt here'])
  t.strictSame(words(j), ['greeted', 'store pending', 'store none', 'failed burnt there'])
})

t.test('an inviter that does not know the secret is refused', async (t) => {
  const j = joiner()
  j.start()
  const { name, kind, addresses, nonce } = party('opener', 1)
  j.receive({ type: 'invitation', name, kind, addresses, nonce })
  t.match(j.receive({ type: 'proof', mac: new Uint8Array(32) }), [
    { type: 'store', state: 'none' },
    { message: { type: 'abort', code: 'burnt' } },
    { type: 'failed', code: 'burnt', by: 'here' }
  ])
})

t.test("a proof is one side's, for one session", async (t) => {
  const [a, b] = [party('opener', 1), party('joiner', 2)]
  const proofs = [
    proofOf(SECRET, 'opener', a, b),
    proofOf(SECRET, 'joiner', a, b),
    proofOf(SECRET, 'joiner', { ...a, nonce: b.nonce }, b),
    proofOf(SECRET, 'joiner', a, { ...b, nonce: a.nonce }),
    proofOf(SECRET, 'joiner', a, { ...b, peerId: OPENER }),
    proofOf(SECRET, 'joiner', a, { ...b, kind: 'own' }),
    proofOf(new Uint8Array(16), 'joiner', a, b)
  ].map((mac) => Buffer.from(mac).toString('hex'))
  t.equal(new Set(proofs).size, proofs.length)

  const j = joiner()
  j.start()
  const { name, kind, addresses, nonce } = party('opener', 1)
  const sent = j.receive({ type: 'invitation', name, kind, addresses, nonce })
  const own = sent.find((effect) => effect.type === 'send')
  t.match(own, { message: { type: 'proof' } })
  if (own?.type === 'send') t.match(j.receive(own.message), [{}, {}, { code: 'burnt' }], 'nor its own, sent back')
})

t.test('a cut anywhere leaves nothing, pending, or a pairing that the other side can settle', async (t) => {
  const left = Array.from({ length: 6 }, (_, at) => {
    const { opener: o, joiner: j } = exchange(opener(), joiner(), undefined, (frame, index) =>
      index === at ? undefined : frame
    )
    return [o.stored, j.stored, words(o).at(-1), words(j).at(-1)]
  })
  t.strictSame(left, [
    ['none', 'none', 'failed lost here', 'failed lost here'],
    ['none', 'none', 'failed lost here', 'failed lost here'],
    ['none', 'pending', 'failed lost here', 'failed unsettled here'],
    ['pending', 'pending', 'failed unsettled here', 'failed unsettled here'],
    ['pending', 'paired', 'failed unsettled here', 'failed unsettled here'],
    ['paired', 'paired', 'done', 'failed unsettled here']
  ])
})

t.test('what comes out of turn ends it, before the secret is burnt', async (t) => {
  for (const message of [
    { type: 'proof', mac: new Uint8Array(32) },
    { type: 'paired' },
    { type: 'confirm' },
    { type: 'open', nonce: new Uint8Array(16) }
  ] as const) {
    t.strictSame(
      opener()
        .receive(message)
        .map((effect) => effect.type),
      ['send', 'failed'],
      message.type
    )
  }
})
