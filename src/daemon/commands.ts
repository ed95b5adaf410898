/** What the daemon does for each command of the client. */

import type { z } from 'zod'
import type { MachineClass, PairingKind, PeerId } from '../core/types.ts'
import { KappaError, messageOf } from '../errors.ts'
import type { Pairing } from '../network/pairing.ts'
import { NAME_LENGTH_MAX, printable } from '../printable.ts'
import type { PairService } from '../protocols/pair/service.ts'
import { tooFar, VERSION } from '../version.ts'
import type { Configuration } from './configuration.ts'
import { AT_START_KEYS, loadConfiguration } from './configuration.ts'
import type { ControlConnection, ControlHandler } from './control.ts'
import { FRAME } from './control-codec.ts'
import { checked, PARAMS, type Params } from './control-requests.ts'
import type {
  DoctorResult,
  JobResult,
  KillResult,
  LeaveResult,
  LogsResult,
  NearbyResult,
  NeighbourResult,
  PairEvent,
  PairResult,
  PauseResult,
  PeerResult,
  ReloadResult,
  StatusResult,
  WaitResult,
  WhyResult
} from './control-results.ts'
import type { Daemon } from './daemon.ts'
import type { JobRecord } from './history.ts'
import { sendLogs } from './logs.ts'
import { metricsText } from './metrics.ts'
import { Page, type PairingTalk } from './page.ts'
import { toldEnd } from './run-end.ts'

/** Jobs that `ps` shows, and how many of the older ones that are not over. */
const JOBS_SHOWN = 50
const OLDER_SHOWN = 200

/** Machines on the network get so long to say that they are there. */
const NEARBY_MS = 500

/** How each command is answered; by frames of its own when it gives nothing. */
type Handlers = { [Command in keyof Params]: (params: Params[Command], connection: ControlConnection) => unknown }

/** Those that need no more of who asks than the question. */
function answers(daemon: Daemon) {
  return {
    status: () => status(daemon),
    version: () => ({ version: VERSION }),
    metrics: () => ({ text: metricsText(daemon) }),
    figures: ({ span = 'minutes', last = Number.POSITIVE_INFINITY }) => daemon.figures(span, last),
    peers: () => peers(daemon),
    'peer-set': (params) => peerSet(daemon, params),
    unpair: ({ peer }) => daemon.unpair(daemon.pairings.find(peer).peerId),
    ps: ({ guests }) => ps(daemon, guests === true),
    why: ({ job }) => why(daemon, job),
    kill: (params) => kill(daemon, params),
    pause: (params) => pause(daemon, params),
    resume: async () => {
      await daemon.owner.resume()
      return {}
    },
    nearby: () => nearby(daemon),
    reload: () => reload(daemon),
    leave: ({ now }): LeaveResult => daemon.leave(now === true),
    ui: () => daemon.page.open()
  } satisfies Partial<{ [Command in keyof Params]: (params: Params[Command]) => unknown }>
}

export function commandHandlers(daemon: Daemon): Record<string, ControlHandler> {
  const handlers: Handlers = {
    ...answers(daemon),
    run: (params, connection) => daemon.runs.start(connection, params),
    'pair-invite': ({ kind }, connection) => invite(daemon.pair, connection, kind),
    'pair-accept': ({ kind, link }, connection) =>
      daemon.pair.accept({ link, kind, signal: connection.signal }).then(paired),
    'pair-wait': ({ kind }, connection) => pairWait(daemon.pair, talkOf(connection), kind),
    'pair-join': (params, connection) => pairJoin(daemon.pair, talkOf(connection), params),
    doctor: ({ peer }, connection) => doctor(daemon, peer, connection),
    logs: (params, connection) => logs(daemon, params, connection),
    wait: ({ job }, connection) => wait(daemon, job, connection)
  }
  const checking = <Command extends keyof Params>(command: Command): [string, ControlHandler] => [
    command,
    (connection, params) => handlers[command](checkedFor(command, params), connection)
  ]
  return Object.fromEntries((Object.keys(handlers) as (keyof Params)[]).map((command) => checking(command)))
}

function checkedFor<Command extends keyof Params>(command: Command, params: unknown): Params[Command] {
  return checked(PARAMS[command] as unknown as z.ZodType<Params[Command]>, params, command)
}

