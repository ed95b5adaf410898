import type { PeerResult } from '../daemon/control-results.ts'
import { socketPath } from '../daemon/directories.ts'
import { printable } from '../printable.ts'
import { request, tryConnect } from './client.ts'
import { print } from './output.ts'

/** What `kappa` alone says: the next step. Starts no daemon. */
export async function welcome(): Promise<number> {
  const socket = await tryConnect(socketPath())
  socket?.close()
  const peers = socket
    ? ((await request('peers', {})) as PeerResult[]).filter(({ state }) => state === 'paired')
    : undefined
  print(`${nextStep(peers)}\n\nAll commands: kappa help`)
  return 0
}

function nextStep(peers: PeerResult[] | undefined): string {
  if (peers === undefined)
    return 'kappa is not running here. Any command starts it; to pair with another machine: kappa pair'
  const pair = 'On this machine: kappa pair\nOn the other one: kappa pair NAME, with the name that is shown here.'
  if (peers.length === 0) return `No machine is paired yet.\n${pair}`
  const names = peers.map(({ name, connected }) => `${printable(name)}${connected ? '' : ' (away)'}`)
  return `Paired with ${names.join(', ')}.\nTry: kappa run CMD, and kappa why for where it ran. The daemon ends at reboot; any command starts it again.`
}
