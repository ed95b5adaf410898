import t from 'tap'
import { type Machine, machine, never, outcome, Screen } from './machines.ts'

/** Enough for machines on loopback to answer, however busy this one is. */
const deadlines = { findMs: 3000 }
/** For those that nobody will answer. */
const short = { findMs: 300 }

const waits = (who: Machine, screen: Screen, signal = never()) =>
  who.pair.openByNumbers({ kind: 'own', signal, onEvent: screen.show, confirm: async () => true })

const joins = (target: string, screen: Screen) => ({
  target,
  kind: 'own' as const,
  signal: never(),
  onEvent: () => {},
  digits: async () => (await screen.next('digits')).digits
})

t.test('a name finds the machine that has pairing open', async (t) => {
  const [nas, tv] = [await machine(t, 'nas'), await machine(t, 'tv')]
  const laptop = await machine(t, 'laptop', { deadlines, lan: [tv, nas] })
  const screen = new Screen()
  const opened = waits(nas, screen)
  t.match(await laptop.pair.joinByNumbers(joins('NAS', screen)), { name: 'nas', peerId: nas.node.peerId })
  t.match(await opened, { name: 'laptop' })
  t.strictSame(laptop.node.connections(tv.node.peerId), [], 'nothing is left of those that were only asked')
})

t.test('an unknown name says who was seen', async (t) => {
  const [nas, tv] = [await machine(t, 'nas'), await machine(t, 'tv')]
  const laptop = await machine(t, 'laptop', { deadlines, lan: [tv, nas] })
  const person = new AbortController()
  const opened = outcome(waits(nas, new Screen(), person.signal))
  t.match(
    await outcome(laptop.pair.joinByNumbers(joins('no such machine', new Screen()))),
    /UnknownPeerError: no machine called "no such machine" has pairing open on this network \(open on: nas; not open on: tv\)/
  )
  person.abort(new Error('enough'))
  await opened
  const alone = await machine(t, 'alone', { deadlines: short, lan: [] })
  t.match(await outcome(alone.pair.joinByNumbers(joins('nas!', new Screen()))), /UnknownPeerError: .*none was heard/)
})

t.test('two machines of one name: the person must say which', async (t) => {
  const [one, two] = [await machine(t, 'nas'), await machine(t, 'nas')]
  const laptop = await machine(t, 'laptop', { deadlines, lan: [one, two] })
  const person = new AbortController()
  const opened = [waits(one, new Screen(), person.signal), waits(two, new Screen(), person.signal)].map(outcome)
  const message = await outcome(laptop.pair.joinByNumbers(joins('nas', new Screen())))
  t.match(message, /AmbiguousNameError: 2 machines say that they are "nas"/)
  for (const { node } of [one, two]) t.match(message, new RegExp(node.peerId.slice(-8)))
  person.abort(new Error('enough'))
  await Promise.all(opened)
})

t.test('a name is told only while numbers are open', async (t) => {
  const nas = await machine(t, 'nas')
  const laptop = await machine(t, 'laptop', { deadlines: short, lan: [nas] })
  const person = new AbortController()
  const invited = outcome(nas.pair.invite({ kind: 'own', signal: person.signal }).done)
  t.match(await outcome(laptop.pair.joinByNumbers(joins('n as', new Screen()))), /UnknownPeerError: .*not open on: nas/)
  person.abort(new Error('enough'))
  await invited
})

t.test('a search ends when the person ends it', async (t) => {
  const laptop = await machine(t, 'laptop', { lan: [] })
  const person = new AbortController()
  const joined = outcome(laptop.pair.joinByNumbers({ ...joins('nas', new Screen()), signal: person.signal }))
  person.abort(new Error('Ctrl-C'))
  t.equal(await joined, 'Error: Ctrl-C')
})
