import t from 'tap'
import { commitmentOf, digitsOf, type Party, type Role } from '../../../src/protocols/pair/numbers.ts'
import { NumbersSession } from '../../../src/protocols/pair/numbers-session.ts'
import { exchange, honestPerson, JOINER, OPENER, party, words } from './two-sides.ts'

const opener = () => new NumbersSession('opener', { self: party('opener', 1), peerId: JOINER })
const joiner = () => new NumbersSession('joiner', { self: party('joiner', 2, 'own'), peerId: OPENER })

const hello = (role: Role, { peerId, name, kind, addresses, nonce }: Party) => ({
  type: 'numbers' as const,
  name,
  kind,
  addresses,
  commitment: commitmentOf(role, peerId, nonce)
})

t.test('the whole way', async (t) => {
  const { opener: o, joiner: j, lines } = exchange(opener(), joiner(), honestPerson())
  t.strictSame(lines, [
    'joiner numbers',
    'opener numbers',
    'joiner open',
    'opener open',
    'joiner matched',
    'opener confirm',
    'joiner paired',
    'opener paired'
  ])
  t.strictSame(words(o), ['greeted', 'show-digits', 'matched', 'store pending', 'store paired', 'done'])
  t.strictSame(words(j), ['greeted', 'ask-digits', 'store pending', 'matched', 'store paired', 'done'])
  t.match(o.did[0], { name: 'joiner', kind: 'own' })
  t.match(j.did[0], { name: 'opener', kind: 'friend' })
  t.match(o.did[1], { digits: digitsOf(party('opener', 1), party('joiner', 2, 'own')) })
})

t.test('neither side opens its nonce before it has the commitment of the other', async (t) => {
  const o = opener()
  const first = joiner().start()
  t.match(first, [{ type: 'send', message: { type: 'numbers' } }])
  t.notOk(JSON.stringify(first).includes('nonce'))
  const answer = o.receive(hello('joiner', party('joiner', 2)))
  t.strictSame(
    answer.map((effect) => (effect.type === 'send' ? effect.message.type : effect.type)),
    ['greeted', 'numbers'],
    'the opener commits, and opens only after the joiner did'
  )
})

t.test('a nonce other than the one promised ends it, on either side', async (t) => {
  const o = opener()
  o.receive(hello('joiner', party('joiner', 2)))
  t.match(o.receive({ type: 'open', nonce: new Uint8Array(16).fill(3) }), [
    { type: 'send', message: { type: 'abort', code: 'protocol' } },
    { type: 'failed', code: 'protocol', by: 'here' }
  ])
  const j = joiner()
  j.start()
  j.receive(hello('opener', party('opener', 1)))
  t.match(j.receive({ type: 'open', nonce: new Uint8Array(16).fill(3) }), [
    { type: 'send', message: { type: 'abort', code: 'protocol' } },
    { type: 'failed', code: 'protocol', by: 'here' }
  ])
})

t.test('the commitment of one side, sent back as an echo, opens nothing', async (t) => {
  const j = joiner()
  j.start()
  j.receive({
    ...hello('opener', party('opener', 1)),
    commitment: commitmentOf('joiner', JOINER, party('joiner', 2).nonce)
  })
  t.match(j.receive({ type: 'open', nonce: party('joiner', 2).nonce }), [{ type: 'send' }, { code: 'protocol' }])
})

t.test('digits depend on both IDs, nonces, names, kinds and roles', async (t) => {
  const [a, b] = [party('opener', 1), party('joiner', 2)]
  const all = [
    digitsOf(a, b),
    digitsOf(b, a),
    digitsOf({ ...a, nonce: b.nonce }, b),
    digitsOf(a, { ...b, nonce: a.nonce }),
    digitsOf({ ...a, kind: 'own' }, b),
    digitsOf(a, { ...b, kind: 'own' }),
    digitsOf({ ...a, peerId: JOINER }, b),
    digitsOf(a, { ...b, name: 'tv' })
  ]
  t.equal(new Set(all).size, all.length)
  for (const digits of all) t.match(digits, /^\d{6}$/)
})

