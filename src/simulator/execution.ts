/**
 * Running jobs: what home and target say to each other from the ticket to the end, by the rules of the core's `HomeJob` and
 * with the times of the exec protocol. A process is nothing but work on a machine, and a count, so that running twice is seen.
 */

import { type HomeAction, type HomeEvent, HomeJob } from '../core/home-job.ts'
import type { Sent } from '../core/judging.ts'
import type { Learning } from '../core/learning.ts'
import { slotsWanted } from '../core/needs.ts'
import type { Effect, JobEnd, PairingKind, PlacedThere } from '../core/types.ts'
import type { Checker } from './checker.ts'
import { saidSpeed } from './machine.ts'
import type { Network, Service } from './network.ts'
import { between, type Random } from './random.ts'
import type { Guest, SimulatedPeer } from './simulated-peer.ts'
import type { Transcript } from './transcript.ts'
import type { Attempt, Order, Outcome, UserJob } from './user-job.ts'
import type { VirtualTime } from './virtual-time.ts'

/** Files go at 100 Mbit/s. */
const BYTES_PER_MS = 12_500
/** From the decision to the start message, and from its arrival to the process, ms. */
const START_COST_MS = 1
/** The start must be handed over so long after the user asked, ms; a target that was placed gets the least. */
const START_WITHIN_MS = 500
const REACH_MS_MIN = 100
/** A walk that had less time would find nobody, ms. */
const WALK_MS_MIN = 50
/** A start that went unanswered has cost more than this: one more walk, of so long, adds little, ms. */
const LATE_MS = 1_000
const LATE_WALK_MS = 100
/** A lost connection that a job needs is dialled again this often, ms. */
const REDIAL_MS = 250
/** Between the end of a job and the beginning of the next, ms: a shell starts it. */
const BETWEEN_MS = 5
/** Silence after which home gives a job up, ms. */
const LOST_AFTER_MS = 13_000
/** A target looks after its guests this often, and ends those whose home was silent for the lease and the time to kill, ms. */
const LEASE_TICK_MS = 1_000
const LEASE_MS = 8_000
const KILL_WITHIN_MS = 3_000
/** What home tells a target may be read there after the connection closed; of what a target tells, home reads only the newest. */
const TO_TARGET: Service = { reliable: false, late: true }
const TO_TARGET_SURELY: Service = { reliable: true, late: true }
const TO_HOME: Service = { reliable: false, late: false }
const TO_HOME_SURELY: Service = { reliable: true, late: false }
const EXITED: JobEnd = { exitCode: 0, signal: null }
const EXPIRED: JobEnd = { exitCode: null, signal: 'SIGTERM' }

export interface ExecutionInit {
  time: VirtualTime
  random: Random
  network: Network
  peers: readonly SimulatedPeer[]
  checker: Checker
  transcript: Transcript
  /** ms after which an unanswered start is resolved. */
  startTimeoutMs: number
  /** ms that a guest's command starts later than one at home. */
  guestStartMs: number
  kindOf(peer: number, neighbour: number): PairingKind
  /** What that home has learnt. */
  learningOf(peer: number): Learning
  /** The user learnt what became of it. */
  over(job: UserJob): void
}

export class Execution {
  /** All jobs ever submitted, by id; bounded by the workload. */
  readonly jobs = new Map<string, UserJob>()
  /** Jobs without an outcome, and those that follow them counted as one. */
  open = 0
  readonly #init: ExecutionInit
  readonly #indexOf: ReadonlyMap<string, number>
  /** Jobs of each home that aren't over. */
  readonly #ofHome: readonly Set<UserJob>[]

  constructor(init: ExecutionInit) {
    this.#init = init
    this.#indexOf = new Map(init.peers.map(({ id, index }) => [id, index]))
    this.#ofHome = init.peers.map(() => new Set())
  }

  submit(order: Order): UserJob {
    this.open++
    return this.#submit(order)
  }

