import t from 'tap'
import type { PeerCore } from '../../src/core/peer-core.ts'
import type { JobEnd, Probe } from '../../src/core/types.ts'
import { advertisement, GiB, gist, join, needs, peer, probe, replyOf, rules, sample, sends } from './scenario.ts'

const END: JobEnd = { exitCode: 0, signal: null }
const HOUR = 3_600_000

function target(changes: Parameters<typeof peer>[1] = {}): PeerCore {
  const core = peer('nas', changes)
  core.handleSample(sample(), 0)
  join(core, 'home', 0)
  join(core, 'other', 0)
  return core
}

t.test('a probe gets a ticket, and the record in the answer has the hold in it', async (t) => {
  const core = target()
  const effects = core.handleMessage('home', probe('p1', {}, { demand: 2 }), 100)
  t.same(gist(effects), ['ticket nas-1 p1>home'])
  const reply = replyOf(effects)
  t.same(reply.ticket, { id: 'nas-1', target: 'nas', epoch: 1, validMs: 2_000 })
  t.equal(reply.entries[0]?.record.guestDemand, 2)
  t.equal(reply.entries[0]?.record.memoryPromised, GiB / 2)
  t.same(reply.refusals, [])
})

t.test('slots are never exceeded, and a larger job takes them all or waits', async (t) => {
  const core = target({ rules: rules({ slots: 2 }) })
  t.same(gist(core.handleMessage('home', probe('p1'), 1)), ['ticket nas-1 p1>home'])
  t.same(gist(core.handleMessage('home', probe('p2', {}, { demand: 16 }), 1)), ['slots p2>home'])
  t.same(gist(core.handleMessage('home', probe('p3'), 1)), ['ticket nas-2 p3>home'])
  t.same(gist(core.handleMessage('home', probe('p4'), 1)), ['slots p4>home'])
  core.handleMessage('home', { type: 'release', id: 'p1' }, 1)
  core.handleMessage('home', { type: 'release', id: 'p3' }, 1)
  t.same(gist(core.handleMessage('home', probe('p5', {}, { demand: 16 }), 1)), ['ticket nas-3 p5>home'])
  t.same(gist(core.handleMessage('home', probe('p6', {}, { demand: 0.001 }), 1)), ['slots p6>home'])
})

t.test('slots that are no whole thousandths are rounded down', async (t) => {
  const core = target({ rules: rules({ slots: 1.9999995 }) })
  t.same(gist(core.handleMessage('home', probe('p1'), 1)), ['ticket nas-1 p1>home'])
  t.same(gist(core.handleMessage('home', probe('p2'), 1)), ['slots p2>home'])
})

t.test('each refusal carries its reason', async (t) => {
  const core = target({ hasTool: (name) => name === 'gcc', rules: rules({ memoryFloor: 7 * GiB }) })
  const refusal = (message: Probe) => replyOf(core.handleMessage('home', message, 1)).refusals[0]
  t.same(refusal(probe('p1', {}, { tools: ['gcc', 'ffmpeg'] })), { peer: 'nas', code: 'tool', reason: 'has no ffmpeg' })
  t.same(refusal(probe('p2', {}, { memoryBytes: 2 * GiB }))?.code, 'memory')
  t.same(refusal(probe('p3', { best: 101 }))?.code, 'not-better')
  t.same(refusal(probe('p4', { best: 100 })), undefined)
  t.same(refusal(probe('p5', { origin: 'stranger' }))?.code, 'void', 'a probe for somebody else')
  core.setRules(rules({ refuses: 'its owner paused lending' }), 1)
  t.same(refusal(probe('p6')), { peer: 'nas', code: 'paused', reason: 'its owner paused lending' })
})

