import t from 'tap'
import { parseInvitation } from '../../../src/protocols/pair/invitation.ts'
import { InvitationSession } from '../../../src/protocols/pair/invitation-session.ts'
import type { SessionEffect } from '../../../src/protocols/pair/session.ts'
import { Liar } from './liar.ts'
import { type Machine, machine, never, outcome, Screen } from './machines.ts'

const opens = (who: Machine, screen: Screen, signal = never()) =>
  who.pair.openByNumbers({ kind: 'own', signal, onEvent: screen.show, confirm: async () => true })

/** Shows that pairing still works. */
async function pairs(nas: Machine, laptop: Machine, screen: Screen): Promise<string> {
  const pairing = await laptop.pair.joinByNumbers({
    target: nas.address,
    kind: 'own',
    signal: never(),
    onEvent: () => {},
    digits: async () => (await screen.next('digits')).digits
  })
  return pairing.state
}

const hello = {
  type: 'numbers',
  name: 'tv',
  kind: 'own',
  addresses: [] as string[],
  commitment: new Uint8Array(32)
} as const

t.test('a peer that falls silent loses its try, and no more', async (t) => {
  const nas = await machine(t, 'nas', { deadlines: { progressMs: 1000 } })
  const [tv, laptop] = [await machine(t, 'tv'), await machine(t, 'laptop')]
  const screen = new Screen()
  const opened = opens(nas, screen)
  const liar = new Liar(tv)
  const mute = await liar.call(nas)
  const silence = outcome(mute.receive())
  const channel = await liar.call(nas)
  channel.send(hello)
  t.match(await channel.receive(), { type: 'numbers' })
  t.match(await channel.receive(), { type: 'abort', code: 'timeout' })
  t.match(await screen.next('failed'), { reason: "tv didn't answer in time", left: 2 })
  t.match(await silence, /Error/, 'a stream without a word is ended')
  await channel.end(100)
  t.equal(await pairs(nas, laptop, screen), 'paired')
  await opened
})

t.test('a machine that waits in vain for an answer says so', async (t) => {
  const [tv, laptop] = [await machine(t, 'tv'), await machine(t, 'laptop', { deadlines: { progressMs: 1000 } })]
  await tv.pair.stop()
  await tv.node.handle('/kappa/pair/1.0.0', { rights: ['stranger'], maxStreams: 4 }, () => {})
  const gate = tv.gater.openPairing()
  const joined = laptop.pair.joinByNumbers({
    target: tv.address,
    kind: 'own',
    signal: never(),
    onEvent: () => {},
    digits: async () => ''
  })
  t.match(await outcome(joined), /PairingError: .* didn't confirm in time|didn't answer in time/)
  gate.close()
})

t.test('garbage, oversized frames and messages out of turn end their stream, and no more', async (t) => {
  const [nas, tv, laptop] = [await machine(t, 'nas'), await machine(t, 'tv'), await machine(t, 'laptop')]
  const screen = new Screen()
  const opened = opens(nas, screen)
  const liar = new Liar(tv)
  const frames = [
    Buffer.from([0, 0, 0, 5, 1, 2, 3, 4, 5]),
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([0xff, 0xff, 0xff, 0xff, 1]),
    Buffer.from([0, 0, 16, 1, ...new Uint8Array(4097)]),
    Buffer.from('GET / HTTP/1.1\r\n\r\n')
  ]
  for (const bytes of frames) {
    const stream = await liar.stream(nas)
    const closed = new Promise((resolve) => stream.addEventListener('close', resolve, { once: true }))
    stream.send(bytes)
    await closed
    t.pass('ended')
  }
  for (const message of [{ type: 'paired' }, { type: 'matched' }, { type: 'confirm' }] as const) {
    const channel = await liar.call(nas)
    channel.send(message)
    t.match(await channel.receive(), { type: 'abort', code: 'protocol' }, message.type)
    await channel.end(1000)
  }
  const channel = await liar.call(nas)
  channel.send({ type: 'invitation', name: 'tv', kind: 'own', addresses: [], nonce: new Uint8Array(16) })
  t.match(await channel.receive(), { type: 'abort', code: 'closed' })
  await channel.end(1000)
  t.equal(screen.types().includes('try'), false, 'none of which is a try')
  t.equal(await pairs(nas, laptop, screen), 'paired')
  await opened
})