t.test('digits may be typed in groups; wrong ones end it and nothing is stored', async (t) => {
  const grouped = honestPerson({ type: (digits) => ` ${digits.slice(0, 3)} ${digits.slice(3)}\n` })
  t.ok(words(exchange(opener(), joiner(), grouped).joiner).includes('done'))

  const wrong = honestPerson({ type: (digits) => String((Number(digits) + 1) % 1_000_000).padStart(6, '0') })
  const { opener: o, joiner: j, lines } = exchange(opener(), joiner(), wrong)
  t.equal(lines.at(-1), 'joiner abort mismatch')
  t.strictSame(words(o), ['greeted', 'show-digits', 'failed mismatch there'])
  t.strictSame(words(j), ['greeted', 'ask-digits', 'failed mismatch here'])
})

t.test('the person at the opener says no: both take it back', async (t) => {
  const { opener: o, joiner: j, lines } = exchange(opener(), joiner(), honestPerson({ confirm: false }))
  t.equal(lines.at(-1), 'opener abort declined')
  t.strictSame(words(o).slice(2), ['matched', 'failed declined here'])
  t.strictSame(words(j).slice(2), ['store pending', 'matched', 'store none', 'failed declined there'])
})

t.test('a cut anywhere leaves nothing, pending, or a pairing that the other side can settle', async (t) => {
  const left = Array.from({ length: 8 }, (_, at) => {
    const { opener: o, joiner: j } = exchange(opener(), joiner(), honestPerson(), (frame, index) =>
      index === at ? undefined : frame
    )
    return [o.stored, j.stored, words(o).at(-1), words(j).at(-1)]
  })
  const lost = ['none', 'none', 'failed lost here', 'failed lost here']
  t.strictSame(left, [
    lost,
    lost,
    lost,
    lost,
    ['none', 'pending', 'failed lost here', 'failed unsettled here'],
    ['pending', 'pending', 'failed unsettled here', 'failed unsettled here'],
    ['pending', 'paired', 'failed unsettled here', 'failed unsettled here'],
    ['paired', 'paired', 'done', 'failed unsettled here']
  ])
})

t.test('what comes out of turn ends it', async (t) => {
  for (const message of [
    { type: 'matched' },
    { type: 'confirm' },
    { type: 'paired' },
    { type: 'open', nonce: new Uint8Array(16) },
    { type: 'name?' },
    { type: 'bye' },
    { type: 'proof', mac: new Uint8Array(32) }
  ] as const) {
    const o = opener()
    t.match(o.receive(message), [{ message: { type: 'abort', code: 'protocol' } }, { code: 'protocol' }], message.type)
    t.ok(o.isOver)
    t.strictSame(o.receive(message), [])
  }
  const j = joiner()
  j.start()
  j.receive(hello('opener', party('opener', 1)))
  j.receive({ type: 'open', nonce: party('opener', 1).nonce })
  t.match(j.receive({ type: 'confirm' }), [{}, { code: 'protocol' }], 'confirmed there before anything was typed here')
  t.strictSame(j.typed('000000'), [])
})

t.test('only before it is confirmed can it be taken back', async (t) => {
  const o = opener()
  o.receive(hello('joiner', party('joiner', 2)))
  o.receive({ type: 'open', nonce: party('joiner', 2).nonce })
  t.strictSame(o.confirmed(true), [], 'not before the other machine says matched')
  o.receive({ type: 'matched' })
  t.match(o.confirmed(true), [{ type: 'store', state: 'pending' }, { message: { type: 'confirm' } }])
  t.strictSame(o.confirmed(true), [])
  t.strictSame(o.cancel('cancelled'), [{ type: 'failed', code: 'unsettled', by: 'here' }])

  const j = joiner()
  j.start()
  j.receive(hello('opener', party('opener', 1)))
  j.receive({ type: 'open', nonce: party('opener', 1).nonce })
  t.ok(j.waitsForPerson)
  j.typed(digitsOf(party('opener', 1), party('joiner', 2, 'own')))
  t.match(j.cancel('cancelled'), [
    { type: 'store', state: 'none' },
    { message: { type: 'abort' } },
    { code: 'cancelled' }
  ])
})