t.test('what its owner forbids a home is refused at the probe and, whatever that said, at the start', async (t) => {
  const asked: unknown[] = []
  const core = target({
    forbids: (...question) => {
      asked.push(question)
      return question[2] === 'make' ? 'only gcc there' : undefined
    }
  })
  const refusal = (message: Probe) => replyOf(core.handleMessage('home', message, 1)).refusals[0]
  t.same(refusal(probe('p1', {}, { command: 'make' })), { peer: 'nas', code: 'command', reason: 'only gcc there' })
  t.equal(refusal(probe('p2', {}, { command: 'gcc' })), undefined)
  t.equal(refusal(probe('p3')), undefined, 'said by the start')
  t.same(core.startTicket('home', 'nas-1', 2, 'make'), {
    accepted: false,
    code: 'command',
    reason: 'only gcc there'
  })
  t.match(core.startTicket('home', 'nas-1', 2, 'gcc'), { accepted: false, code: 'void' }, 'the ticket is gone')
  t.match(core.startTicket('home', 'nas-2', 2, 'gcc'), { accepted: true })
  t.same(asked[0], ['home', 'own', 'make'])
})

t.test('strangers are not heard', async (t) => {
  const core = target()
  t.same(core.handleMessage('stranger', probe('p1', { origin: 'stranger' }), 1), [])
  core.handleNeighbourDown('home', 1)
  t.same(gist(core.handleMessage('home', probe('p1'), 1)), [])
})

t.test('memory is promised until it is used', async (t) => {
  const core = target()
  core.handleMessage('home', probe('p1', {}, { memoryBytes: 5 * GiB }), 1)
  t.same(gist(core.handleMessage('home', probe('p2', {}, { memoryBytes: 4 * GiB }), 1)), ['memory p2>home'])
  core.startTicket('home', 'nas-1', 2)
  core.guestMemoryUsed('nas-1', 2 * GiB)
  t.equal(core.ownRecord(2).memoryPromised, 3 * GiB)
  core.guestMemoryUsed('nas-1', GiB)
  t.equal(core.ownRecord(2).memoryPromised, 3 * GiB, 'what it gave back stays promised away no more')
  core.guestMemoryUsed('nas-1', 9 * GiB)
  t.equal(core.ownRecord(2).memoryPromised, 0)
  core.guestJobEnded('nas-1', END, 3)
  t.equal(core.ownRecord(3).memoryPromised, 0)
  core.guestMemoryUsed('nas-1', 0)
  t.equal(core.ownRecord(3).memoryPromised, 0)
})

t.test('a ticket starts once, in time, for its home', async (t) => {
  const core = target()
  core.handleMessage('home', probe('p1'), 100)
  core.handleMessage('home', probe('p2'), 100)
  t.match(core.startTicket('other', 'nas-1', 200), { accepted: false, code: 'void' })
  t.same(core.startTicket('home', 'nas-1', 200), { accepted: true, needs: needs(), kind: 'own', vouchers: [] })
  t.match(core.startTicket('home', 'nas-1', 200), { accepted: false, code: 'already-started' })
  t.match(
    core.startTicket('home', 'nas-2', 2_100),
    { accepted: false, code: 'void' },
    'too late by the time it carries'
  )
  t.match(core.startTicket('home', 'nonsense', 200), { accepted: false, code: 'void' })
  core.guestJobEnded('nas-1', END, 300)
  t.match(core.startTicket('home', 'nas-1', 400), { accepted: false, code: 'already-started' })
  core.forgetTicket('home', 'nas-1')
  t.match(core.startTicket('home', 'nas-1', 400), { accepted: false, code: 'already-started' })
})

t.test("the owner's word is asked again at the start, and its no is final", async (t) => {
  const core = target({ rules: rules({ slots: 1 }) })
  core.handleMessage('home', probe('p1'), 1)
  core.setRules(rules({ slots: 1, refuses: 'on battery' }), 2)
  t.same(core.startTicket('home', 'nas-1', 3), { accepted: false, code: 'paused', reason: 'on battery' })
  core.setRules(rules({ slots: 1 }), 4)
  t.match(core.startTicket('home', 'nas-1', 5), { accepted: false, code: 'void' })
  core.handleMessage('home', probe('p2'), 6)
  t.match(core.startTicket('home', 'nas-2', 7), { accepted: true }, 'its own hold does not count against it')
})

