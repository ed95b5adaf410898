import t from 'tap'
import { formatInvitation, parseInvitation } from '../../../src/protocols/pair/invitation.ts'
import { machine, never, outcome } from './machines.ts'

t.test('a link pairs two machines, and each answers for itself', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  const { link, done } = nas.pair.invite({ kind: 'own', signal: never() })
  const accepted = await laptop.pair.accept({ link, kind: 'friend', signal: never() })
  const invited = await done
  t.match(accepted, { peerId: nas.node.peerId, name: 'nas', kind: 'friend', state: 'paired' })
  t.match(invited, { peerId: laptop.node.peerId, name: 'laptop', kind: 'own', state: 'paired' })
  t.strictSame(invited.addresses, laptop.node.addresses(), 'each knows where the other listens')
  t.strictSame(accepted.addresses, nas.node.addresses())
  t.equal(nas.standing(laptop), 'paired own')
  t.equal(laptop.standing(nas), 'paired friend')
  t.strictSame(nas.changes, [{ type: 'paired', pairing: invited }])
  t.equal(nas.gater.rightOf(laptop.node.peerId), 'own')
  t.equal(nas.gater.rightOf('12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'), undefined, 'closed to all others')
})

t.test('a link is good once', async (t) => {
  const [nas, laptop, tv] = [await machine(t, 'nas'), await machine(t, 'laptop'), await machine(t, 'tv')]
  const { link, done } = nas.pair.invite({ kind: 'own', signal: never() })
  await Promise.all([done, laptop.pair.accept({ link, kind: 'own', signal: never() })])
  t.match(
    await outcome(tv.pair.accept({ link, kind: 'own', signal: never() })),
    /InvitationError: nas doesn't take .* any more/
  )
  t.equal(nas.standing(tv), undefined)
  t.equal(tv.standing(nas), undefined)
})

t.test('a wrong secret is refused, and burns the right one', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  const { link, done } = nas.pair.invite({ kind: 'own', signal: never() })
  const inviting = outcome(done)
  const wrong = formatInvitation({ ...parseInvitation(link), secret: new Uint8Array(16) })
  t.match(
    await outcome(laptop.pair.accept({ link: wrong, kind: 'own', signal: never() })),
    /InvitationError: nas says .* secret is wrong/
  )
  t.match(await inviting, /InvitationError: laptop came with a wrong secret/)
  t.match(
    await outcome(laptop.pair.accept({ link, kind: 'own', signal: never() })),
    /InvitationError: nas doesn't take .* any more/
  )
  t.equal(nas.standing(laptop), undefined)
  t.equal(laptop.standing(nas), undefined)
})

t.test('a link expires', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas', { deadlines: { invitationMs: 50 } }), await machine(t, 'laptop')]
  const { link, done } = nas.pair.invite({ kind: 'own', signal: never() })
  t.match(await outcome(done), /InvitationError: nobody used the invitation/)
  t.match(
    await outcome(laptop.pair.accept({ link, kind: 'own', signal: never() })),
    /InvitationError: nas doesn't take/
  )
})

t.test('a link is revoked by whoever waits for it', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  const person = new AbortController()
  const { link, done } = nas.pair.invite({ kind: 'own', signal: person.signal })
  person.abort(new Error('Ctrl-C'))
  t.equal(await outcome(done), 'Error: Ctrl-C')
  t.match(
    await outcome(laptop.pair.accept({ link, kind: 'own', signal: never() })),
    /InvitationError: nas doesn't take/
  )
  t.equal(nas.standing(laptop), undefined)
})

t.test('links that are used in the wrong place', async (t) => {
  const [nas, laptop, tv] = [await machine(t, 'nas'), await machine(t, 'laptop'), await machine(t, 'tv')]
  const person = new AbortController()
  const { link, done } = nas.pair.invite({ kind: 'own', signal: person.signal })
  t.match(
    await outcome(nas.pair.accept({ link, kind: 'own', signal: never() })),
    /InvitationError: this is an invitation of this machine/
  )
  t.match(
    await outcome(laptop.pair.accept({ link: 'nas', kind: 'own', signal: never() })),
    /InvitationError: that is not an invitation/
  )
  t.throws(() => nas.pair.invite({ kind: 'own', signal: never() }), {
    name: 'PairingError',
    message: /open here already/
  })

  const elsewhere = formatInvitation({ ...parseInvitation(link), addresses: tv.node.addresses() })
  t.match(
    await outcome(laptop.pair.accept({ link: elsewhere, kind: 'own', signal: never() })),
    /UnreachableError/,
    'another peer answers'
  )
  const nowhere = formatInvitation({ ...parseInvitation(link), addresses: ['/ip4/127.0.0.1/tcp/1'] })
  t.match(await outcome(laptop.pair.accept({ link: nowhere, kind: 'own', signal: never() })), /UnreachableError/)

  t.match(
    await outcome(
      laptop.pair.joinByNumbers({
        target: nas.address,
        kind: 'own',
        signal: never(),
        onEvent: () => {},
        digits: async () => '000000'
      })
    ),
    /PairingError: .* has no pairing open/,
    'numbers while an invitation is open'
  )
  const pairing = await laptop.pair.accept({ link, kind: 'own', signal: never() })
  t.equal(pairing.state, 'paired', 'none of these burnt it')
  await done
})

t.test('pairing again changes the kind', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  for (const kind of ['friend', 'own'] as const) {
    const { link, done } = nas.pair.invite({ kind, signal: never() })
    await Promise.all([done, laptop.pair.accept({ link, kind, signal: never() })])
    t.equal(nas.standing(laptop), `paired ${kind}`)
    t.equal(laptop.standing(nas), `paired ${kind}`)
  }
})
