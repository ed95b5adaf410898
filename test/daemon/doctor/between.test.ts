import t from 'tap'
import type { MachineClass } from '../../../src/core/types.ts'
import { type Between, between } from '../../../src/daemon/doctor/between.ts'

const X64: MachineClass = { os: 'linux', arch: 'x64', cpuLevel: 3, pageSize: 4096, modes: [] }
const THERE = '/ip4/192.168.1.7/tcp/5277'
const HERE = '/ip4/192.168.1.5/tcp/5278'

const FINE: Between = {
  here: { name: 'laptop', circumstances: { family: 'arch', root: false }, port: 5278 },
  there: { name: 'nas', circumstances: { family: 'debian', firewall: 'ufw', root: true } },
  via: THERE,
  waysThere: [{ address: THERE, outcome: 'open' }],
  waysBack: [{ address: HERE, outcome: 'open' }],
  versions: { here: '1.2.3', there: '1.2.3' },
  clock: { skewMs: -12, withinMs: 1 },
  classes: { here: X64, there: X64 },
  mdns: { here: true, there: true }
}

function rows(changes: Partial<Between>, ...without: (keyof Between)[]) {
  const facts = { ...FINE, ...changes }
  for (const name of without) delete facts[name]
  return new Map(between(facts).map((row) => [row.id, row]))
}

t.test('all in order: each row says so', async (t) => {
  const found = rows({})
  t.same([...found.keys()], ['connection', 'way-there', 'way-back', 'versions', 'clock', 'machines', 'mdns-between'])
  for (const row of found.values()) t.match(row, { verdict: 'ok', lost: null, mend: [] }, row.id)
})

t.test('what is not known is not told', async (t) => {
  const found = rows({}, 'waysBack', 'versions', 'clock', 'classes', 'mdns')
  t.same([...found.keys()], ['connection', 'way-there'])
})

t.test('ways: a firewall is mended where it is, with what it is', async (t) => {
  const closed = rows({
    waysThere: [{ address: THERE, outcome: 'silent' }],
    waysBack: [{ address: HERE, outcome: 'refused' }]
  })
  t.match(closed.get('way-there'), { verdict: 'warning', on: 'nas', mend: ['ufw allow 5277/tcp'] }, 'it is root there')
  t.match(closed.get('way-there')?.found, `${THERE} doesn't answer`)
  t.match(closed.get('way-back'), { verdict: 'warning', on: 'laptop', found: `${HERE} is refused` })
  t.match(closed.get('way-back')?.mend[0], 'sudo nft insert rule inet filter input tcp dport 5278 accept')
  const cut = rows({ waysThere: [{ address: THERE, outcome: 'silent' }] }, 'via')
  t.match(cut.get('connection'), { verdict: 'failure' })
  t.match(cut.get('way-there'), { verdict: 'failure' })
  const several = rows({
    waysThere: [
      { address: HERE, outcome: 'silent' },
      { address: THERE, outcome: 'open' }
    ]
  })
  t.match(several.get('way-there'), { verdict: 'ok', found: `${THERE} answers` }, 'one is enough')
  t.match(rows({ waysThere: [] }).get('way-there'), { verdict: 'warning', mend: [] })
  t.match(rows({ waysBack: [] }).get('way-back'), { verdict: 'warning', mend: [], found: /knows no address/ })
})

t.test('a machine that told nothing of itself: commands for each distribution', async (t) => {
  const silence = { reason: 'it is not connected', isOld: false }
  const there = { name: 'nas' }
  const silent = rows({ there, silence, waysThere: [{ address: THERE, outcome: 'silent' }] }, 'via')
  t.match(silent.get('answers'), { verdict: 'warning', found: 'it is not connected', mend: [] })
  t.same(silent.get('way-there')?.mend.slice(0, 3), ['# Debian, Ubuntu:', 'sudo ufw allow 5277/tcp', '# Fedora:'])
  const off = rows({ there, silence, waysThere: [{ address: THERE, outcome: 'refused' }] }, 'via')
  t.match(off.get('way-there'), { verdict: 'failure', on: 'nas', found: /kappa doesn't run there/ })
  t.match(off.get('way-there')?.mend, [/^kappa status/], 'once, where it is the same everywhere')
  const old = rows({ there, silence: { reason: 'its kappa is older', isOld: true } })
  t.match(old.get('answers'), { on: 'nas', mend: [/^npm install --global kappa/] })
})

t.test('versions', async (t) => {
  const of = (there: string) => rows({ versions: { here: '1.2.3', there } }).get('versions')
  t.match(of('1.3.0'), { verdict: 'ok', found: 'laptop runs 1.2.3, nas 1.3.0: they work together' })
  t.match(of('1.4.0'), { verdict: 'failure', on: 'laptop', found: /too far apart/ })
  t.match(of('1.0.0'), { verdict: 'failure', on: 'nas', mend: [/^npm install --global kappa/] })
})

t.test('clocks, kinds of machine, multicast DNS', async (t) => {
  const clock = (skewMs: number, withinMs = 1) => rows({ clock: { skewMs, withinMs } }).get('clock')
  t.match(clock(1000), { verdict: 'ok' })
  t.match(clock(3000, 2500), { verdict: 'ok' }, 'not sure enough')
  t.match(clock(-4210), {
    verdict: 'warning',
    found: 'that of nas is 4.2 s behind',
    mend: ['sudo timedatectl set-ntp true']
  })
  t.match(clock(90_000), { found: 'that of nas is 90 s ahead' })
  const machines = rows({ classes: { here: X64, there: { ...X64, arch: 'arm64', pageSize: 16_384 } } }).get('machines')
  t.match(machines, {
    verdict: 'warning',
    found: 'laptop: linux x64, pages of 4 KiB; nas: linux arm64, pages of 16 KiB'
  })
  const mdns = (here: boolean, there: boolean) => rows({ mdns: { here, there } }).get('mdns-between')
  t.match(mdns(false, true), { verdict: 'warning', on: 'laptop', found: "laptop doesn't hear the other" })
  t.match(mdns(true, false), { verdict: 'warning', on: 'nas', mend: ['ufw allow 5353/udp'] })
  t.match(mdns(false, false), { verdict: 'warning', on: 'laptop' })
})