  #submit(order: Order): UserJob {
    const { peers, transcript, checker } = this.#init
    checker.submitted()
    const id = `j${this.jobs.size}`
    const job: UserJob = { ...order, request: { ...order.request }, id, runs: 0, outcomes: [], hops: 0 }
    this.jobs.set(id, job)
    const home = peers[order.home]!
    transcript.record(`asks for ${id}`, home.id)
    this.#ofHome[order.home]!.add(job)
    this.#advise(job)
    if (home.state === 'down') this.#over(job, 'orphaned')
    else this.#place(job)
    return job
  }

  /** The user gives up before it runs; afterwards it is too late. */
  cancel(job: UserJob): void {
    if (job.placing === undefined) return
    const home = this.#homeOf(job)
    home.act((core, now) => {
      if (job.placing === undefined || job.outcomes.length > 0) return undefined
      this.#over(job, 'cancelled')
      return core.cancel(job.id, now)
    })
  }

  /** What the core of home decided. */
  decided(home: SimulatedPeer, effect: Exclude<Effect, { type: 'send' | 'sample' | 'admit' | 'dismiss' }>): void {
    const job = this.jobs.get(effect.jobId)!
    this.#init.transcript.record(`${effect.type}${'where' in effect ? ` ${effect.where}` : ''} ${job.id}`, home.id)
    if (effect.type === 'queued') {
      job.queued = true
      return
    }
    this.#init.checker.decided(home, job)
    job.placing = undefined
    job.trace = effect.trace
    if (effect.type === 'unplaceable') this.#over(job, 'unplaceable')
    else if (effect.where === 'here') this.#runHere(home, job)
    else this.#startThere(home, job, effect)
  }

  workDone(peer: SimulatedPeer, id: string, kind: 'home' | 'guest'): void {
    if (kind === 'home') {
      const job = this.jobs.get(id)!
      peer.homeJobs.delete(id)
      this.#learnHere(peer, job)
      this.#over(job, 'exited')
      peer.act((core, now) => core.homeJobEnded(id, now))
    } else peer.act((core, now) => this.#guestEnded(peer, core, id, EXITED, now))
  }

  /** A connection of that home stands. */
  connected(home: SimulatedPeer, other: SimulatedPeer): void {
    for (const job of this.#ofHome[home.index]!) {
      const { attempt } = job
      if (attempt === undefined || attempt.ticket.target !== other.id) continue
      const { epoch } = other
      home.act(() => {
        this.#tell(job, attempt, { type: 'connected', epoch })
        this.#sendStart(job, attempt)
        return undefined
      })
    }
  }

  disconnected(home: SimulatedPeer, other: SimulatedPeer): void {
    for (const job of this.#ofHome[home.index]!) {
      const { attempt } = job
      if (attempt?.ticket.target !== other.id) continue
      home.act(() => {
        this.#tell(job, attempt, { type: 'disconnected' })
        this.#dial(job, attempt)
        return undefined
      })
    }
  }

  /** Ends all guests, and says so. */
  endGuests(target: SimulatedPeer): void {
    for (const ticketId of [...target.guests.keys()]) this.#expire(target, ticketId)
  }

  /** The machine went off: nobody is left to tell. */
  died(peer: SimulatedPeer): void {
    for (const job of [...this.#ofHome[peer.index]!]) {
      job.attempt = undefined
      if (job.outcomes.length === 0) this.#over(job, 'orphaned')
    }
    this.#ofHome[peer.index]!.clear()
  }

  // ----------------------------------------------------------------------------------------------------- learning

  #advise({ home, command, request }: UserJob): void {
    if (!command) return
    const { peers, learningOf } = this.#init
    const peer = peers[home]!
    const { work } = learningOf(home).advice(command, claimedSpeed(peer), peer.now)
    if (work !== undefined) request.work = work
  }

  #learnHere(home: SimulatedPeer, { command, beganAt, workMs }: UserJob): void {
    if (command === undefined || beganAt === undefined) return
    const { time, learningOf } = this.#init
    const usage = { wallMs: time.now - beganAt, cpuMs: workMs / home.machine.speed }
    learningOf(home.index).finished({ ...keyOf(command), speed: claimedSpeed(home), usage }, home.now)
  }

  #learnStart(home: SimulatedPeer, job: UserJob, attempt: Attempt): void {
    const sent = sentOf(job, attempt)
    if (job.command === undefined || sent === undefined) return
    this.#init.learningOf(job.home).began(sent, keyOf(job.command).key, home.now)
  }

  #learnThere(home: SimulatedPeer, job: UserJob, attempt: Attempt): void {
    const { command, beganAt, workMs } = job
    const sent = sentOf(job, attempt)
    if (command === undefined || beganAt === undefined || sent === undefined) return
    const { time, peers, learningOf } = this.#init
    const { spec, speed } = peers[this.#indexOf.get(sent.peer)!]!.machine
    const totalMs = time.now - beganAt
    const { stagedBytes = 0 } = job
    // A liar tells what would befit its claim.
    const usage = { wallMs: totalMs - stagedBytes / BYTES_PER_MS, cpuMs: workMs / speed / (spec.lies ?? 1) }
    const link = { totalMs, stagedBytes, streamedBytes: 0, turns: 0 }
    learningOf(home.index).finished({ ...keyOf(command), sent, usage, link }, home.now)
  }

  // ------------------------------------------------------------------------------------------------------ placing

  #place(job: UserJob): void {
    const home = this.#homeOf(job)
    home.act((core, now) => {
      if (job.outcomes.length > 0) return undefined
      home.spend('placed')
      job.placing = { since: now, change: home.change }
      job.askedAt ??= now
      return core.place(job.id, job.request, now)
    })
  }

  /** Nothing ran at that target: the next try avoids it and has what is left of the time; without any the job stays. */
  #placeAgain(job: UserJob, attempt: Attempt): void {
    const home = this.#homeOf(job)
    const { target } = attempt.ticket
    job.attempt = undefined
    this.#init.learningOf(job.home).ended(job.id)
    const { wait, remote, on } = job.request
    job.request.not = [...(wait ? [] : job.request.not), target]
    if (!wait && !remote && on.length === 0) {
      const spentMs = home.now - job.askedAt!
      const leftMs = START_WITHIN_MS - REACH_MS_MIN - spentMs
      if (leftMs >= WALK_MS_MIN) job.request.budgetMs = leftMs
      else if (spentMs > LATE_MS && !job.late) {
        job.late = true
        job.request.budgetMs = LATE_WALK_MS
      } else job.request.local = true
    }
    home.act(() => [{ type: 'send', to: attempt.via, message: { type: 'release', id: attempt.probeId } }])
    this.#place(job)
  }

  #runHere(home: SimulatedPeer, job: UserJob): void {
    job.runs++
    job.target = home.index
    job.beganAt = this.#init.time.now
    job.hops = 0
    this.#init.checker.ran(job)
    home.homeJobs.add(job.id)
    home.run({ id: job.id, demand: job.request.needs.demand, workMs: job.workMs }, 'home')
  }

  // ------------------------------------------------------------------------------------------------- home's side

  #startThere(home: SimulatedPeer, job: UserJob, { ticket, probeId, path, claim }: PlacedThere): void {
    const { time, network, startTimeoutMs, checker, kindOf } = this.#init
    const { now } = home
    home.spend('shipped')
    const way = path.map((peer) => this.#indexOf.get(peer)!)
    checker.vouched(
      job,
      way.slice(1).map((peer, index) => kindOf(way[index]!, peer))
    )
    if (job.request.wait || job.queued === true) job.askedAt = now
    const rules = new HomeJob({ ticket, now, startTimeoutMs, lostAfterMs: LOST_AFTER_MS })
    const left = Math.max(START_WITHIN_MS - (now - job.askedAt!), REACH_MS_MIN)
    const attempt: Attempt = {
      ticket,
      probeId,
      via: path[1]!,
      rules,
      claim,
      sent: false,
      timerAt: Number.POSITIVE_INFINITY
    }
    job.attempt = attempt
    job.hops = path.length - 1
    const target = this.#indexOf.get(ticket.target)!
    if (network.stands(home.index, target)) {
      time.after(START_COST_MS, () => {
        home.act(() => {
          this.#sendStart(job, attempt)
          return undefined
        })
      })
    } else this.#dial(job, attempt)
    time.at(home.trueTime(now + left), () => {
      home.act(() => {
        if (!attempt.sent) this.#tell(job, attempt, { type: 'disconnected' })
        return undefined
      })
    })
    this.#arm(home, job, attempt)
  }

  /** Again and again, while anything may still be learnt from the target and no connection stands. */
  #dial(job: UserJob, attempt: Attempt): void {
    const { network, time, peers } = this.#init
    const target = this.#indexOf.get(attempt.ticket.target)!
    const { state } = attempt.rules
    const live = job.attempt === attempt && (state === 'starting' || state === 'running')
    if (!live || network.stands(job.home, target)) return
    if (peers[job.home]!.state === 'up') network.dial(job.home, target)
    time.after(REDIAL_MS, () => this.#dial(job, attempt))
  }

  #sendStart(job: UserJob, attempt: Attempt): void {
    if (job.attempt !== attempt || attempt.sent || attempt.rules.state !== 'starting') return
    const target = this.#indexOf.get(attempt.ticket.target)!
    if (!this.#init.network.stands(job.home, target)) return
    attempt.sent = true
    job.beganAt = this.#init.time.now
    this.#learnStart(this.#homeOf(job), job, attempt)
    this.#tell(job, attempt, { type: 'start-sent' })
    if (attempt.rules.state !== 'starting') return
    this.#init.network.send(job.home, target, () => this.#startArrived(job, attempt), TO_TARGET)
  }

  /** The question what became of the ticket; `attach` is answered only when it has ended, and by its end otherwise. */
  #ask(job: UserJob, attempt: Attempt, attach: boolean): void {
    const { network, peers } = this.#init
    const target = peers[this.#indexOf.get(attempt.ticket.target)!]!
    const { ticket } = attempt
    const arrived = () => {
      target.act((core, now) => {
        const outcome = core.resolveTicket(peers[job.home]!.id, ticket.id, now)
        if (attach && outcome.state === 'running') return undefined
        this.#answer(
          target,
          job,
          attempt,
          { type: 'resolved', epoch: target.epoch, outcome },
          attach ? TO_HOME_SURELY : TO_HOME
        )
        return undefined
      })
    }
    network.send(job.home, target.index, arrived, attach ? TO_TARGET_SURELY : TO_TARGET)
  }

  #tell(job: UserJob, attempt: Attempt, event: HomeEvent): void {
    if (job.attempt !== attempt) return
    const home = this.#homeOf(job)
    for (const action of attempt.rules.handle(event, home.now)) this.#follow(home, job, attempt, action)
    this.#arm(home, job, attempt)
  }

  #follow(home: SimulatedPeer, job: UserJob, attempt: Attempt, action: HomeAction): void {
    const { network, peers } = this.#init
    const target = peers[this.#indexOf.get(attempt.ticket.target)!]!
    if (action.type === 'resolve') this.#ask(job, attempt, false)
    else if (action.type === 'attach') this.#ask(job, attempt, true)
    else if (action.type === 'place-again') this.#placeAgain(job, attempt)
    else if (action.type === 'lost') {
      this.#init.checker.lost(job, attempt)
      this.#over(job, 'lost')
    } else {
      if (action.end.signal === null && job.outcomes.length === 0) this.#learnThere(home, job, attempt)
      this.#over(job, action.end.signal === null ? 'exited' : 'killed')
      this.#ofHome[home.index]!.delete(job)
      network.send(home.index, target.index, () => {
        target.act((core) => {
          core.forgetTicket(home.id, attempt.ticket.id)
          return undefined
        })
      })
    }
  }

  #arm(home: SimulatedPeer, job: UserJob, attempt: Attempt): void {
    const due = attempt.rules.nextTimer()
    if (job.attempt !== attempt || due === undefined) return
    const { time } = this.#init
    const at = Math.max(time.now, home.trueTime(due))
    if (at >= attempt.timerAt) return
    attempt.timerAt = at
    time.at(at, () => {
      if (attempt.timerAt !== at) return
      attempt.timerAt = Number.POSITIVE_INFINITY
      home.act((_, now) => {
        if ((attempt.rules.nextTimer() ?? Number.POSITIVE_INFINITY) <= now) this.#tell(job, attempt, { type: 'timer' })
        else this.#arm(home, job, attempt)
        return undefined
      })
    })
  }

  // ------------------------------------------------------------------------------------------------ target's side

  #startArrived(job: UserJob, attempt: Attempt): void {
    const { peers, checker, transcript } = this.#init
    const { ticket } = attempt
    const target = peers[this.#indexOf.get(ticket.target)!]!
    target.act((core, now) => {
      const answer = core.startTicket(peers[job.home]!.id, ticket.id, now)
      transcript.record(`${answer.accepted ? 'starts' : 'refuses'} ${job.id}`, target.id)
      if (!answer.accepted) {
        const { code, reason } = answer
        this.#answer(target, job, attempt, { type: 'refused', epoch: target.epoch, code, reason })
        return undefined
      }
      job.runs++
      job.target = target.index
      checker.ran(job)
      const wanted = slotsWanted(answer.needs.demand, target.machine.spec.slots)
      const homeEpoch = this.#homeOf(job).epoch
      target.guests.set(ticket.id, { jobId: job.id, home: job.home, homeEpoch, wanted, heardAt: now })
      target.spend('guest')
      this.#runGuest(target, job, ticket.id, answer.needs.demand)
      this.#watchLease(target, ticket.id, between(this.#init.random, 0, KILL_WITHIN_MS))
      this.#answer(target, job, attempt, { type: 'started' })
      return undefined
    })
  }

  /** Its files come first. */
  #runGuest(target: SimulatedPeer, { stagedBytes = 0, workMs }: UserJob, id: string, demand: number): void {
    const begin = () => {
      if (target.guests.has(id)) target.run({ id, demand, workMs }, 'guest')
    }
    const afterMs = this.#init.guestStartMs + stagedBytes / BYTES_PER_MS
    if (afterMs === 0) begin()
    else this.#init.time.after(afterMs, begin)
  }

  #answer(target: SimulatedPeer, job: UserJob, attempt: Attempt, event: HomeEvent, service = TO_HOME): void {
    const home = this.#homeOf(job)
    const arrived = () => {
      home.act(() => {
        this.#tell(job, attempt, event)
        return undefined
      })
    }
    this.#init.network.send(target.index, home.index, arrived, service)
  }

  #guestEnded(
    target: SimulatedPeer,
    core: SimulatedPeer['core'],
    ticketId: string,
    end: JobEnd,
    now: number
  ): Effect[] | undefined {
    const guest = target.guests.get(ticketId)
    if (guest === undefined) return undefined
    target.guests.delete(ticketId)
    const job = this.jobs.get(guest.jobId)!
    this.#init.transcript.record(`ended ${guest.jobId}`, target.id)
    const { attempt } = job
    if (attempt !== undefined) this.#answer(target, job, attempt, { type: 'ended', end }, TO_HOME_SURELY)
    return core.guestJobEnded(ticketId, end, now)
  }

  #watchLease(target: SimulatedPeer, ticketId: string, killMs: number): void {
    const { epoch } = target
    this.#init.time.after(LEASE_TICK_MS, () => {
      const guest = target.guests.get(ticketId)
      if (guest === undefined || target.epoch !== epoch) return
      if (target.state === 'up' && this.#isAbandoned(target, guest, killMs)) this.#expire(target, ticketId)
      else this.#watchLease(target, ticketId, killMs)
    })
  }

  #expire(target: SimulatedPeer, ticketId: string): void {
    target.kill(ticketId, 'guest')
    target.act((core, now) => this.#guestEnded(target, core, ticketId, EXPIRED, now))
  }

  /** Only the home that started it renews the lease: one that was started anew knows nothing of it. */
  #isAbandoned(target: SimulatedPeer, guest: Guest, killMs: number): boolean {
    const { now } = target
    const alive = this.#init.peers[guest.home]!.epoch === guest.homeEpoch
    if (alive && this.#init.network.hears(target.index, guest.home)) guest.heardAt = now
    return now - guest.heardAt >= LEASE_MS + killMs
  }

  // --------------------------------------------------------------------------------------------------------- ends

  #homeOf(job: UserJob): SimulatedPeer {
    return this.#init.peers[job.home]!
  }

  /** The end of a lost job may still be learnt: that corrects a record, and is no second outcome. */
  #over(job: UserJob, outcome: Outcome): void {
    if (job.outcomes[0] === 'lost' && (outcome === 'exited' || outcome === 'killed')) return
    this.#init.transcript.record(`${outcome} ${job.id}`, this.#homeOf(job).id)
    this.#init.learningOf(job.home).ended(job.id)
    if (job.outcomes.length === 0) this.#goOn(job)
    job.outcomes.push(outcome)
    job.endedAt = this.#init.time.now
    job.placing = undefined
    if (job.attempt === undefined) this.#ofHome[job.home]!.delete(job)
    this.#init.checker.over(job)
    this.#init.over(job)
  }

  /** The user asks for what comes next, if anything does. */
  #goOn({ next }: UserJob): void {
    const { time } = this.#init
    if (next === undefined) this.open--
    else time.after(BETWEEN_MS, () => this.#submit({ ...next, at: time.now }))
  }
}

/** Jobs without a name are like no others. */
function keyOf(command: string): { key?: string } {
  return command === '' ? {} : { key: command }
}

function sentOf({ id, request }: UserJob, { claim, ticket }: Attempt): Sent | undefined {
  return claim && { id, peer: ticket.target, claim, demand: request.needs.demand }
}

function claimedSpeed({ machine }: SimulatedPeer): number {
  return saidSpeed(machine.spec)
}
