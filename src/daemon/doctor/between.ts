/** What is looked at between two machines, in both directions: what was found, what is lost by it, what mends it where. */

import type { MachineClass } from '../../core/types.ts'
import type { Outcome } from '../../network/knock.ts'
import { distanceOf } from '../../version.ts'
import type { CheckResult } from '../control-results.ts'
import type { Finding } from './checks.ts'
import { told } from './examination.ts'
import { type Circumstances, FAMILIES, type MendName, mend } from './mends.ts'

export interface Way {
  address: string
  outcome: Outcome
}

/** What this machine and the other one found of each other. What is absent is not known, and not told. */
export interface Between {
  here: { name: string; circumstances: Circumstances; port: number }
  /** Without circumstances it told nobody what it is. */
  there: { name: string; circumstances?: Circumstances }
  /** The address of the connection; absent: there is none. */
  via?: string
  /** Why it could not be asked; absent: it could. */
  silence?: { reason: string; isOld: boolean }
  /** Where it may be, as knocked at from here. */
  waysThere: Way[]
  /** Where this machine is, as knocked at from there. */
  waysBack?: Way[]
  versions?: { here: string; there: string }
  clock?: { skewMs: number; withinMs: number }
  classes?: { here: MachineClass; there: MachineClass }
  /** Who hears whom, where both listen and are in one network. */
  mdns?: { here: boolean; there: boolean }
}

export type BetweenResult = CheckResult & { on: string }

/** Clocks that are farther apart confuse programs that compare the times of files. */
const SKEW_MS = 1_000

interface Row {
  id: string
  name: string
  lost: string
  finding: Finding
  on?: 'here' | 'there'
}

export function between(facts: Between): BetweenResult[] {
  const { here, there } = facts
  const rows = [connection, wayThere, wayBack, answers, versions, clock, machines, mdns].map((row) => row(facts))
  return rows
    .filter((row) => row !== undefined)
    .map(({ id, name, lost, finding, on = 'here' }) => {
      const side = on === 'here' ? here : there
      const by = finding.mend
      if (side.circumstances !== undefined)
        return { ...told({ id, name, lost }, finding, side.circumstances), on: side.name }
      const { mend: _, ...rest } = finding
      const result = told({ id, name, lost }, rest, here.circumstances)
      return { ...result, mend: by === undefined ? [] : anywhere(by.name, by.values), on: side.name }
    })
}

/** For a machine that told nobody what it is. */
function anywhere(name: MendName, values: Record<string, string | number> = {}): string[] {
  const known = FAMILIES.filter((family) => family !== 'other')
  const each = known.map((family) => mend(name, { family, root: false }, values))
  if (each.every((lines) => lines.join('\n') === each[0]!.join('\n'))) return each[0]!
  const titles = { debian: '# Debian, Ubuntu:', fedora: '# Fedora:', arch: '# Arch:' }
  return known.flatMap((family, index) => [titles[family], ...each[index]!])
}

function connection({ via, there }: Between): Row {
  return {
    id: 'connection',
    name: 'connection',
    lost: `no jobs go to ${there.name}, and none come from it`,
    finding: via === undefined ? { verdict: 'failure', found: 'none' } : { verdict: 'ok', found: via }
  }
}

function oneWay(from: string, to: string, via: string | undefined): string {
  return `${from} can't connect to ${to}${via === undefined ? '' : ': only the other way round'}`
}

function wayThere(facts: Between): Row {
  const { there, here, via, waysThere, silence } = facts
  const row = {
    id: 'way-there',
    name: `${here.name} to ${there.name}`,
    lost: oneWay(here.name, there.name, via),
    on: 'there' as const
  }
  const open = waysThere.find(({ outcome }) => outcome === 'open')
  if (open !== undefined) return { ...row, finding: { verdict: 'ok', found: `${open.address} answers` } }
  const verdict = via === undefined ? 'failure' : 'warning'
  if (waysThere.length === 0) return { ...row, finding: { verdict, found: 'no address of it is known' } }
  const found = shown(waysThere)
  const answers = waysThere.some(({ outcome }) => outcome === 'refused')
  // It says itself that it lives: then somebody else refuses for it.
  if (answers && silence !== undefined && via === undefined) {
    return { ...row, finding: { verdict, found: `${found}: kappa doesn't run there`, mend: { name: 'start' } } }
  }
  const port =
    waysThere
      .find(({ outcome }) => outcome !== 'unreachable')
      ?.address.split('/')
      .at(-1) ?? String(here.port)
  return { ...row, finding: { verdict, found, mend: { name: 'open-tcp', values: { port } } } }
}

