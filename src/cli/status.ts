import type { NeighbourResult, StatusResult } from '../daemon/control-results.ts'
import { printable } from '../printable.ts'
import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { duration, print, printJson, slowerThanSaid, styled, table } from './output.ts'

const HELP = `Usage: kappa status [--json]

Shows this machine and what it can reach. A metric says how fast one more job would run: 100 is an idle core of the
reference machine.

Example:
  kappa status --json | jq .metric`

const TAKES = { options: { json: { type: 'boolean' } } } as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa status', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const status = (await request('status', {})) as StatusResult
    if (parsed.values.json) printJson(status)
    else
      print(
        [here(status), neighbours(status), reachable(status), lastJobs(status)]
          .filter((part) => part !== '')
          .join('\n\n')
      )
    return 0
  }
}

function here(status: StatusResult): string {
  const { load, slots } = status
  const rows = [
    ['name', `${styled('bold', printable(status.name))} (${status.peerId})`],
    ['addresses', status.addresses.map((address) => printable(address, 400)).join(' ') || 'none'],
    [
      'metric',
      `${number(status.metric)} (speed ${status.static === null ? 'not yet measured' : number(status.static, 2)})`
    ],
    [
      'load',
      `${number(load.idleCores, 1)} of ${number(load.cores, 1)} cores idle, ${number(load.runnable, 1)} tasks compete`
    ],
    [
      'lends',
      status.refuses === null
        ? `${slots.used} of ${slots.total} slots in use`
        : styled('yellow', `no: ${printable(status.refuses, 300)}`)
    ]
  ]
  if (status.plainOnly !== null) {
    rows.push(['files', styled('yellow', `guests can't see their home's: ${printable(status.plainOnly, 300)}`)])
  }
  const { strategy, information } = status.placement
  if (strategy !== 'kappa' || information !== 'max-propagation') {
    rows.push(['placement', `${strategy}, neighbours are told by ${information}`])
  }
  const width = Math.max(...rows.map(([name]) => name!.length))
  return rows.map(([name, value]) => `${name!.padEnd(width)}  ${value}`).join('\n')
}

function neighbours(status: StatusResult): string {
  if (status.neighbours.length === 0) return 'No machine is paired yet. Begin with: kappa pair'
  const rows = status.neighbours.map((neighbour) => [
    printable(neighbour.name),
    neighbour.kind,
    neighbour.metric === null ? '-' : number(neighbour.metric),
    neighbour.via === null ? '-' : printable(withoutPeer(neighbour.via), 400),
    note(status, neighbour)
  ])
  return table(['NEIGHBOUR', 'KIND', 'METRIC', 'VIA', ''], rows)
}

function withoutPeer(address: string): string {
  return address.replace(/\/p2p\/\w+$/, '')
}

function note(status: StatusResult, { connected, refuses, plainOnly, version, trust }: NeighbourResult): string {
  const notes: string[] = []
  if (!connected && version === null) notes.push(styled('red', 'away'))
  if (refuses !== null) notes.push(styled('yellow', printable(refuses, 300)))
  else if (plainOnly !== null) notes.push(printable(plainOnly, 300))
  if (slowerThanSaid(trust) !== '') notes.push(slowerThanSaid(trust))
  if (connected && version !== null && version !== status.version) notes.push(`runs kappa ${printable(version)}`)
  return notes.join('; ')
}

function reachable({ reachable: peers, neighbours: known }: StatusResult): string {
  const further = peers.filter(({ peerId }) => !known.some((neighbour) => neighbour.peerId === peerId))
  if (further.length === 0) return ''
  const rows = further.map((peer) => [
    printable(peer.name),
    number(peer.metric),
    String(peer.hops),
    printable(peer.through ?? ''),
    peer.via === null ? '-' : peer.via.includes('/p2p-circuit') ? 'relayed' : printable(withoutPeer(peer.via), 400),
    duration(peer.ageMs)
  ])
  return table(['FURTHER AWAY', 'METRIC', 'HOPS', 'THROUGH', 'VIA', 'AGE'], rows)
}

function lastJobs({ lastJobs: counts }: StatusResult): string {
  if (counts.length === 0) return ''
  const total = counts.reduce((sum, { count }) => sum + count, 0)
  const rows = counts.map(({ target, reason, count }) => [printable(target), String(count), printable(reason, 300)])
  return table([`THE LAST ${total} JOBS`, '', 'WHY'], rows)
}

function number(value: number, digits = 0): string {
  return value
    .toFixed(digits)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '')
}
