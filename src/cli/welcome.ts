import type { NearbyResult, StatusResult } from '../daemon/control-results.ts'
import { socketPath } from '../daemon/directories.ts'
import { printable } from '../printable.ts'
import { request, tryConnect } from './client.ts'
import { lacks, nearbyLine, otherVersions, TRY, untilReboot } from './first-steps.ts'
import { print } from './output.ts'

const PAIR = ['On this machine: kappa pair', 'On the other one: kappa pair NAME, with the name that is shown here.']

/** What `kappa` alone says: the next step. Starts no daemon. */
export async function welcome(): Promise<number> {
  const socket = await tryConnect(socketPath())
  socket?.close()
  const lines = socket
    ? await nextStep((await request('status', {})) as StatusResult)
    : ['kappa is not running here. Any command starts it; to pair with another machine: kappa pair']
  print([...lines, '', 'All commands: kappa help'].join('\n'))
  return 0
}

async function nextStep(status: StatusResult): Promise<string[]> {
  const { neighbours } = status
  if (neighbours.length === 0) {
    const { names } = (await request('nearby', {})) as NearbyResult
    return ['No machine is paired yet.', ...nearbyLine(names), ...PAIR, ...untilReboot()]
  }
  const names = neighbours.map(({ name, connected, version }) => {
    const isAway = !connected && version === null
    return `${printable(name)}${isAway ? ' (away)' : ''}`
  })
  return [
    `Paired with ${names.join(', ')}.`,
    ...lacks(status, neighbours),
    ...otherVersions(status, neighbours),
    TRY,
    ...untilReboot()
  ]
}
