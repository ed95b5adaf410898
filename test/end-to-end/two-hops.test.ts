import t, { type Test } from 'tap'
import type { Lan } from '../lan.ts'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { echoed as echo } from './line.ts'
import { emulatedLan, jobProcesses, longJob, pair, sees, type Talk, TestPeer, until } from './peers.ts'

const WHERE = 'echo "${KAPPA_TARGET:-home} for ${KAPPA_HOME:-none}"'
/** The bar is 14 s; as much again for a machine that is busy. */
const LOST_WITHIN_MS = 28_000
const [A, B, C, D] = [0, 1, 2, 3]

/** Three machines in a line: the first and the last are paired with the one between alone. */
interface Line {
  lan: Lan
  a: TestPeer
  b: TestPeer
  c: TestPeer
}

async function line(t: Test): Promise<Line> {
  const lan = (await emulatedLan(t, { hosts: 3 }))!
  const peers = await Promise.all(['a', 'b', 'c'].map((name, host) => TestPeer.start(t, { name, lan, host })))
  const [a, b, c] = peers as [TestPeer, TestPeer, TestPeer]
  await pair(a, b)
  await pair(b, c)
  await sees(a, c)
  return { lan, a, b, c }
}

/** Frames from one to the other go nowhere, silently; third machines reach both. */
async function part(lan: Lan, one: number, other: number): Promise<void> {
  const nobody = ['lladdr', '02:00:00:00:ff:fe', 'dev', 'eth0', 'nud', 'permanent']
  await must(lan, one, ['ip', 'neigh', 'replace', lan.address(other), ...nobody])
  await must(lan, other, ['ip', 'neigh', 'replace', lan.address(one), ...nobody])
}

async function join(lan: Lan, one: number, other: number): Promise<void> {
  await must(lan, one, ['ip', 'neigh', 'del', lan.address(other), 'dev', 'eth0'])
  await must(lan, other, ['ip', 'neigh', 'del', lan.address(one), 'dev', 'eth0'])
}

