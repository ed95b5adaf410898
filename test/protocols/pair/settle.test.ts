import t from 'tap'
import { KappaError } from '../../../src/errors.ts'
import { type Machine, machine, never, outcome, Screen } from './machines.ts'

/** Pairs by numbers; `confirm` is what happens when the person at nas is asked. */
function pairing(nas: Machine, laptop: Machine, confirm: () => Promise<boolean> = async () => true) {
  const screen = new Screen()
  const opened = nas.pair.openByNumbers({ kind: 'own', signal: never(), onEvent: screen.show, confirm })
  const joined = laptop.pair.joinByNumbers({
    target: nas.address,
    kind: 'friend',
    signal: never(),
    onEvent: () => {},
    digits: async () => (await screen.next('digits')).digits
  })
  return Promise.all([outcome(opened), outcome(joined)])
}

const full = async () => {
  throw new KappaError('StateError', 'the disk is full')
}

/** Connects one to the other, as the daemon does; it can be ended at once. */
const connect = (from: Machine, to: Machine) => from.node.dial(to.node.addresses(), to.node.peerId, never())

/** Waits until something holds that needs no more than messages under way. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}

t.test('the opener crashes when it has confirmed: both settle it when they meet', async (t) => {
  const [before, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  before.store.onPut = async (entry) => {
    // Its confirmation is on the disk, and nobody heard of it.
    before.store.pairings.set(entry.peerId, entry)
    await before.node.stop()
  }
  const [, joined] = await pairing(before, laptop)
  t.match(joined, /PairingError: the connection to nas broke while pairing was being confirmed/)
  before.store.onPut = async () => {}
  const nas = await machine(t, 'nas', { after: before })
  t.equal(nas.standing(laptop), 'pending own')
  t.equal(laptop.standing(nas), 'pending friend')
  t.equal(nas.gater.isPaired(laptop.node.peerId), false, 'pending gives no right but to settle it')
  await connect(laptop, nas)
  await until(() => laptop.standing(nas) === 'paired friend')
  t.equal(nas.standing(laptop), 'paired own')
  t.match([nas.changes, laptop.changes], [[{ type: 'paired' }], [{ type: 'paired' }]])
})

t.test('the joiner crashes when it has decided: the opener asks it', async (t) => {
  const [nas, before] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  before.store.onPut = async (entry) => {
    if (entry.state !== 'paired') return
    before.store.pairings.set(entry.peerId, entry)
    await before.node.stop()
  }
  const [opened] = await pairing(nas, before)
  t.match(opened, /PairingError: the connection to laptop broke while pairing was being confirmed/)
  before.store.onPut = async () => {}
  const laptop = await machine(t, 'laptop', { after: before })
  t.equal(nas.standing(laptop), 'pending own')
  t.equal(await nas.pair.reconcile(laptop.node.peerId), 'paired')
  t.equal(nas.standing(laptop), 'paired own')
  t.equal(laptop.standing(nas), 'paired friend')
  t.equal(await nas.pair.reconcile(laptop.node.peerId), 'paired', 'and nothing is left to settle')
})

t.test('the opener crashes before its person answered: what is pending is dropped', async (t) => {
  const [before, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  const crash = async () => {
    await before.node.stop()
    await before.pair.stop()
    return true
  }
  await pairing(before, laptop, crash)
  t.equal(before.store.pairings.size, 0)
  const nas = await machine(t, 'nas', { after: before })
  t.equal(laptop.standing(nas), 'pending friend')
  t.equal(await laptop.pair.reconcile(nas.node.peerId), 'pending', 'turned away: nobody there can say')
  const gate = nas.gater.openPairing()
  t.equal(await laptop.pair.reconcile(nas.node.peerId), 'none')
  gate.close()
  t.equal(laptop.standing(nas), undefined)
  t.match(laptop.changes, [{ type: 'ended', why: 'unconfirmed', pairing: { name: 'nas' } }])
})

t.test('a full disk on either side pairs nobody, and both are told', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  nas.store.onPut = full
  t.match(await pairing(nas, laptop), ['StateError: the disk is full', /PairingError: nas broke off the pairing/])
  nas.store.onPut = async () => {}
  laptop.store.onPut = full
  const screen = new Screen()
  const person = new AbortController()
  const opened = outcome(
    nas.pair.openByNumbers({ kind: 'own', signal: person.signal, onEvent: screen.show, confirm: async () => true })
  )
  const digits = async () => (await screen.next('digits')).digits
  const joining = { target: nas.address, kind: 'own' as const, signal: never(), onEvent: () => {}, digits }
  t.equal(await outcome(laptop.pair.joinByNumbers(joining)), 'StateError: the disk is full')
  t.match(await screen.next('failed'), { reason: /laptop broke off/ })
  person.abort(new Error('enough'))
  await opened
  t.equal(nas.store.pairings.size + laptop.store.pairings.size, 0)
})

t.test('an invitation that breaks in the middle is settled the same way', async (t) => {
  const [nas, before] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  before.store.onPut = async (entry) => {
    if (entry.state !== 'paired') return
    await before.node.stop()
    await full()
  }
  const { link, done } = nas.pair.invite({ kind: 'own', signal: never() })
  const inviting = outcome(done)
  t.match(await outcome(before.pair.accept({ link, kind: 'own', signal: never() })), /StateError/)
  t.match(await inviting, /PairingError: the connection to laptop broke/)
  before.store.onPut = async () => {}
  const laptop = await machine(t, 'laptop', { after: before })
  t.equal(laptop.standing(nas), 'pending own')
  await connect(nas, laptop)
  await until(() => nas.standing(laptop) === 'paired own')
  t.equal(laptop.standing(nas), 'paired own')
})

t.test('whoever ends a pairing tells the other, and bans it', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  await pairing(nas, laptop)
  t.equal(await nas.pair.unpair(laptop.node.peerId), true)
  t.equal(nas.standing(laptop), undefined)
  await until(() => laptop.changes.length === 2)
  t.match(laptop.changes[1], { type: 'ended', why: 'unpaired', pairing: { name: 'nas' } })
  t.equal(laptop.standing(nas), undefined)
  t.equal(nas.gater.rightOf(laptop.node.peerId), undefined)
  t.strictSame(nas.gater.bans(), [laptop.node.peerId])
  await until(() => nas.node.connections(laptop.node.peerId).length === 0)
  t.match(await outcome(nas.pair.unpair(laptop.node.peerId)), /UnknownPeerError/)

  const again = await pairing(nas, laptop)
  t.match(again, [{ state: 'paired' }, { state: 'paired' }], 'a person can take it back')
  t.strictSame(nas.gater.bans(), [])
})

t.test('a pairing can be ended while the other machine is off', async (t) => {
  const [nas, laptop] = [await machine(t, 'nas'), await machine(t, 'laptop')]
  await pairing(nas, laptop)
  await laptop.node.stop()
  t.equal(await nas.pair.unpair(laptop.node.peerId), false)
  t.equal(nas.standing(laptop), undefined)
})
