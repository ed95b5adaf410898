import t from 'tap'
import type { JoinInit, OpenInit } from '../../../src/protocols/pair/service.ts'
import { Liar } from './liar.ts'
import { type Machine, machine, never, outcome, Screen } from './machines.ts'

const opens = (screen: Screen, confirm: OpenInit['confirm'] = async () => true): OpenInit => ({
  kind: 'own',
  signal: never(),
  onEvent: screen.show,
  confirm
})

const joins = (target: Machine | string, digits: JoinInit['digits']): JoinInit => ({
  target: typeof target === 'string' ? target : target.address,
  kind: 'friend',
  signal: never(),
  onEvent: () => {},
  digits
})

/** Types what the screen shows. */
const typing = (screen: Screen) => async () => (await screen.next('digits')).digits

/** Digits that are certainly not these. */
const wrong = (digits: string) => `${(Number(digits[0]) + 1) % 10}${digits.slice(1)}`

t.test('the digits shown on one machine and typed on the other pair them', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  const screen = new Screen()
  const asked: string[] = []
  const opened = nas.pair.openByNumbers(opens(screen, async (other) => asked.push(other.name) > 0))
  const found: unknown[] = []
  const joined = await laptop.pair.joinByNumbers({
    ...joins(nas, typing(screen)),
    onEvent: (event) => found.push(event)
  })
  t.match(joined, { peerId: nas.node.peerId, name: 'nas', kind: 'friend', state: 'paired' })
  t.match(await opened, { peerId: laptop.node.peerId, name: 'laptop', kind: 'own', state: 'paired' })
  t.strictSame(asked, ['laptop'])
  t.strictSame(screen.types(), ['waiting', 'try', 'digits', 'matched', 'paired'])
  t.match(screen.events[0], { name: 'nas', forMs: 300_000 })
  t.match(screen.events[1], { number: 1, left: 2, name: 'laptop', kind: 'friend', peerId: laptop.node.peerId })
  t.match(screen.events[2], { digits: /^\d{6}$/, name: 'laptop' })
  t.match(found, [
    { type: 'found', name: 'nas', kind: 'own', peerId: nas.node.peerId },
    { type: 'matched', name: 'nas' }
  ])
  t.equal(nas.standing(laptop), 'paired own')
  t.equal(laptop.standing(nas), 'paired friend')
})

t.test('three tries with wrong digits close the window', async (t) => {
  const [nas, tv] = [await machine(t, 'nas'), await machine(t, 'tv')]
  const screen = new Screen()
  const opened = outcome(nas.pair.openByNumbers(opens(screen)))
  for (let number = 1; number <= 3; number++) {
    const digits = async () => wrong((await screen.next('digits')).digits)
    t.match(await outcome(tv.pair.joinByNumbers(joins(nas, digits))), /PairingError: these are not the digits of nas/)
  }
  t.match(await opened, /PairingError: pairing is closed after 3 tries; the last: the digits typed on tv are not/)
  t.strictSame(
    screen.events.flatMap((event) => (event.type === 'failed' ? [event.left] : [])),
    [2, 1, 0]
  )
  t.match(await outcome(tv.pair.joinByNumbers(joins(nas, async () => ''))), /PairingError: .* turned this machine away/)
  t.equal(nas.store.pairings.size + tv.store.pairings.size, 0)
})

t.test('a try that is broken off counts, and is shown', async (t) => {
  const [nas, tv, laptop] = [await machine(t, 'nas'), await machine(t, 'tv'), await machine(t, 'laptop')]
  const screen = new Screen()
  const opened = nas.pair.openByNumbers(opens(screen))
  const person = new AbortController()
  const gone = tv.pair.joinByNumbers({
    ...joins(nas, async () => {
      person.abort(new Error('Ctrl-C'))
      return await new Promise<string>(() => {})
    }),
    signal: person.signal
  })
  t.equal(await outcome(gone), 'Error: Ctrl-C')
  t.match(await screen.next('failed'), { reason: 'pairing was cancelled on tv', left: 2 })
  t.match(
    await outcome(tv.pair.joinByNumbers(joins(nas, async () => Promise.reject(new Error('no keyboard'))))),
    'Error: no keyboard'
  )
  t.match(await screen.next('failed'), { left: 1 })
  await laptop.pair.joinByNumbers(joins(nas, typing(screen)))
  t.match(await opened, { name: 'laptop' })
})