async function must(lan: Lan, host: number, argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await lan.run(host, argv)
  if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}: ${stderr}`)
  return stdout
}

/** How home is connected with the target, as its status says. */
async function way({ a }: Line): Promise<'direct' | 'relayed' | undefined> {
  const { reachable } = await a.status()
  const via = reachable.find(({ name }) => name === 'c')?.via
  if (via === null || via === undefined) return undefined
  return via.includes('/p2p-circuit') ? 'relayed' : 'direct'
}

/** A long job on the target, with its mark. */
async function begun({ a, c }: Line): Promise<{ run: Talk; mark: string }> {
  // What went before may have made the one between forget it for a while.
  await sees(a, c)
  const { mark, argv } = longJob()
  const run = await a.begun('c', argv)
  await until('the job runs', () => jobProcesses(mark).length > 0)
  return { run, mark }
}

async function gone(mark: string): Promise<void> {
  await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
}

/** Writes lines that a job sends back, while something happens in the middle; nothing may be lost or doubled. */
async function echoed(t: Test, { a, c }: Line, meanwhile: () => Promise<void>): Promise<void> {
  await sees(a, c)
  await echo(t, a, c, async (run) => {
    await until('some came back', () => run.stdout.length > 1_000)
    await meanwhile()
  })
}

async function direct(t: Test, all: Line): Promise<void> {
  const { a, c } = all
  t.match(await a.there('c', ['sh', '-c', WHERE]), { code: 0, stdout: 'c for a\n', stderr: '' })
  t.equal(await way(all), 'direct')
  t.match(await a.there('c', ['sh', '-c', 'exit 3']), { code: 3 })
  const [job] = (await a.jobs()) as [{ id: string; target: string }]
  t.equal(job.target, 'c')
  t.match(JSON.parse(await a.ok(['why', '--json', job.id])), { hops: ['b', 'c'] })
  const guests = (await c.ok(['ps', '--guests', '--json'])).split('\n')
  t.match(JSON.parse(guests[0]!), { home: 'a', exitCode: 3 })
}

async function parted(t: Test, all: Line): Promise<void> {
  await echoed(t, all, async () => {
    await part(all.lan, A, C)
    await until('it goes on through the one between', async () => (await way(all)) === 'relayed')
  })
  await join(all.lan, A, C)
}

async function cutOff(t: Test, all: Line): Promise<void> {
  const { lan, a } = all
  await echoed(t, all, async () => {
    await lan.cut(C, 'drop')
    await new Promise((resolve) => setTimeout(resolve, 5_000))
    await lan.mend(C)
  })
  const { run, mark } = await begun(all)
  const at = performance.now()
  await lan.cut(C, 'drop')
  t.match(await run.ended, { code: 123, stderr: /^kappa: the job \w+ on c is lost: [^\n]+\n$/ })
  t.ok(performance.now() - at < LOST_WITHIN_MS, 'lost in time')
  await gone(mark)
  await lan.mend(C)
  await sees(a, all.c)
  t.match(await a.there('c', ['echo', 'again']), { code: 0, stdout: 'again\n' })
}

async function moved(t: Test, all: Line): Promise<void> {
  const { lan, a, b, c } = all
  await echoed(t, all, () => lan.readdress(C, '10.77.0.99'))
  await Promise.all([sees(b, c), sees(a, c)])
  t.match(await a.there('c', ['sh', '-c', WHERE]), { code: 0, stdout: 'c for a\n', stderr: '' })
}

async function betweenDies(t: Test, all: Line): Promise<void> {
  await echoed(t, all, () => all.b.killDaemon())
  const remote = await all.a.kappa(['run', '--plain', '--on', 'c', 'true'])
  t.match(remote, { code: /^(125|2|1)$/ }, 'nobody leads there now')
  await all.b.startDaemon()
  await sees(all.a, all.c)
}

async function relayed(t: Test, all: Line): Promise<void> {
  const { lan, a, b } = all
  await part(lan, A, C)
  t.match(await a.there('c', ['sh', '-c', WHERE]), { code: 0, stdout: 'c for a\n', stderr: '' })
  t.equal(await way(all), 'relayed')
  t.match(await a.ok(['status']), /\bc +\d+ +2 +b +relayed/)
  const megabytes = 8
  const big = await a.there('c', ['head', '-c', `${megabytes}M`, '/dev/zero'])
  t.equal(big.bytes.length, megabytes * 1024 * 1024, 'much goes through')
  await echoed(t, all, async () => {
    // The job outlives who relays it, when he is back in time.
    await b.killDaemon()
    await b.startDaemon()
  })
  await echoed(t, all, async () => {
    await lan.cut(B, 'drop')
    await new Promise((resolve) => setTimeout(resolve, 4_000))
    await lan.mend(B)
  })
}

async function betweenUnpairsTarget(t: Test, all: Line): Promise<void> {
  const { b, c } = all
  const { run, mark } = await begun(all)
  await c.ok(['unpair', 'b'])
  t.match(await run.ended, { code: /^(123|137)$/ })
  await gone(mark)
  await until('it is known no more', async () => !(await b.status()).reachable.some(({ name }) => name === 'c'))
}

async function betweenUnpairsHome(t: Test, all: Line): Promise<void> {
  const { run, mark } = await begun(all)
  await all.b.ok(['unpair', 'a'])
  t.match(await run.ended, { code: /^(123|137)$/ })
  await gone(mark)
}

/** A home that heard nothing, or wouldn't listen, loses its job all the same. */
async function betweenUnpairsDeafHome(t: Test, all: Line): Promise<void> {
  const { lan, b } = all
  const { run, mark } = await begun(all)
  await part(lan, A, B)
  await b.ok(['unpair', 'a'])
  t.match(await run.ended, { code: 137, stderr: /a pairing on the way to its home was ended/ })
  await gone(mark)
}

async function banned(t: Test, all: Line): Promise<void> {
  const { a, c } = all
  await pair(a, c)
  t.match(await a.there('c', ['sh', '-c', WHERE]), { code: 0, stdout: 'c for a\n' })
  await c.ok(['unpair', 'a'])
  await until('home heard of it', async () => !(await a.status()).neighbours.some(({ name }) => name === 'c'))
  const refused = await until('its refusal is heard', async () => {
    const ended = await a.kappa(['run', '--plain', '--on', (await c.status()).peerId, 'true'])
    return /ended the pairing/.test(ended.stderr) && ended
  })
  t.match(refused, { code: 125 })
  await pair(a, c)
  t.match(await a.there('c', ['sh', '-c', WHERE]), { code: 0, stdout: 'c for a\n' }, 'pairing again lifts it')
}

async function friends(t: Test, all: Line): Promise<void> {
  const { a, b, c } = all
  const { run, mark } = await begun(all)
  await c.ok(['peers', 'b', '--friend'])
  t.match(await run.ended, { code: /^(123|137)$/ }, 'a friend vouches for nobody')
  await gone(mark)
  await until('nor does it lead there', async () => !(await a.status()).reachable.some(({ name }) => name === 'c'))
  await c.ok(['peers', 'b', '--own'])
  await Promise.all([sees(b, c), sees(a, c)])
}

async function farther(t: Test): Promise<void> {
  const lan = (await emulatedLan(t, { hosts: 4 }))!
  const peers = await Promise.all(['a', 'b', 'c', 'd'].map((name, host) => TestPeer.start(t, { name, lan, host })))
  const [a, b, c, d] = peers as [TestPeer, TestPeer, TestPeer, TestPeer]
  await pair(a, b)
  await pair(b, c)
  await pair(c, d)
  await sees(a, d)
  await part(lan, A, D)
  const refused = await until('it is asked', async () => {
    const ended = await a.kappa(['run', '--plain', '--on', 'd', 'true'])
    return /d: it does not answer at/.test(ended.stderr) && ended
  })
  t.match(refused, { code: 125, stderr: /^kappa: nobody could take the job: [^\n]+\n$/ })
  const [job] = (await a.jobs()) as [{ id: string }]
  const why = JSON.parse(await a.ok(['why', '--json', job.id]))
  const refusal = why.refusals.find(({ code }: { code: string }) => code === 'unreachable')
  t.match(refusal, { name: 'd', reason: /does not answer at .*, and is no neighbour's/ })
  t.match(await a.kappa(['run', '--plain', 'sh', '-c', WHERE]), {
    code: 0,
    stdout: /^(home|b for a|c for a)\b/,
    stderr: ''
  })
  await join(lan, A, D)
  const ran = await until('it is reached', async () => {
    const ended = await a.there('d', ['sh', '-c', WHERE])
    return /d: it does not answer at/.test(ended.stderr) ? undefined : ended
  })
  t.match(ran, { code: 0, stdout: 'd for a\n', stderr: '' })
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.jobs = 2
  t.test('directly', { buffered: true }, async (t) => {
    const all = await line(t)
    await t.test('to a machine never met', (t) => direct(t, all))
    await t.test('the way between the two breaks while a job runs', (t) => parted(t, all))
    await t.test('the target is cut off while a job runs', (t) => cutOff(t, all))
    await t.test('the one between dies while a job runs', (t) => betweenDies(t, all))
    await t.test('the target gets another address while a job runs', (t) => moved(t, all))
  })
  t.test('through the one between', { buffered: true }, async (t) => {
    const all = await line(t)
    await t.test('when the two cannot reach each other', (t) => relayed(t, all))
  })
  t.test('three hops away there is no relay', { buffered: true }, farther)
  t.test('trust that ends', { buffered: true }, async (t) => {
    const all = await line(t)
    await t.test('the one between is a friend now', (t) => friends(t, all))
    await t.test('home is banned by the target', (t) => banned(t, all))
  })
  t.test('pairings that end', { buffered: true }, async (t) => {
    await t.test('of the target', async (t) => betweenUnpairsTarget(t, await line(t)))
    await t.test('of home', async (t) => betweenUnpairsHome(t, await line(t)))
    await t.test('of a home that does not hear of it', async (t) => betweenUnpairsDeafHome(t, await line(t)))
  })
}
