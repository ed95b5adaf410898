/**
 * The strategy `kappa-paper`: Algorithms I, II and III as the paper prints them, flaws included. It exists to be compared with
 * the rules of `PeerCore`, whose interface it has.
 *
 * What the printed text leaves open, or can't mean, and what was chosen:
 *
 * - Algorithm I, the delay: the load is measured every five seconds, so that is the delay, too, unless the caller sets one.
 * - Algorithm I, step 7: `max_dist` is that of the messages that came within one delay, since step 4 sets it to 0 again; the
 *   `dist_metric(i)` stay as they are until the next message of i, and go with the neighbour (the paper: when it unpairs). A new
 *   neighbour learns nothing before the next round.
 * - Nothing says whose value travels, nor how old it is. So a peer hears its own value back, less two constants, and when it
 *   becomes worse it believes its neighbour to be better: both count down together. Kept.
 * - Equal metrics: Algorithms II and III decide for greater and for lower. Equal stays.
 * - Several neighbours with the highest metric: the first one, as step 7c has it.
 * - Algorithm III may send a probe back to where it came from, and round in circles. Kept; but the paper's probe has no bound, and
 *   here the sixteenth peer answers whatever it knows.
 * - PR(k,i,·) goes "from the system k to the system i", which need not be paired: it walks back along the probe's path, without
 *   the circles in it.
 * - Algorithm II, step 5: "If a reply arrives, store it." What it is for, Table III tells (rows 8 and 9: "probe reply finds out
 *   that migration is not needed"): the job moves when the target's metric less the constant is above home's own. When no reply
 *   arrives "before the process ran" (row 1) the job stays; it waits as long as it does with the other strategies.
 * - A probe that ends at its home: the job stays.
 *
 * The paper knows neither demands (all metrics here are for one core), nor what a job needs (a target that can't take it says
 * so in its reply, and the job stays home), nor queues (`wait` is passed over), nor whom the owner trusts. Nothing is held for a probe:
 * a reply carries a ticket for whatever will be free at the start.
 */

import type { TicketOutcome } from './home-job.ts'
import { metric, PAPER_HOP_COST } from './metric.ts'
import { type Lack, lackForGuest, lackForHome, lackOfTool } from './needs.ts'
import { ownRecord } from './own-record.ts'
import { MAX_PAPER_PATH, type PaperMessage, type PaperProbe, type PaperReply } from './paper-messages.ts'
import type { PeerCoreInit, PeerView } from './peer-core.ts'
import { Reservations, type StartAnswer, TICKET_VALID_MS } from './reservations.ts'
import type {
  Candidate,
  Effect,
  JobEnd,
  MachineRecord,
  MachineSample,
  MetricPolicy,
  Needs,
  OwnerRules,
  PairingKind,
  PeerId,
  PlacementTrace,
  PlaceRequest,
  Refusal
} from './types.ts'

/** "The measurements are taken every five seconds." */
const DELAY_MS = 5_000
/** ms that a job waits for the reply to its probe. */
const REPLY_WAIT_MS = 400
/** Tickets that nobody has started yet; more probes are refused. */
const MAX_ISSUED = 4_096

export interface PaperCoreInit extends PeerCoreInit {
  /** The delay of Algorithm I in ms, > 0; default 5 s. */
  delayMs?: number
}

/** As `Effect`, with the paper's messages. */
export type PaperEffect = Exclude<Effect, { type: 'send' }> | { type: 'send'; to: PeerId; message: PaperMessage }

interface PaperNeighbour {
  name: string
  /** `dist_metric(i)`; undefined until its first message. */
  distance: number | undefined
  heardAt: number
}

/** A job whose probe is under way. */
interface Asked {
  jobId: string
  request: PlaceRequest
  askedAt: number
  probeId: string
  /** The neighbour that the probe was sent to. */
  through: PeerId
  candidates: Candidate[]
}

interface Issued {
  home: PeerId
  needs: Needs
  expiresAt: number
}

