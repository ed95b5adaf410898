import { existsSync } from 'node:fs'
import t from 'tap'
import type { CheckResult, DoctorResult } from '../../src/daemon/control-results.ts'
import type { Lan } from '../lan.ts'
import { needs } from '../require.ts'
import { emulatedLan, KAPPA, pair, sees, TestPeer, until } from './peers.ts'

const IPTABLES = ['/usr/sbin/iptables', '/sbin/iptables'].some((path) => existsSync(path))

type Check = CheckResult & { on?: string }

async function doctor(peer: TestPeer, ...args: string[]): Promise<DoctorResult & { code: number | null }> {
  const { code, stdout, stderr } = await peer.kappa(['doctor', '--json', ...args])
  if (stdout === '') throw new Error(`kappa doctor said nothing: ${stderr}`)
  return { ...JSON.parse(stdout), code }
}

const one = (checks: Check[], id: string): Check => checks.find((check) => check.id === id)!
const wrong = (checks: Check[]): string[] => checks.filter(({ verdict }) => verdict !== 'ok').map(({ id }) => id)

/** As a person types what is printed, line by line. */
async function type(lan: Lan, host: number, lines: string[], peer?: TestPeer): Promise<void> {
  const text = [`kappa() { ${KAPPA} "$@"; }`, ...lines].join('\n')
  const { code, stderr } = await lan.run(host, ['sh', '-ec', text], peer ? { env: peer.environment } : {})
  if (code !== 0) throw new Error(`${lines.join('; ')}: ${stderr}`)
}

t.test('between two machines: what a firewall closes, and what a friend is told', async (t) => {
  if (!needs(t, IPTABLES, 'iptables')) return
  const lan = await emulatedLan(t, { hosts: 2 })
  if (lan === undefined) return
  const [laptop, nas] = await Promise.all([
    TestPeer.start(t, { name: 'laptop', lan, host: 0 }),
    TestPeer.start(t, { name: 'nas', lan, host: 1 })
  ])
  await pair(laptop, nas, 'own')

  const fine = await doctor(laptop, 'nas')
  t.same([...wrong(fine.here.checks), ...wrong(fine.there!.checks), ...wrong(fine.between)], [])
  t.equal(fine.code, 0)
  t.match(fine.between, [
    { id: 'connection', found: /^\/ip4\/10\.77\.0\./ },
    { id: 'way-there', found: '/ip4/10.77.0.11/tcp/5277 answers' },
    { id: 'way-back', found: '/ip4/10.77.0.10/tcp/5277 answers' },
    { id: 'versions', found: /^both run / },
    { id: 'clock', found: /^\d+ ms apart/ },
    { id: 'machines', found: /^both linux / },
    { id: 'mdns-between', found: 'they hear each other' }
  ])

  // What is connected stays so: nobody notices until the connection is lost.
  await type(lan, 0, ['iptables -A INPUT -p tcp --dport 5277 --syn -j DROP'])
  await type(lan, 1, ['iptables -A INPUT -p udp --dport 5353 -j DROP'])
  const back = one((await doctor(laptop, 'nas')).between, 'way-back')
  t.match(back, { verdict: 'warning', on: 'laptop', found: "/ip4/10.77.0.10/tcp/5277 doesn't answer" })
  t.match(back.mend[0], /iptables -I INPUT -p tcp --dport 5277 -j ACCEPT/)
  const closed = await doctor(nas, 'laptop')
  const there = one(closed.between, 'way-there')
  t.match(there, { verdict: 'warning', on: 'laptop' })
  t.same(there.mend, back.mend, 'said on either side')
  const deaf = one(closed.here.checks, 'mdns')
  t.equal(deaf.verdict, 'warning')
  await type(lan, 0, back.mend)
  await type(lan, 1, deaf.mend)
  const open = await doctor(nas, 'laptop')
  t.same([...wrong(open.here.checks), ...wrong(open.between)], [])

  // One mend may show the next fault: they are typed until nothing is wrong.
  await type(
    lan,
    0,
    ['kappa pause', ...['lend', 'mdns'].map((key) => `kappa config set ${key} false`), 'kappa config set slots 0'],
    laptop
  )
  const ids = new Set<string>()
  await until('nothing is wrong any more', async () => {
    const { checks } = (await doctor(laptop)).here
    for (const { id } of checks.filter(({ verdict }) => verdict !== 'ok')) ids.add(id)
    const mend = checks.flatMap((check) => check.mend)
    await type(lan, 0, mend, laptop)
    return mend.length === 0
  })
  t.same([...ids].toSorted(), ['lending', 'mdns'])

  // What is only looked at when the daemon starts is taken up by itself.
  await laptop.ok(['config', 'set', 'announce', '["10.77.0.10:5277", "10.77.0.99:5277"]'])
  t.match(one((await doctor(laptop)).here.checks, 'addresses'), { verdict: 'ok', found: /starts anew/ })
  await until('it has', async () => (await laptop.status()).addresses.includes('/ip4/10.77.0.99/tcp/5277'))
  await sees(laptop, nas)

  await nas.ok(['peers', 'laptop', '--friend'])
  const { there: friend, between } = await doctor(laptop, 'nas')
  t.equal(friend?.system, null)
  t.same(wrong(between), [])
  const told = friend!.checks.map(({ id }) => id)
  t.same(told, ['sandbox', 'terminals', 'files', 'lending', 'page'])
  t.ok(friend!.checks.every(({ found, mend }) => found === '' && mend.length === 0))
})
