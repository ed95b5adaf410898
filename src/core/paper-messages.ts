/** What travels between peers that place by the paper's own algorithms (`kappa-paper`). */

import type { Needs, PeerId, Refusal, Ticket } from './types.ts'

/** Peers that a probe may have walked; the paper sets no bound, and as printed a probe may walk in circles. */
export const MAX_PAPER_PATH = 16

/** `send_probe` of Algorithm I: a bare number, so that nobody can tell whose it is or how old. */
export interface PaperMetric {
  type: 'paper-metric'
  value: number
}

/** P(i,j,k): i is the origin, j the sender and last of the path, k the receiver. */
export interface PaperProbe {
  type: 'paper-probe'
  /** 128 random bits in hex, made by the origin. */
  id: string
  /** Home: who will hold the ticket. */
  origin: PeerId
  needs: Needs
  /** Peers walked so far in their order, home first, some of them perhaps twice; 1 to MAX_PAPER_PATH. */
  path: PeerId[]
}

/** PR(k,i,metric), on its way back along the path of the probe. */
export interface PaperReply {
  type: 'paper-reply'
  id: string
  /** k, who answers. */
  target: PeerId
  /** Name that the target gave itself, for people. */
  name: string
  /** Its system metric when it answered. */
  metric: number
  /** The right to start the job there, with nothing held for it; absent when refused. */
  ticket?: Ticket
  refusal?: Refusal
  /** Where the target can be dialled with the ticket, for a home that is no neighbour: multiaddrs, at most MAX_ADDRESSES. */
  addresses?: string[]
  /** The path of the probe, home first. */
  path: PeerId[]
}

export type PaperMessage = PaperMetric | PaperProbe | PaperReply