export class PaperCore {
  readonly #init: PaperCoreInit
  readonly #delayMs: number
  /** The connected ones, in the order in which they came; persons pair machines one by one. */
  readonly #neighbours = new Map<PeerId, PaperNeighbour>()
  /** By job; as many as clients wait, each for at most REPLY_WAIT_MS. */
  readonly #asked = new Map<string, Asked>()
  /** Thousandths of a core promised to each of home's own jobs that run here; home's jobs are never refused. */
  readonly #homeJobs = new Map<string, number>()
  /** By ticket, oldest first, since all live equally long; at most MAX_ISSUED. */
  readonly #issued = new Map<string, Issued>()
  /** Started tickets and their ends. */
  readonly #reservations: Reservations
  /** The ticket that is being started: the one for which `#reservations` makes its hold. */
  #starting = ''
  #rules: OwnerRules
  #policy: MetricPolicy
  #sample: { values: MachineSample; at: number } | undefined
  #homeDemand = 0
  /** `max_dist` of the round that goes on. */
  #maxDistance = 0
  /** When the round ends; undefined before the first, which the first sample begins. */
  #roundEndsAt: number | undefined

  constructor(init: PaperCoreInit) {
    this.#init = init
    this.#delayMs = init.delayMs ?? DELAY_MS
    this.#rules = init.rules
    this.#policy = init.metricPolicy
    const { self, epoch } = init
    this.#reservations = new Reservations({ self, epoch, newId: () => this.#starting })
  }

  // ----------------------------------------------------------------------------------------------- this machine

  setRules(rules: OwnerRules, _now: number): PaperEffect[] {
    this.#rules = rules
    return []
  }

  setMetricPolicy(policy: MetricPolicy): void {
    this.#policy = policy
  }

  /** The first one begins Algorithm I: steps 1 to 5. */
  handleSample(sample: MachineSample, now: number): PaperEffect[] {
    this.#sample = { values: sample, at: now }
    return this.#roundEndsAt === undefined ? this.#beginRound(this.#systemMetric({ home: false }), now) : []
  }

  /** This machine's record, counting every job that runs. */
  ownRecord(now: number): MachineRecord {
    this.#expire(now)
    return this.#record()
  }