/** The web page, which is answered as clients are. */
export function pageOf(daemon: Daemon): Page {
  const known = answers(daemon) as Record<string, (params: never) => unknown>
  return new Page({
    answer: (command, params) => known[command]!(checkedFor(command as keyof Params, params) as never),
    pair: (params, talk) =>
      'target' in params
        ? pairJoin(daemon.pair, talk, checkedFor('pair-join', params))
        : pairWait(daemon.pair, talk, checkedFor('pair-wait', params).kind),
    log: daemon.log
  })
}

/** What keeps a machine from running jobs that see the files and programs of a home of that class; null: nothing. */
function plainOnly(is: MachineClass, home: MachineClass): string | null {
  if (is.noFiles !== undefined) return `plain only, ${printable(is.noFiles, 200)}`
  if (is.arch !== home.arch || is.os !== home.os) return `is ${printable(is.arch)}: plain, or --tools target`
  return is.modes.length > 0 && !is.modes.includes('files') ? 'plain only' : null
}

function status(daemon: Daemon): StatusResult {
  const now = daemon.clock.now()
  const { self, neighbours, reachable } = daemon.driver.core.view(now)
  const { strategy } = daemon.driver.core
  const { record } = self
  const { noFiles } = daemon.guests
  const shown = neighbours.map((view) => {
    const peer = daemon.peer(view.peer)
    return {
      name: daemon.nameOf(view.peer),
      peerId: view.peer,
      kind: daemon.pairings.get(view.peer)?.kind ?? 'friend',
      connected: view.connected,
      metric: view.metric ?? null,
      trust: view.trust,
      via: peer?.via ?? null,
      roundTripMs: peer?.via === undefined ? null : (view.roundTripMs ?? null),
      traffic: peer?.traffic ?? null,
      version: peer?.version ?? null,
      refuses: view.record?.refuses === undefined ? null : printable(view.record.refuses, 200),
      plainOnly: view.record === undefined ? null : plainOnly(view.record.class, record.class)
    }
  })
  const known = new Set(shown.map(({ peerId }) => peerId))
  const away = [...daemon.pairings.all()].filter(({ peerId, state }) => state === 'paired' && !known.has(peerId))
  return {
    name: daemon.name,
    peerId: daemon.peerId,
    version: VERSION,
    addresses: daemon.node.addresses(),
    metric: self.metric,
    static: daemon.benchmark.score.confidence === 'none' ? null : daemon.benchmark.score.speed,
    load: { runnable: record.runnable, idleCores: record.idleCores, cores: record.cores },
    slots: { total: record.slots, used: record.guestDemand },
    refuses: record.refuses ?? null,
    paused: daemon.owner.paused,
    plainOnly: noFiles === undefined ? null : `${noFiles.reason}; ${noFiles.mend}`,
    placement: { strategy: strategy.name, information: strategy.information },
    neighbours: [...shown, ...away.map(({ peerId, kind }) => awayResult(daemon, peerId, kind))],
    reachable: reachable
      .map(({ peer, metric, trust, hops, ageMs, via, record }) => ({
        peerId: peer,
        name: daemon.nameOf(peer),
        metric,
        trust,
        hops,
        ageMs,
        slots: { total: record.refuses === undefined ? record.slots : 0, used: record.guestDemand },
        through: hops === 1 ? null : daemon.nameOf(via),
        via: hops === 1 ? null : (daemon.others.wayTo(peer) ?? null)
      }))
      .toSorted((a, b) => b.metric - a.metric),
    lastJobs: daemon.history.counts().map(({ target, reason, count }) => ({
      target: target === null ? '' : daemon.nameOf(target),
      reason: reason ?? '',
      count
    }))
  }
}

/** A paired machine that is no neighbour now: it isn't connected, or too old or new to be worked with. */
function awayResult(daemon: Daemon, peerId: PeerId, kind: PairingKind): NeighbourResult {
  const version = daemon.versionTooFar(peerId)
  return {
    name: daemon.nameOf(peerId),
    peerId,
    kind,
    connected: false,
    metric: null,
    trust: 1,
    via: null,
    roundTripMs: null,
    traffic: null,
    version: version ?? null,
    refuses: version === undefined ? null : tooFar(version),
    plainOnly: null
  }
}

function peers(daemon: Daemon): PeerResult[] {
  return [...daemon.pairings.all()].map(({ peerId, kind, state, addresses, hardware = [] }) => ({
    peerId,
    name: daemon.nameOf(peerId),
    kind,
    state,
    connected: daemon.peer(peerId)?.via !== undefined,
    addresses,
    canWake: hardware.length > 0
  }))
}