t.test('one at a time: a second stranger is told that the machine is busy', async (t) => {
  const [nas, laptop, tv] = [await machine(t, 'nas'), await machine(t, 'laptop'), await machine(t, 'tv')]
  const screen = new Screen()
  const opened = nas.pair.openByNumbers(opens(screen))
  let second: unknown
  await laptop.pair.joinByNumbers(
    joins(nas, async () => {
      second = await outcome(tv.pair.joinByNumbers(joins(nas, async () => '000000')))
      t.match(
        await outcome(laptop.pair.joinByNumbers(joins(nas, async () => ''))),
        /PairingError: this machine is pairing with another/
      )
      return (await screen.next('digits')).digits
    })
  )
  await opened
  t.match(second, /PairingError: .* is pairing with another machine/)
  t.equal(screen.types().filter((type) => type === 'try').length, 1, 'which is no try')
})

t.test('the person says that the other machine does not show matched', async (t) => {
  const [nas, tv] = [await machine(t, 'nas'), await machine(t, 'tv')]
  const screen = new Screen()
  const person = new AbortController()
  const opened = outcome(nas.pair.openByNumbers({ ...opens(screen, async () => false), signal: person.signal }))
  t.match(
    await outcome(tv.pair.joinByNumbers(joins(nas, typing(screen)))),
    /PairingError: pairing was not confirmed on nas/
  )
  t.match(await screen.next('failed'), { left: 2 })
  person.abort(new Error('Ctrl-C'))
  t.equal(await opened, 'Error: Ctrl-C')
  t.equal(nas.store.pairings.size + tv.store.pairings.size, 0)
})

t.test('a machine in the middle, with its own keys, makes the digits differ', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  // One half pretends to be nas towards laptop, the other to be laptop towards nas, and says yes to everything.
  const [likeNas, likeLaptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  const [real, relayed] = [new Screen(), new Screen()]
  const person = new AbortController()
  let laptopShowsMatched = false
  const opened = outcome(
    nas.pair.openByNumbers({ ...opens(real, async () => laptopShowsMatched), signal: person.signal })
  )
  const pretended = outcome(likeNas.pair.openByNumbers({ ...opens(relayed), signal: person.signal }))
  const relaying = new Liar(likeLaptop)
  await relaying.join(nas)
  const { digits } = await real.next('digits')
  const victim = laptop.pair.joinByNumbers({
    ...joins(likeNas, async () => digits),
    onEvent: (event) => {
      if (event.type === 'matched') laptopShowsMatched = true
    }
  })
  t.match(
    await outcome(victim),
    /PairingError: these are not the digits of nas: mistyped, or another machine is in between/
  )
  relaying.channel?.send({ type: 'matched' })
  t.match(await real.next('failed'), { reason: 'pairing with laptop was not confirmed' })
  t.not((await relayed.next('digits')).digits, digits)
  person.abort(new Error('enough'))
  await Promise.all([opened, pretended])
  t.equal(nas.store.pairings.size + laptop.store.pairings.size, 0)
})

t.test('the window closes by itself, also over a person who never answers', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas', { deadlines: { numbersMs: 1500 } }), await machine(t, 'laptop')]
  const screen = new Screen()
  const opened = outcome(nas.pair.openByNumbers(opens(screen, () => new Promise<boolean>(() => {}))))
  t.match(
    await outcome(laptop.pair.joinByNumbers(joins(nas, typing(screen)))),
    /PairingError: it took too long for nas/
  )
  t.match(await opened, /PairingError: nobody paired within/)
  t.equal(nas.store.pairings.size + laptop.store.pairings.size, 0, 'what was pending was taken back')
})

t.test('addresses that lead nowhere', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  const join = (target: string) => outcome(laptop.pair.joinByNumbers(joins(target, async () => '')))
  t.match(await join('127.0.0.1:1'), /UnreachableError/)
  t.match(await join('127.0.0.1:99999'), /UsageError/)
  t.match(await join(nas.address), /PairingError: .* turned this machine away/)
  t.match(await join(laptop.address), /PairingError: this is the address of this machine itself/)
  t.match(
    await join(`/ip4/127.0.0.1/tcp/${nas.node.port}/p2p/${laptop.node.peerId}`),
    /PairingError: this is the address of this/
  )
})
