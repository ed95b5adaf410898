/**
 * What a strategy is: who of those that may be asked is asked for a job, and when the job stays. The engine (`Placement`) does the rest alike for all:
 * the user's words, needs, probes, deadlines, holds and the trace.
 */

import type { PlaceOrder, Placing, Surroundings } from '../placing.ts'
import type { MachineRecord, PeerId } from '../types.ts'

/** A machine that may be asked now: known, reachable, allowed by the user, and lacking nothing by what is known of it. */
export interface Choice {
  origin: PeerId
  /** The neighbour through which it is reached. */
  via: PeerId
  hops: number
  /** Undefined for a neighbour that has said nothing of itself yet. */
  record: MachineRecord | undefined
  /** Its distribution metric for the job's demand, less what its word isn't believed. */
  metric: number
  /** What that metric must reach for the job to gain by going there; 0 when home can't take it. */
  worth: number
  /** What it must say of itself to be worth it: more than `worth` when its word is worth less. */
  best: number
}

export interface Situation {
  choices: readonly Choice[]
  /** Questions so far, and those of them that were answered with no. */
  asked: number
  failed: number
  /** Home's record, and its ID. */
  home: MachineRecord
  self: PeerId
  /** Cores that the job can use at once. */
  demand: number
  /** It rather waits for a slot elsewhere than takes home's time. */
  isPatient: boolean
  /** In [0, 1). */
  random(): number
}

export interface Question {
  choice: Choice
  /** The metric that whoever holds must exceed. */
  best: number
  /** The chosen machine alone may hold; else whoever on the way is better. */
  exact: boolean
  /** Why it went there, as a phrase that follows the machine's name; absent: it is so many times better. */
  phrase?: string
}

/** Whom to ask next; a reason to stay, as a phrase; or nobody, for the reasons that the trace shows. */
export type Next = Question | string | undefined

export interface Chooser {
  /** Machines that are asked at once, ≥ 1. With more than one the best answer counts, else the first. */
  readonly width: number
  next(situation: Situation): Next
  /**
   * Whether a job that `next` has found nobody for looks again in a moment, as long as its budget lasts, rather than start
   * here. `full`: machines that lack nothing but a free slot; their metric is what that would give. Absent: never.
   */
  looksAgain?(situation: Omit<Situation, 'choices'>, full: readonly Choice[]): boolean
}

/** How the jobs of one peer are placed; lives as long as its owner wants this strategy, and may remember. */
export type Placer = (order: PlaceOrder, now: number, around: Surroundings) => Placing

export interface Strategy {
  /** As in `placement.strategy`. */
  readonly name: string
  /** The information policy that it is made for. */
  readonly information: string
  /** One line for people. */
  readonly description: string
  /** Jobs for which home has no idle cores wait until it has, or an idle machine pulls them; idle machines pull. */
  readonly pulls: boolean
  create(): Placer
}
