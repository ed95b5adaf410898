import fc from 'fast-check'
import t from 'tap'
import { isKappaError } from '../../../src/errors.ts'
import { formatInvitation, type Invitation, parseInvitation } from '../../../src/protocols/pair/invitation.ts'
import { OPENER } from './two-sides.ts'

const INVITATION: Invitation = {
  peerId: OPENER,
  name: 'nas',
  addresses: ['/ip4/192.168.1.5/tcp/5277', '/ip6/fd00::5/tcp/5277', '/dns4/nas.lan/tcp/5277'],
  secret: new Uint8Array(16).fill(9)
}

const refused = (text: string): string => {
  try {
    parseInvitation(text)
  } catch (error) {
    if (isKappaError(error) && error.name === 'InvitationError') return error.message
    throw error
  }
  return 'accepted'
}

t.test('a link is one line that no shell touches, and gives back what went in', async (t) => {
  const link = formatInvitation(INVITATION)
  t.match(link, /^kappa:[\w-]+$/)
  t.ok(link.length < 200, `${link.length} characters`)
  t.strictSame(parseInvitation(link), INVITATION)
  t.strictSame(parseInvitation(` ${link}\r\n`), INVITATION)
})

t.test('the peer ID is left out of the addresses', async (t) => {
  const link = formatInvitation({ ...INVITATION, addresses: [`/ip4/192.168.1.5/tcp/5277/p2p/${OPENER}`] })
  t.strictSame(parseInvitation(link).addresses, ['/ip4/192.168.1.5/tcp/5277'])
})

t.test('what is no invitation gets one clear line', async (t) => {
  for (const text of ['', 'nas', 'http://example.org', '--help']) t.match(refused(text), /not an invitation/, text)
  const link = formatInvitation(INVITATION)
  for (const text of [
    'kappa:',
    'kappa:a b',
    'kappa:x',
    link.slice(0, -1),
    `${link}A`,
    `${link}${link}`,
    `kappa:${'A'.repeat(9000)}`
  ]) {
    t.match(refused(text), /damaged/, text.slice(0, 30))
  }
})

t.test('any changed character is found', async (t) => {
  const link = formatInvitation(INVITATION)
  const characters = [...'ABCabcxyz0189-_']
  fc.assert(
    fc.property(fc.integer({ min: 6, max: link.length - 1 }), fc.constantFrom(...characters), (at, character) => {
      fc.pre(link[at] !== character)
      return refused(link.slice(0, at) + character + link.slice(at + 1)).includes('damaged')
    }),
    { seed: 3 }
  )
  t.pass()
})

t.test('any text at all is parsed or refused, never anything else', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      refused(`kappa:${Buffer.from(bytes).toString('base64url')}`)
    }),
    { seed: 4 }
  )
  t.pass()
})

t.test('too many addresses, or none', async (t) => {
  const address = '/ip4/192.168.1.5/tcp/5277'
  t.throws(() => formatInvitation({ ...INVITATION, addresses: [] }), { name: 'InvitationError' })
  t.throws(() => formatInvitation({ ...INVITATION, addresses: new Array(9).fill(address) }), {
    name: 'InvitationError',
    message: /at most 8/
  })
  t.equal(
    parseInvitation(formatInvitation({ ...INVITATION, addresses: new Array(8).fill(address) })).addresses.length,
    8
  )
})
