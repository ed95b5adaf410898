import { once } from 'node:events'
import t from 'tap'
import { Lan, lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { pair, TestPeer, until } from './peers.ts'

/** What the network card of a machine that sleeps does: looks into each frame for its own address; says who sent it. */
const CARD = `
import socket
card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
card.bind(("eth0", 3))
own = card.getsockname()[4]
print("asleep", flush=True)
while True:
    frame = card.recv(2048)
    if b"\\xff" * 6 + own * 16 in frame:
        print("woken by " + frame[6:12].hex(":"), flush=True)
`

t.test('a machine that sleeps is woken by name, by home itself and by who else is on its LAN', async (t) => {
  const reason = lanAvailable()
  if (!needs(t, reason === undefined, reason ?? '')) return
  const lan = await Lan.create({ hosts: 3 })
  t.teardown(() => lan.close())
  const [home, other, nas] = await Promise.all(
    ['laptop', 'desk', 'nas'].map((name, host) => TestPeer.start(t, { name, lan, host, config: 'wake = true' }))
  )
  if (!home || !other || !nas) throw new Error('there are three')
  await pair(home, other)
  await pair(home, nas)
  const named = async () => {
    const lines = (await home.ok(['peers', '--json'])).trim().split('\n')
    return lines.map((line) => JSON.parse(line)).find(({ name }) => name === 'nas')
  }
  await until('it has said how it can be woken', async () => (await named()).canWake)

  // It goes to sleep: no program runs there any more, and nothing answers at its address.
  await nas.stopDaemon()
  const card = lan.spawn(2, ['python3', '-c', CARD], { stdio: ['ignore', 'pipe', 'inherit'] })
  let heard = ''
  card.stdout!.on('data', (bytes) => (heard += bytes))
  await once(card.stdout!, 'data')
  const routes = (await lan.run(2, ['ip', '-4', '-o', 'address', 'show', 'eth0'])).stdout
  const address = /inet (\S+)/.exec(routes)![1]!
  await lan.run(2, ['ip', 'address', 'flush', 'dev', 'eth0'])
  t.equal((await named()).connected, false)

  const links = await Promise.all([0, 1].map((host) => lan.run(host, ['ip', '-o', 'link', 'show', 'eth0'])))
  const macs = links.map(({ stdout }) => / link\/ether (\S+)/.exec(stdout)![1]!)
  const run = home.kappa(['run', '-v', '--on', 'nas', '--plain', '--', 'echo', 'awake'])
  await until(
    () => `${macs} have sent it; so far: ${heard}`,
    () => macs.every((mac) => heard.includes(`woken by ${mac}`))
  )
  // So it wakes.
  await lan.run(2, ['ip', 'address', 'add', address, 'dev', 'eth0'])
  await nas.startDaemon()
  const { code, stdout, stderr } = await run
  t.match({ code, stdout }, { code: 0, stdout: 'awake\n' })
  t.match(stderr, /^kappa: waking nas, for up to 60 s\nkappa: running on nas: /)
  t.match(other.log(), /wakes a machine .*for=laptop/)
  t.notOk((await other.ok(['peers', '--json'])).includes('nas'), 'which is not even paired with it')

  // A machine that is awake, and whose daemon has ended, answers: nothing is sent, and nobody waits.
  await nas.stopDaemon()
  await until('it is away', async () => !(await named()).connected)
  heard = ''
  const refused = await home.kappa(['run', '--on', 'nas', '--plain', '--', 'echo', 'awake'])
  t.match(refused, { code: 125, stderr: /nas: it is awake, and kappa does not run there/ })
  t.equal(heard, '')
})