t.test('a commitment that was not kept ends the try', async (t) => {
  const [nas, tv] = [await machine(t, 'nas'), await machine(t, 'tv')]
  const screen = new Screen()
  const person = new AbortController()
  const opened = outcome(opens(nas, screen, person.signal))
  const channel = await new Liar(tv).call(nas)
  channel.send(hello)
  await channel.receive()
  channel.send({ type: 'open', nonce: new Uint8Array(16) })
  t.match(await channel.receive(), { type: 'abort', code: 'protocol' })
  t.match(await screen.next('failed'), { left: 2 })
  person.abort(new Error('enough'))
  await opened
})

t.test('names that would act on a terminal are written out wherever they are shown', async (t) => {
  const [nas, tv] = [await machine(t, 'nas'), await machine(t, 'tv\u001b[2J\u202e')]
  const { link, done } = nas.pair.invite({ kind: 'own', signal: never() })
  await tv.pair.accept({ link, kind: 'own', signal: never() })
  t.match(await done, { name: 'tv\\u{1b}[2J\\u{202e}' })

  const screen = new Screen()
  const opened = opens(nas, screen)
  await pairs(nas, tv, screen)
  await opened
  t.notMatch(JSON.stringify(screen.events), /\\u001b|\u202e/)
})

t.test('a secret is used up by its first use, also when its user then breaks off', async (t) => {
  const [nas, tv] = [await machine(t, 'nas'), await machine(t, 'tv')]
  const { link, done } = nas.pair.invite({ kind: 'own', signal: never() })
  const inviting = outcome(done)
  const { secret } = parseInvitation(link)
  const self = { peerId: tv.node.peerId, name: 'tv', kind: 'own' as const, addresses: [], nonce: new Uint8Array(16) }
  const session = new InvitationSession('joiner', { self, peerId: nas.node.peerId, secret })
  const channel = await new Liar(tv).call(nas)
  const send = (effects: SessionEffect[]) => {
    for (const effect of effects) if (effect.type === 'send') channel.send(effect.message)
  }
  send(session.start())
  send(session.receive((await channel.receive()) ?? { type: 'bye' }))
  t.match(await channel.receive(), { type: 'proof' })
  channel.send({ type: 'abort', code: 'cancelled' })
  await channel.end(1000)
  t.match(await inviting, /InvitationError: pairing was cancelled on tv; the invitation is used up/)
  t.equal(nas.standing(tv), undefined)
})

t.test('a stranger gets nothing when no pairing is open', async (t) => {
  const [nas, tv] = [await machine(t, 'nas'), await machine(t, 'tv')]
  t.match(await outcome(new Liar(tv).call(nas)), /NetworkError/)
})

t.test('while pairing is open, a stranger can neither end nor settle what is not its own', async (t) => {
  const [nas, tv, laptop] = [await machine(t, 'nas'), await machine(t, 'tv'), await machine(t, 'laptop')]
  const { link, done } = nas.pair.invite({ kind: 'own', signal: never() })
  await Promise.all([done, laptop.pair.accept({ link, kind: 'own', signal: never() })])
  const person = new AbortController()
  const opened = outcome(opens(nas, new Screen(), person.signal))
  const liar = new Liar(tv)
  const bye = await liar.call(nas)
  bye.send({ type: 'bye' })
  t.match(await bye.receive(), { type: 'bye' })
  await bye.end(1000)
  const ask = await liar.call(nas)
  ask.send({ type: 'reconcile' })
  t.match(await ask.receive(), { type: 'standing', state: 'none' })
  await ask.end(1000)
  t.equal(nas.standing(laptop), 'paired own')
  t.equal(nas.standing(tv), undefined)
  person.abort(new Error('enough'))
  await opened
})