async function peerSet(daemon: Daemon, { peer, kind, name }: Params['peer-set']): Promise<PeerResult[]> {
  if (name !== undefined && (name === '' || name !== printable(name, NAME_LENGTH_MAX))) {
    throw new KappaError('UsageError', `a name is 1 to ${NAME_LENGTH_MAX} printable characters`)
  }
  const pairing: Pairing = { ...daemon.pairings.find(peer) }
  if (name) pairing.name = name
  if (kind && kind !== pairing.kind) await daemon.changeKind({ ...pairing, kind })
  else await daemon.pairings.put(pairing)
  return peers(daemon)
}

function paired({ peerId, name, kind }: Pairing): PairResult {
  return { peerId, name: printable(name, NAME_LENGTH_MAX), kind }
}

async function invite(pair: PairService, connection: ControlConnection, kind: PairingKind): Promise<PairResult> {
  const { link, done } = pair.invite({ kind, signal: connection.signal })
  connection.tell(FRAME.event, { type: 'link', link } satisfies PairEvent)
  return paired(await done)
}

function talkOf(connection: ControlConnection): PairingTalk {
  return {
    tell: (event) => connection.tell(FRAME.event, event),
    ask: (event) => connection.ask({ ...event }),
    signal: connection.signal
  }
}

async function pairWait(pair: PairService, talk: PairingTalk, kind: PairingKind): Promise<PairResult> {
  const pairing = await pair.openByNumbers({
    kind,
    signal: talk.signal,
    onEvent: (event) => {
      if (event.type !== 'paired') talk.tell(event)
    },
    confirm: async ({ name, kind }) => (await talk.ask({ need: 'confirm', name, kind })).confirm === true
  })
  return paired(pairing)
}

async function pairJoin(
  pair: PairService,
  talk: PairingTalk,
  { kind, target }: Params['pair-join']
): Promise<PairResult> {
  const pairing = await pair.joinByNumbers({
    target,
    kind,
    signal: talk.signal,
    onEvent: (event) => talk.tell(event),
    digits: async ({ name, kind }) => String((await talk.ask({ need: 'digits', name, kind })).digits ?? '')
  })
  return paired(pairing)
}

function jobResult(daemon: Daemon, job: JobRecord): JobResult {
  const position = job.state === 'queued' ? daemon.runs.positionOf(job.id) : undefined
  return {
    id: job.id,
    state: job.state,
    argv: job.argv.map((word) => Buffer.from(word).toString()),
    target: job.target === null ? null : nameIn(daemon, job, job.target),
    home: daemon.nameOf(job.home),
    startedAt: job.startedAt,
    endedAt: job.endedAt,
    exitCode: job.exitCode,
    signal: job.signal,
    detached: job.role === 'home' && daemon.runs.detached.get(job.id) !== undefined,
    ...(position === undefined ? {} : { position })
  }
}

/** A machine met through others may be out of sight by now: what it called itself then. */
function nameIn(daemon: Daemon, { trace }: JobRecord, peer: PeerId): string {
  const then = trace?.names?.[peer]
  return then === undefined || daemon.pairings.get(peer) ? daemon.nameOf(peer) : printable(then, NAME_LENGTH_MAX)
}

/** The newest, and of the older ones those that are not over. */
function ps(daemon: Daemon, guests: boolean): JobResult[] {
  const jobs = daemon.history.latest(guests ? 'guest' : 'home', JOBS_SHOWN)
  if (jobs.length === JOBS_SHOWN) {
    const known = new Set(jobs.map(({ home, id }) => `${home} ${id}`))
    const older: JobRecord[] = []
    for (const job of guests ? daemon.guests.live() : daemon.runs.records()) {
      if (older.length === OLDER_SHOWN) break
      if (!known.has(`${job.home} ${job.id}`)) older.push(job)
    }
    jobs.push(...older.toSorted((a, b) => b.startedAt - a.startedAt))
  }
  return jobs.map((job) => jobResult(daemon, job))
}

