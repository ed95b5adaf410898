import fc from 'fast-check'
import t from 'tap'
import { InvitationSession } from '../../../src/protocols/pair/invitation-session.ts'
import { NumbersSession } from '../../../src/protocols/pair/numbers-session.ts'
import { exchange, honestPerson, JOINER, OPENER, party, type Wire, words } from './two-sides.ts'

/** Changes one byte of one message. */
function changing(message: number, at: number, by: number): Wire {
  return (frame, index) => {
    if (index !== message) return frame
    const changed = Uint8Array.from(frame)
    const where = at % changed.length
    changed[where] = (changed[where] as number) ^ by
    return changed
  }
}

const anyByte = [fc.nat(), fc.integer({ min: 1, max: 255 })] as const

t.test(
  'numbers: a changed byte anywhere in the handshake pairs nobody, and later at most the side that decides',
  async () => {
    fc.assert(
      fc.property(fc.nat(7), ...anyByte, (message, at, by) => {
        const self = { opener: party('opener', 1), joiner: party('joiner', 2, 'own') }
        const { opener, joiner } = exchange(
          new NumbersSession('opener', { self: self.opener, peerId: JOINER }),
          new NumbersSession('joiner', { self: self.joiner, peerId: OPENER }),
          honestPerson(),
          changing(message, at, by)
        )
        const done = [opener, joiner].filter((side) => words(side).includes('done')).length
        const paired = [opener, joiner].filter((side) => side.stored === 'paired').length
        return message < 6 ? paired === 0 && done === 0 : done < 2
      }),
      { numRuns: 2000, seed: 1 }
    )
  }
)

t.test('invitation: the same', async () => {
  fc.assert(
    fc.property(fc.nat(5), ...anyByte, (message, at, by) => {
      const secret = new Uint8Array(16).fill(7)
      const { opener, joiner } = exchange(
        new InvitationSession('opener', { self: party('opener', 1), peerId: JOINER, secret }),
        new InvitationSession('joiner', { self: party('joiner', 2), peerId: OPENER, secret }),
        undefined,
        changing(message, at, by)
      )
      const done = [opener, joiner].filter((side) => words(side).includes('done')).length
      const paired = [opener, joiner].filter((side) => side.stored === 'paired').length
      return message < 4 ? paired === 0 && done === 0 : done < 2
    }),
    { numRuns: 2000, seed: 2 }
  )
})
