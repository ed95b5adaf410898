/** Whether anything answers at an address: a TCP handshake, and no more. */

import { connect } from 'node:net'
import { hostAndPort } from './addresses.ts'

/**
 * `refused`: the machine is there and nothing listens. `silent`: no answer in time; what comes is dropped, or the machine
 * is off. `unreachable`: no way leads there.
 */
export const OUTCOMES = ['open', 'refused', 'silent', 'unreachable'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** TCP repeats a first packet that was lost after one second, and again two later. */
export const KNOCK_MS = 2500

/** Knocks at all addresses at once; in their order. */
export function knock(addresses: readonly string[]): Promise<{ address: string; outcome: Outcome }[]> {
  return Promise.all(addresses.map(async (address) => ({ address, outcome: await outcomeOf(address) })))
}

function outcomeOf(address: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connect(hostAndPort(address))
    const settle = (outcome: Outcome): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(outcome)
    }
    const timer = setTimeout(() => settle('silent'), KNOCK_MS)
    socket.once('connect', () => settle('open'))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED' || code === 'ECONNRESET') settle('refused')
      else settle(code === 'ETIMEDOUT' ? 'silent' : 'unreachable')
    })
  })
}