function wayBack({ here, there, via, waysBack }: Between): Row | undefined {
  if (waysBack === undefined) return undefined
  const row = {
    id: 'way-back',
    name: `${there.name} to ${here.name}`,
    lost: oneWay(there.name, here.name, via)
  }
  const open = waysBack.find(({ outcome }) => outcome === 'open')
  if (open !== undefined) return { ...row, finding: { verdict: 'ok', found: `${open.address} answers` } }
  const verdict = via === undefined ? 'failure' : 'warning'
  if (waysBack.length === 0) {
    return { ...row, finding: { verdict, found: `${there.name} knows no address that this machine has now` } }
  }
  return {
    ...row,
    finding: { verdict, found: shown(waysBack), mend: { name: 'open-tcp', values: { port: here.port } } }
  }
}

const WORDS: Readonly<Record<Outcome, string>> = {
  open: 'answers',
  refused: 'is refused',
  silent: "doesn't answer",
  unreachable: "can't be reached"
}

function shown(ways: readonly Way[]): string {
  return ways.map(({ address, outcome }) => `${address} ${WORDS[outcome]}`).join(', ')
}

function answers({ there, silence }: Between): Row | undefined {
  if (silence === undefined) return undefined
  return {
    id: 'answers',
    name: 'answers',
    lost: `what ${there.name} finds of itself, and of the way back, is not known`,
    finding: { verdict: 'warning', found: silence.reason, ...(silence.isOld ? { mend: { name: 'update' } } : {}) },
    on: 'there'
  }
}

function versions({ here, there, versions: known }: Between): Row | undefined {
  if (known === undefined) return undefined
  const row = { id: 'versions', name: 'versions', lost: 'the machines do not work together' }
  const distance = distanceOf(known.there, known.here)
  if (distance === 'none') return { ...row, finding: { verdict: 'ok', found: `both run ${known.here}` } }
  const found = `${here.name} runs ${known.here}, ${there.name} ${known.there}`
  if (distance === 'near') return { ...row, finding: { verdict: 'ok', found: `${found}: they work together` } }
  const on = distance === 'too old' ? 'there' : 'here'
  return { ...row, finding: { verdict: 'failure', found: `${found}: too far apart`, mend: { name: 'update' } }, on }
}

function clock({ there, clock: known }: Between): Row | undefined {
  if (known === undefined) return undefined
  const row = {
    id: 'clock',
    name: 'clocks',
    lost: 'make and the like may take what was made there for older, or younger, than it is'
  }
  const { skewMs, withinMs } = known
  const apart = Math.abs(skewMs)
  if (apart <= SKEW_MS + withinMs) {
    return {
      ...row,
      finding: { verdict: 'ok', found: `${Math.round(apart)} ms apart, give or take ${Math.ceil(withinMs)}` }
    }
  }
  const found = `that of ${there.name} is ${Math.round(apart / 100) / 10} s ${skewMs > 0 ? 'ahead' : 'behind'}`
  return { ...row, finding: { verdict: 'warning', found, mend: { name: 'clock' } } }
}

function machines({ here, there, classes }: Between): Row | undefined {
  if (classes === undefined) return undefined
  const row = {
    id: 'machines',
    name: 'kind of machine',
    lost: 'programs of one do not run on the other: jobs that see files need --tools target'
  }
  const [ours, theirs] = [classes.here, classes.there]
  const kind = ({ os, arch, pageSize }: MachineClass) => `${os} ${arch}, pages of ${pageSize / 1024} KiB`
  if (kind(ours) === kind(theirs)) return { ...row, finding: { verdict: 'ok', found: `both ${kind(ours)}` } }
  const found = `${here.name}: ${kind(ours)}; ${there.name}: ${kind(theirs)}`
  // Programs for larger pages run where pages are smaller.
  return { ...row, finding: { verdict: 'warning', found } }
}

function mdns({ here, there, mdns: hears }: Between): Row | undefined {
  if (hears === undefined) return undefined
  const row = {
    id: 'mdns-between',
    name: 'multicast DNS',
    lost: 'they do not find each other again when an address changes'
  }
  if (hears.here && hears.there) return { ...row, finding: { verdict: 'ok', found: 'they hear each other' } }
  const deaf = hears.here ? there : here
  const found = hears.here || hears.there ? `${deaf.name} doesn't hear the other` : "they don't hear each other"
  return {
    ...row,
    finding: { verdict: 'warning', found, mend: { name: 'open-mdns' } },
    on: hears.here ? 'there' : 'here'
  }
}