t.test('a resolve tells what became of a ticket, and voids one that was not started', async (t) => {
  const core = target()
  for (const id of ['p1', 'p2', 'p3']) core.handleMessage('home', probe(id), 1)
  core.startTicket('home', 'nas-1', 2)
  t.same(core.resolveTicket('home', 'nas-1', 3), { state: 'running' })
  core.guestJobEnded('nas-1', END, 4)
  t.same(core.resolveTicket('home', 'nas-1', 5), { state: 'ended', end: END })
  t.same(core.resolveTicket('other', 'nas-1', 5), { state: 'void' }, 'nobody else learns')
  t.same(core.resolveTicket('other', 'nas-2', 5), { state: 'void' })
  t.match(core.startTicket('home', 'nas-2', 5), { accepted: true }, 'nor changes anything')
  t.same(core.resolveTicket('home', 'nas-3', 5), { state: 'void' })
  t.match(core.startTicket('home', 'nas-3', 6), { accepted: false, code: 'void' })
  t.equal(core.ownRecord(6).guestDemand, 1)
})

t.test('a hold ends with its time, its release, its pairing', async (t) => {
  const core = target()
  core.handleMessage('home', probe('p1'), 100)
  t.equal(core.ownRecord(2_099).guestDemand, 1)
  t.equal(core.ownRecord(2_100).guestDemand, 0)
  core.handleSample(sample(), 3_000)
  core.handleMessage('home', probe('p2'), 3_000)
  core.handleMessage('other', { type: 'release', id: 'p2' }, 3_001)
  t.equal(core.ownRecord(3_002).guestDemand, 1, 'only its home releases it')
  core.handleMessage('home', { type: 'release', id: 'p2' }, 3_003)
  t.equal(core.ownRecord(3_003).guestDemand, 0)
  core.handleSample(sample(), 4_000)
  core.handleMessage('home', probe('p3'), 4_000)
  core.handleMessage('home', probe('p4'), 4_000)
  core.handleMessage('other', probe('p5', { origin: 'other', path: ['other'] }), 4_000)
  core.startTicket('home', 'nas-3', 4_001)
  t.same(core.voidTicketsOf('home', 4_002).running, ['nas-3'])
  t.equal(core.ownRecord(4_002).guestDemand, 2, "the running job's, until it is ended, and the other's")
  t.match(core.startTicket('home', 'nas-4', 4_003), { accepted: false, code: 'void' })
  t.same(
    core.view(4_003).neighbours.map(({ peer }) => peer),
    ['other']
  )
})

t.test('a release after the start changes nothing', async (t) => {
  const core = target()
  core.handleMessage('home', probe('p1'), 1)
  core.startTicket('home', 'nas-1', 2)
  core.handleMessage('home', { type: 'release', id: 'p1' }, 3)
  t.equal(core.ownRecord(3).guestDemand, 1)
  t.same(core.resolveTicket('home', 'nas-1', 3), { state: 'running' })
})

t.test('a repeated probe holds nothing twice', async (t) => {
  const core = target()
  core.handleMessage('home', probe('p1'), 100)
  const again = replyOf(core.handleMessage('home', probe('p1'), 600))
  t.same(again.ticket, { id: 'nas-1', target: 'nas', epoch: 1, validMs: 1_500 })
  t.equal(core.ownRecord(600).guestDemand, 1)
  core.handleSample(sample(), 600)
  t.same(gist(core.handleMessage('other', probe('p1', { origin: 'other', path: ['other'] }), 600)), [
    'ticket nas-2 p1>other'
  ])
})

t.test('an old sample is taken anew before a probe is answered, or does after 50 ms', async (t) => {
  const core = target()
  t.same(gist(core.handleMessage('home', probe('p1'), 201)), ['sample'])
  t.same(gist(core.handleMessage('home', probe('p2'), 210)), [], 'one sample for both')
  t.same(gist(core.handleSample(sample(), 220)), ['ticket nas-1 p1>home', 'ticket nas-2 p2>home'])
  t.same(gist(core.handleMessage('home', probe('p3'), 1_000)), ['sample'])
  t.equal(core.nextTimer(), 1_000 + 50)
  t.same(gist(core.handleTimer(1_050)), ['ticket nas-3 p3>home'])
  t.same(gist(core.handleMessage('home', probe('p4'), 2_000)), ['sample'])
  core.handleMessage('home', { type: 'release', id: 'p4' }, 2_001)
  t.same(gist(core.handleSample(sample(), 2_002)), [], 'released before it was answered')
})

