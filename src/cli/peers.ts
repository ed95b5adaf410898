import type { PeerResult } from '../daemon/control-results.ts'
import { printable } from '../printable.ts'
import { readArguments, usageError } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { print, printJson, styled, table } from './output.ts'

const HELP = `Usage: kappa peers [--json]                                 list the paired machines
       kappa peers PEER [--own|--friend] [--name NAME]      say what a machine is, or call it something else

  --own          it is another machine of mine
  --friend       it is somebody else's: its jobs have no network here, and it learns less of mine
  --name NAME    what to call it here
  --json         one object for each machine, on a line of its own

Example:
  kappa peers nas --own`

const TAKES = {
  options: {
    own: { type: 'boolean' },
    friend: { type: 'boolean' },
    name: { type: 'string' },
    json: { type: 'boolean' }
  },
  arguments: { min: 0, max: 1, what: 'one PEER', completes: ['peer'] }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa peers', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { own, friend, name, json } = parsed.values
    const [peer] = parsed.positionals
    if (own && friend) throw usageError('kappa peers', '--own and --friend exclude each other')
    const kind = own ? 'own' : friend ? 'friend' : undefined
    if ((kind ?? name) !== undefined) {
      if (peer === undefined) throw usageError('kappa peers', 'say which PEER')
      await request('peer-set', { peer, ...(kind && { kind }), ...(name !== undefined && { name }) })
      return 0
    }
    if (peer !== undefined) throw usageError('kappa peers', 'say what to change: --own, --friend or --name')
    list((await request('peers', {})) as PeerResult[], json ?? false)
    return 0
  }
}

function list(peers: PeerResult[], json: boolean): void {
  if (json) {
    for (const peer of peers) printJson(peer)
  } else if (peers.length === 0) {
    print('No machine is paired yet. Begin with: kappa pair')
  } else {
    const rows = peers.map((peer) => [
      printable(peer.name),
      peer.kind,
      stateOf(peer),
      peer.peerId,
      peer.addresses[0] ?? '-'
    ])
    print(table(['NAME', 'KIND', 'STATE', 'PEER ID', 'ADDRESS'], rows))
  }
}

function stateOf({ state, connected, canWake }: PeerResult): string {
  if (state === 'pending') return styled('yellow', 'not confirmed')
  if (connected) return styled('green', 'connected')
  return canWake ? 'away (kappa run --wake)' : 'away'
}