function why(daemon: Daemon, prefix: string): WhyResult {
  const job = daemon.history.find(prefix)
  const { trace } = job
  const named = (peer: PeerId) => ({ peerId: peer, name: nameIn(daemon, job, peer) })
  return {
    ...jobResult(daemon, job),
    reason: job.reason,
    candidates: (trace?.candidates ?? []).map(({ peer, via, ...candidate }) => ({
      ...named(peer),
      ...candidate,
      ...(via === undefined ? {} : { via: nameIn(daemon, job, via) })
    })),
    hops: (trace?.hops ?? []).map((peer) => nameIn(daemon, job, peer)),
    refusals: (trace?.refusals ?? []).map(({ peer, code, reason, hops }) => ({
      ...named(peer),
      code,
      reason: printable(reason, 300),
      ...(hops === undefined ? {} : { hops: hops.map((hop) => nameIn(daemon, job, hop)) })
    })),
    timesMs: {
      ...(trace ? { placed: trace.placedMs } : {}),
      ...(job.endedAt === null ? {} : { ran: job.endedAt - job.startedAt - (trace?.placedMs ?? 0) })
    },
    error: job.error
  }
}

function logs(
  daemon: Daemon,
  { job: prefix, follow }: Params['logs'],
  connection: ControlConnection
): Promise<LogsResult> {
  const { id } = daemon.history.find(prefix)
  const job = daemon.runs.detached.get(id)
  if (job) return sendLogs(job, follow === true, connection)
  const why = daemon.runs.isLive(id)
    ? 'it goes to its own client; start one with --detach to ask for it later'
    : 'it went to its own client, unless the job was detached and ended long ago'
  throw new KappaError('UnknownJobError', `the output of ${id} is not kept: ${why}`)
}

async function wait(daemon: Daemon, prefix: string, connection: ControlConnection): Promise<WaitResult> {
  const known = daemon.history.find(prefix)
  const job = await (daemon.runs.over(known.id, connection.signal) ?? known)
  const elsewhere = job.target !== null && job.target !== daemon.peerId && job.error?.name !== 'NothingRanError'
  const { error, ...end } = job
  const told = toldEnd(
    { ...end, ...(error ? { error } : {}) },
    elsewhere ? ` (on ${nameIn(daemon, job, job.target!)})` : ''
  )
  return { job: jobResult(daemon, job), told }
}

function kill(daemon: Daemon, { job: prefix, signal, guest }: Params['kill']): KillResult {
  if (guest === true) return { id: daemon.guests.end(prefix, 'its owner ended it'), waitsFor: null }
  const job = daemon.history.find(prefix)
  const sent = daemon.runs.signal(job.id, signal)
  if (!sent) throw new KappaError('UnknownJobError', `the job ${job.id} has ended already; see: kappa ps`)
  return { id: job.id, waitsFor: sent.reached || job.target === null ? null : nameIn(daemon, job, job.target) }
}

async function pause(daemon: Daemon, { forMs, now }: Params['pause']): Promise<PauseResult> {
  const until = await daemon.owner.pause(forMs)
  const running = daemon.guests.target.running
  if (now) daemon.guests.target.endAll('its owner wants the machine back')
  return { until, ended: now ? running : 0, running: now ? 0 : running }
}

/** Who is there answers at once; who was heard before counts, too. */
async function nearby(daemon: Daemon): Promise<NearbyResult> {
  const { node, pairings } = daemon
  node.askLan()
  if (daemon.startedWith.mdns) await new Promise((resolve) => setTimeout(resolve, NEARBY_MS))
  const others = node.discovered().filter(({ peerId }) => pairings.get(peerId)?.state !== 'paired')
  return { names: [...new Set(others.map(({ name }) => printable(name, NAME_LENGTH_MAX)))] }
}

async function doctor(daemon: Daemon, peer: string | undefined, connection: ControlConnection): Promise<DoctorResult> {
  const { result, isNews } = await daemon.doctor.examine(peer === undefined ? undefined : daemon.pairings.find(peer))
  // Not before the client has its answer.
  if (isNews) connection.onGone(() => daemon.renew())
  return result
}

export function reload(daemon: Daemon): ReloadResult {
  const before = daemon.configuration
  const after = loadConfiguration(daemon.directories.config, process.env)
  const at = (configuration: Configuration, key: string): unknown =>
    key.split('.').reduce<unknown>((value, part) => (value as Record<string, unknown>)[part], configuration)
  const atNextStart = AT_START_KEYS.filter((key) => JSON.stringify(at(before, key)) !== JSON.stringify(at(after, key)))
  daemon.configure(after)
  return { atNextStart }
}

/** The configuration was changed by hand and the daemon told by a signal. */
export function reloadQuietly(daemon: Daemon): void {
  try {
    const { atNextStart } = reload(daemon)
    daemon.log.info('configuration read again', { atNextStart: atNextStart.join(',') || undefined })
  } catch (error) {
    daemon.log.warn(`configuration not taken: ${messageOf(error)}`)
  }
}