t.test('before the first sample nobody is taken', async (t) => {
  const core = peer('nas')
  join(core, 'home', 0)
  t.same(gist(core.handleMessage('home', probe('p1'), 1)), ['sample'])
  t.same(gist(core.handleTimer(51)), ['paused p1>home'])
  t.equal(core.ownRecord(51).refuses, 'its load is not measured yet')
})

t.test('ends are kept a day, then nothing is left', async (t) => {
  const core = target()
  core.handleMessage('home', probe('p1'), 0)
  core.startTicket('home', 'nas-1', 1)
  core.guestJobEnded('nas-1', END, 2)
  core.handleTimer(24 * HOUR + 1)
  t.same(core.resolveTicket('home', 'nas-1', 24 * HOUR + 1), { state: 'ended', end: END })
  core.handleTimer(24 * HOUR + 2)
  t.same(core.resolveTicket('home', 'nas-1', 24 * HOUR + 2), { state: 'void' })
  t.equal(core.remembered, 0)
})

t.test('ends are bounded: those that home knows go first, and none that it may ask for is dropped', async (t) => {
  const core = target({ rules: rules({ slots: 1 }) })
  let made = 0
  const run = (now: number) => {
    const { ticket, refusals } = replyOf(core.handleMessage('home', probe(`p${++made}`), now))
    if (ticket === undefined) return refusals[0]?.reason
    core.startTicket('home', ticket.id, now)
    core.guestJobEnded(ticket.id, END, now)
    return ticket.id
  }
  for (let i = 0; i < 10_000; i++) run(1)
  t.equal(run(2), 'too many ended jobs wait for their homes to ask')
  core.forgetTicket('home', 'nas-5000')
  t.equal(run(2), 'nas-10001')
  t.same(core.resolveTicket('home', 'nas-1', 2), { state: 'ended', end: END })
  t.same(core.resolveTicket('home', 'nas-5000', 2), { state: 'void' })
  core.handleSample(sample(), 60_001)
  t.equal(run(60_001), 'nas-10002')
  t.same(core.resolveTicket('home', 'nas-1', 2), { state: 'void' })
})

t.test('holds are bounded', async (t) => {
  const core = target({ rules: rules({ slots: 1_000 }) })
  for (let i = 0; i < 256; i++) core.handleMessage('home', probe(`p${i}`, {}, { memoryBytes: 0 }), 1)
  t.same(gist(core.handleMessage('home', probe('one more', {}, { memoryBytes: 0 }), 1)), ['slots one more>home'])
})

t.test('the wait for a sample counts as part of the time that the sender waits', async (t) => {
  const core = target()
  join(core, 'far', 0, { speed: 4 })
  core.handleMessage('far', advertisement('far', { speed: 4 }, 2), 900)
  t.same(gist(core.handleMessage('home', probe('p1', { hopsLeft: 1, waitMs: 80 }), 1_000)), ['sample'])
  t.same(gist(core.handleMessage('home', probe('p1', { hopsLeft: 1, waitMs: 80 }), 1_010)), [], 'asked again')
  const [sent] = sends(core.handleSample(sample(), 1_040))
  t.match(sent, { to: 'far', message: { type: 'probe', waitMs: 35 } })
  t.same(gist(core.handleTimer(1_074)), [])
  t.same(gist(core.handleTimer(1_075)), ['release p1>far', 'ticket nas-1 p1>home'])
  t.same(gist(core.handleMessage('home', probe('p2', { waitMs: 10 }), 2_000)), ['sample'])
  t.same(gist(core.handleTimer(2_010)), ['ticket nas-2 p2>home'])
  t.same(gist(core.handleMessage('home', probe('p3', { waitMs: 10 }), 3_000)), ['sample'])
  t.same(gist(core.handleSample(sample(), 9_000)), [], 'held up by a suspend: nobody waits for it')
})