  /** For `status`. Of the neighbours only distribution metrics are known. */
  view(now: number): PeerView {
    const record = this.ownRecord(now)
    const neighbours = [...this.#neighbours].map(([peer, { name, distance, heardAt }]) => {
      const ageMs = distance === undefined ? undefined : now - heardAt
      return { peer, name, connected: true, metric: distance, ageMs, record: undefined, trust: 1 }
    })
    return { self: { metric: this.#systemMetric({ home: true }), record }, neighbours, reachable: [] }
  }

  // -------------------------------------------------------------------------------------------------- neighbours

  handleNeighbourUp(peer: PeerId, info: { kind: PairingKind; name: string }, now: number): PaperEffect[] {
    this.#neighbours.set(peer, { name: info.name, distance: undefined, heardAt: now })
    return []
  }

  handleNeighbourDown(peer: PeerId, now: number): PaperEffect[] {
    this.#neighbours.delete(peer)
    const refusal = { peer, code: 'no-answer', reason: 'the connection was lost' }
    return [...this.#asked.values()].flatMap((asked) => (asked.through === peer ? this.#stay(asked, refusal, now) : []))
  }

  /** The paper takes a constant for the way. */
  handleRoundTrip(_peer: PeerId, _ms: number): void {}

  /** Messages count only from neighbours that are connected. */
  handleMessage(from: PeerId, message: PaperMessage, now: number): PaperEffect[] {
    const neighbour = this.#neighbours.get(from)
    if (neighbour === undefined) return []
    this.#expire(now)
    switch (message.type) {
      case 'paper-metric':
        // Algorithm I, step 7.
        neighbour.distance = message.value - PAPER_HOP_COST
        neighbour.heardAt = now
        this.#maxDistance = Math.max(this.#maxDistance, neighbour.distance)
        return []
      case 'paper-probe':
        return message.path.at(-1) === from ? this.#propagate(message, now) : []
      case 'paper-reply':
        return this.#replied(message, now)
    }
  }

  // ------------------------------------------------------------------------------------------------------- times

  handleTimer(now: number): PaperEffect[] {
    this.#expire(now)
    const effects: PaperEffect[] = []
    for (const asked of [...this.#asked.values()]) {
      if (now < asked.askedAt + REPLY_WAIT_MS) continue
      const waited = `no answer in ${Math.round(now - asked.askedAt)} ms`
      effects.push(...this.#stay(asked, { peer: asked.through, code: 'no-answer', reason: waited }, now))
    }
    if (this.#roundEndsAt !== undefined && now >= this.#roundEndsAt) {
      // Algorithm I, steps 9 and 10.
      effects.push(...this.#beginRound(Math.max(this.#systemMetric({ home: false }), this.#maxDistance), now))
    }
    return effects
  }

  nextTimer(): number | undefined {
    const times = [this.#roundEndsAt, this.#reservations.nextTimer()]
    for (const { askedAt } of this.#asked.values()) times.push(askedAt + REPLY_WAIT_MS)
    const [issued] = this.#issued.values()
    times.push(issued?.expiresAt)
    const next = Math.min(...times.map((time) => time ?? Number.POSITIVE_INFINITY))
    return Number.isFinite(next) ? next : undefined
  }

  /** Algorithm I, steps 3 to 5. */
  #beginRound(value: number, now: number): PaperEffect[] {
    this.#maxDistance = 0
    this.#roundEndsAt = now + this.#delayMs
    return [...this.#neighbours.keys()].map((to) => ({ type: 'send', to, message: { type: 'paper-metric', value } }))
  }

  // --------------------------------------------------------------------------------------------------- home side

  /** Algorithm II: ends in `placed` or `unplaceable`, at the latest when no reply came. */
  place(jobId: string, request: PlaceRequest, now: number): PaperEffect[] {
    if (this.#asked.has(jobId)) throw new Error(`job ${jobId} is being placed already`)
    this.#expire(now)
    const { self } = this.#init
    const own = this.#systemMetric({ home: true })
    const candidates: Candidate[] = this.#mayBeHere(request)
      ? [{ peer: self, metric: own, hops: 0, ageMs: this.#ageMs(now) }]
      : []
    const asked = { jobId, request, askedAt: now, probeId: '', through: self, candidates }
    if (!this.#mayLeave(request)) return this.#conclude(asked, [], staying(request), now)
    const best = this.#best((peer) => allowed(request, peer))
    for (const [peer, { distance, heardAt }] of this.#neighbours) {
      if (allowed(request, peer)) candidates.push({ peer, metric: distance ?? 0, hops: 1, ageMs: now - heardAt })
    }
    if (best === undefined) return this.#conclude(asked, [], 'no other peer is known', now)
    if (this.#mayRunHere(request) && own >= best.distance) {
      const reason = `${Math.round(own)} here, ${Math.round(best.distance)} through ${best.name}`
      return this.#conclude(asked, [], reason, now)
    }
    const id = this.#init.newId()
    this.#asked.set(jobId, { ...asked, probeId: id, through: best.peer })
    const probe: PaperProbe = { type: 'paper-probe', id, origin: self, needs: request.needs, path: [self] }
    return [{ type: 'send', to: best.peer, message: probe }]
  }

  /** The client went away while its job was being placed. */
  cancel(jobId: string, _now: number): PaperEffect[] {
    this.#asked.delete(jobId)
    return []
  }

  /** A job that was placed here ended; others are passed over. */
  homeJobEnded(jobId: string, _now: number): PaperEffect[] {
    this.#homeDemand -= this.#homeJobs.get(jobId) ?? 0
    this.#homeJobs.delete(jobId)
    return []
  }

  /** As far as the user's words go. */
  #mayBeHere({ remote, on, not }: PlaceRequest): boolean {
    const { self } = this.#init
    return !remote && !not.includes(self) && (on.length === 0 || on.includes(self))
  }

  #mayRunHere(request: PlaceRequest): boolean {
    return this.#mayBeHere(request) && lackForHome(this.#record(), request.needs, this.#init.hasTool) === undefined
  }

  #mayLeave(request: PlaceRequest): boolean {
    const { local, on, stays } = request
    if (local || (on.length === 1 && on[0] === this.#init.self)) return false
    return stays === undefined || !this.#mayBeHere(request)
  }

  /** Algorithm II, step 5, and what Table III tells of it. */
  #decide(asked: Asked, reply: PaperReply, now: number): PaperEffect[] {
    const { jobId, request, candidates, probeId } = asked
    const { target, ticket } = reply
    const no = (code: string, reason: string) => this.#stay(asked, { peer: target, code, reason }, now)
    if (ticket?.target !== target) {
      const { code, reason } = reply.refusal ?? { code: 'void', reason: 'gave no usable ticket' }
      return no(code, reason)
    }
    if (!allowed(request, target)) return no('not-connected', 'was not asked for')
    const own = this.#systemMetric({ home: true })
    const found = `${Math.round(reply.metric)} on ${reply.name}, ${Math.round(own)} here`
    if (this.#mayRunHere(request) && reply.metric - PAPER_HOP_COST <= own) return no('not-better', found)
    this.#asked.delete(jobId)
    const hops = [...reply.path.slice(1), target]
    const trace: PlacementTrace = { candidates, hops, refusals: [], placedMs: now - asked.askedAt, reason: found }
    const path = [...reply.path, target]
    const placed = { type: 'placed', jobId, where: 'there', kind: 'own', reason: found } as const
    return [{ ...placed, ticket, probeId, name: reply.name, path, addresses: [], trace }]
  }

  #stay(asked: Asked, refusal: Refusal, now: number): PaperEffect[] {
    this.#asked.delete(asked.jobId)
    const name = this.#neighbours.get(refusal.peer)?.name ?? refusal.peer
    return this.#conclude(asked, [refusal], `${name}: ${refusal.reason}`, now)
  }

  #conclude(asked: Asked, refusals: Refusal[], reason: string, now: number): PaperEffect[] {
    const { jobId, request, candidates } = asked
    const trace: PlacementTrace = { candidates, hops: [], refusals, placedMs: now - asked.askedAt, reason }
    if (!this.#mayRunHere(request)) return [{ type: 'unplaceable', jobId, trace }]
    const promised = Math.ceil(request.needs.demand * 1000)
    this.#homeDemand += promised - (this.#homeJobs.get(jobId) ?? 0)
    this.#homeJobs.set(jobId, promised)
    return [{ type: 'placed', jobId, where: 'here', reason, trace }]
  }

  // ----------------------------------------------------------------------------------------------- on the way

  /** Algorithm III. */
  #propagate(probe: PaperProbe, now: number): PaperEffect[] {
    const { self } = this.#init
    const own = this.#systemMetric({ home: false })
    const best = this.#best()
    if (best !== undefined && own < best.distance && probe.path.length < MAX_PAPER_PATH) {
      return [{ type: 'send', to: best.peer, message: { ...probe, path: [...probe.path, self] } }]
    }
    const { id, path } = probe
    if (probe.origin === self) return this.#cameHome(id, now)
    const reply = { type: 'paper-reply', id, target: self, name: this.#init.name, metric: own, path } as const
    return this.#sendBack({ ...reply, ...this.#issue(probe, now) })
  }

  /** Home itself is best. */
  #cameHome(probeId: string, now: number): PaperEffect[] {
    const asked = this.#askedFor(probeId)
    const { self } = this.#init
    return asked === undefined
      ? []
      : this.#stay(asked, { peer: self, code: 'not-better', reason: 'the probe came back home' }, now)
  }

  /** The first peer of the path where this one isn't yet: a reply skips the circles of its probe. */
  #sendBack(reply: PaperReply): PaperEffect[] {
    const { path } = reply
    const walked = path.indexOf(this.#init.self)
    const to = walked < 0 ? path.at(-1) : path[walked - 1]
    return to !== undefined && this.#neighbours.has(to) ? [{ type: 'send', to, message: reply }] : []
  }

  #replied(reply: PaperReply, now: number): PaperEffect[] {
    const walked = reply.path.indexOf(this.#init.self)
    if (walked > 0) return this.#sendBack(reply)
    const asked = this.#askedFor(reply.id)
    return walked < 0 || asked === undefined ? [] : this.#decide(asked, reply, now)
  }

  #askedFor(probeId: string): Asked | undefined {
    return [...this.#asked.values()].find((asked) => asked.probeId === probeId)
  }

  /** The neighbour with the highest distribution metric. */
  #best(among: (peer: PeerId) => boolean = () => true): { peer: PeerId; name: string; distance: number } | undefined {
    let best: { peer: PeerId; name: string; distance: number } | undefined
    for (const [peer, { name, distance }] of this.#neighbours) {
      if (distance === undefined || !among(peer)) continue
      if (best === undefined || distance > best.distance) best = { peer, name, distance }
    }
    return best
  }

  // ------------------------------------------------------------------------------------------------- target side

  /** Holds nothing: only the start finds out what is free then. */
  #issue(probe: PaperProbe, now: number): Pick<PaperReply, 'ticket' | 'refusal'> {
    const { origin, needs } = probe
    const lack = lackForGuest(this.#record(), needs) ?? lackOfTool(needs, this.#init.hasTool)
    if (lack !== undefined) return { refusal: lack }
    if (this.#issued.size >= MAX_ISSUED) return { refusal: { code: 'slots', reason: 'too many jobs at once' } }
    const id = this.#init.newId()
    this.#issued.set(id, { home: origin, needs, expiresAt: now + TICKET_VALID_MS })
    return { ticket: { id, target: this.#init.self, epoch: this.#init.epoch, validMs: TICKET_VALID_MS } }
  }

  /** May this ticket be started now? At most one call for each ticket is ever answered with yes. */
  startTicket(from: PeerId, ticketId: string, now: number): StartAnswer {
    this.#expire(now)
    const issued = this.#issued.get(ticketId)
    if (issued?.home === from) {
      this.#issued.delete(ticketId)
      const lack = lackForGuest(this.#record(), issued.needs) ?? this.#hold(ticketId, issued, now)
      if (lack !== undefined) return { accepted: false, ...lack }
    }
    return this.#reservations.start(from, ticketId, now, () => undefined)
  }

  /** A hold that lives until the start, which follows at once. */
  #hold(ticketId: string, { home, needs }: Issued, now: number): Lack | undefined {
    this.#starting = ticketId
    const granted = this.#reservations.reserve(
      { home, vouchers: [], kind: 'own' },
      ticketId,
      needs,
      this.#rules.slots,
      now
    )
    return 'code' in granted ? granted : undefined
  }

  /** Bytes that a running guest uses now: so much of what was promised to it shows in the samples already. */
  guestMemoryUsed(ticketId: string, bytes: number): void {
    this.#reservations.memoryUsed(ticketId, bytes)
  }

  guestJobEnded(ticketId: string, end: JobEnd, now: number): PaperEffect[] {
    this.#reservations.jobEnded(ticketId, end, now)
    return []
  }

  /** What became of the ticket; unless it was started it never will be after this. */
  resolveTicket(from: PeerId, ticketId: string, _now: number): TicketOutcome {
    if (this.#issued.get(ticketId)?.home === from) this.#issued.delete(ticketId)
    return this.#reservations.resolve(from, ticketId)
  }

  /** Home knows how the job ended: its record goes before others when room is needed. */
  forgetTicket(from: PeerId, ticketId: string): void {
    this.#reservations.acknowledge(from, ticketId)
  }

  /** The pairing ended: its tickets are void. `running`: those of its jobs, for the caller to end. */
  voidTicketsOf(peer: PeerId, now: number): { effects: PaperEffect[]; running: string[] } {
    for (const [ticketId, { home }] of this.#issued) if (home === peer) this.#issued.delete(ticketId)
    return { running: this.#reservations.voidHoldsOf(peer), effects: this.handleNeighbourDown(peer, now) }
  }

  /** Entries of all tables but the neighbours'; 0 when nothing is remembered of any job. */
  get remembered(): number {
    return this.#asked.size + this.#homeJobs.size + this.#issued.size + this.#reservations.size
  }

  // -------------------------------------------------------------------------------------------------- own record

  #systemMetric(view: { home: boolean }): number {
    return metric(this.#record(), 1, view, this.#policy)
  }

  #record(): MachineRecord {
    return ownRecord(this.#sample?.values, this.#rules, this.#homeDemand / 1000, this.#reservations)
  }

  #ageMs(now: number): number {
    return this.#sample === undefined ? 0 : now - this.#sample.at
  }

  #expire(now: number): void {
    this.#reservations.expire(now)
    for (const [ticketId, { expiresAt }] of this.#issued) {
      if (now < expiresAt) break
      this.#issued.delete(ticketId)
    }
  }
}

function allowed({ on, not }: PlaceRequest, peer: PeerId): boolean {
  return !not.includes(peer) && (on.length === 0 || on.includes(peer))
}

function staying({ local, stays }: PlaceRequest): string {
  return local ? 'asked for with --local' : (stays ?? 'this machine was asked for')
}
