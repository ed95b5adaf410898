/** Daemons in a line on an emulated LAN, each paired with the next one alone, and what may happen between them. */

import type { Test } from 'tap'
import type { Lan } from '../lan.ts'
import { starve } from './middle.ts'
import { emulatedLan, pair, sees, type Talk, TestPeer } from './peers.ts'

export interface Line {
  lan: Lan
  peers: TestPeer[]
}

/** The first is home, whose jobs leave when they can; of the others the last alone takes guests, unless told otherwise. `spare`: so many more hosts. */
export async function line(t: Test, names: string[], guests = names.slice(-1), spare = 0): Promise<Line> {
  const lan = (await emulatedLan(t, { hosts: names.length + spare }))!
  await starve(lan, 0)
  const peers = await Promise.all(
    names.map((name, host) => {
      const config = guests.includes(name) ? {} : { config: 'slots = 0' }
      return TestPeer.start(t, { name, lan, host, ...config })
    })
  )
  for (const [index, peer] of peers.slice(1).entries()) await pair(peers[index]!, peer)
  await sees(peers[0]!, peers.at(-1)!)
  return { lan, peers }
}

/** No frame to an address passes from the one hosts to the others and back, silently. */
export async function part(lan: Lan, left: number[], right: number[]): Promise<void> {
  const lost = (address: string) => `ip neigh replace ${address} lladdr 02:00:00:00:ff:fe dev eth0 nud permanent`
  await forEach(lan, left, right, lost)
}

export async function heal(lan: Lan, left: number[], right: number[]): Promise<void> {
  await forEach(lan, left, right, (address) => `ip neigh del ${address} dev eth0`)
}

async function forEach(lan: Lan, left: number[], right: number[], command: (address: string) => string): Promise<void> {
  const tell = async (host: number, others: number[]) => {
    const script = others.map((other) => command(lan.address(other))).join(' && ')
    const { code, stderr } = await lan.run(host, ['sh', '-c', script])
    if (code !== 0) throw new Error(`${script} ended with ${code}: ${stderr}`)
  }
  await Promise.all([...left.map((host) => tell(host, right)), ...right.map((host) => tell(host, left))])
}

/** Lines go to a job and come back while something happens in the middle; nothing may be lost or doubled. */
export async function echoed(
  t: Test,
  home: TestPeer,
  target: TestPeer,
  meanwhile: (run: Talk) => Promise<void>
): Promise<void> {
  const run = await home.begun(target, ['sh', '-c', 'echo up; cat; exit 7'])
  let expected = 'up\n'
  const write = (count: number) => {
    for (let index = 0; index < count; index++) {
      const text = `${expected.length} ${'x'.repeat(index % 100)}`
      expected += `${text}\n`
      run.say(text)
    }
  }
  write(1_000)
  await meanwhile(run)
  write(1_000)
  run.child.stdin!.end()
  const end = await run.ended
  t.match(end, { code: 7, signal: null, stderr: '' })
  t.equal(end.stdout === expected, true, 'every byte once and in order')
}
