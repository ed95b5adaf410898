import fc from 'fast-check'
import t from 'tap'
import { KappaError } from '../../src/errors.ts'
import { dialable, hostAndPort, isRelayed, parseAddress, relayedAddress } from '../../src/network/addresses.ts'
import { parseResponse } from '../../src/network/discovery.ts'
import {
  createIdentity,
  identityFromBytes,
  identityToBytes,
  parsePeerId,
  peerIdOf
} from '../../src/network/identity.ts'

const ID = '12D3KooWA6eKgbHqpfhD67wsydYbJVpBq4fCgMUq4kzQ1kgsuAsK'

t.test('addresses as people write them', async (t) => {
  const good: [string, string][] = [
    ['nas', '/dns/nas/tcp/5277'],
    ['NAS.local:80', '/dns/nas.local/tcp/80'],
    ['nas.fritz.box.', '/dns/nas.fritz.box./tcp/5277'],
    [' 192.168.1.5 ', '/ip4/192.168.1.5/tcp/5277'],
    ['192.168.1.5:6000', '/ip4/192.168.1.5/tcp/6000'],
    ['fd00::1', '/ip6/fd00::1/tcp/5277'],
    ['[fd00::1]', '/ip6/fd00::1/tcp/5277'],
    ['[fd00::1]:81', '/ip6/fd00::1/tcp/81'],
    ['/ip4/10.0.0.1/tcp/5', '/ip4/10.0.0.1/tcp/5'],
    ['/dns4/nas/tcp/5', '/dns4/nas/tcp/5']
  ]
  for (const [text, address] of good) t.same(parseAddress(text), { address }, text)
  t.same(parseAddress(`/ip4/10.0.0.1/tcp/5/p2p/${ID}`), { address: '/ip4/10.0.0.1/tcp/5', peerId: ID })
  t.same(hostAndPort('/ip6/fd00::1/tcp/81'), { host: 'fd00::1', port: 81 })
})

t.test('what is no address is told so', async (t) => {
  const bad = [
    '',
    ' ',
    ':',
    ':80',
    'nas:',
    'nas:0',
    'nas:65536',
    'nas:x',
    'a b',
    '-nas',
    'nas..x',
    '300.1.1.1',
    '1.2.3'
  ]
  bad.push(
    '[nas]:1',
    '[::1',
    '::1]',
    '[::1]:',
    'fe80::1%eth0',
    'http://nas',
    'user@nas',
    `${'x'.repeat(64)}`,
    '/ip4/1.2.3.4'
  )
  bad.push(
    '/ip4/1.2.3.4/udp/5',
    '/ip4/1.2.3.4/tcp/0',
    '/ip4/1.2.3/tcp/5',
    '/ip4/1.2.3.4/tcp/5/ws',
    `/p2p/${ID}`,
    '/unix/x'
  )
  bad.push('/ip4/1.2.3.4/tcp/5/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N', 'x'.repeat(1000), '\u001b[31m')
  for (const text of bad) t.throws(() => parseAddress(text), { name: 'UsageError' }, JSON.stringify(text).slice(0, 60))
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.webUrl(), fc.ipV6(), fc.domain()), (text) => {
      try {
        parseAddress(text)
      } catch (error) {
        if (!(error instanceof KappaError && error.name === 'UsageError')) throw error
      }
    })
  )
})

t.test('a key keeps its identity through its bytes', async (t) => {
  const key = await createIdentity()
  const id = peerIdOf(identityFromBytes(identityToBytes(key)))
  t.equal(id, peerIdOf(key))
  t.equal(parsePeerId(id), id)
  for (const bytes of [new Uint8Array(), new Uint8Array([1, 2, 3]), identityToBytes(key).subarray(1)]) {
    t.throws(() => identityFromBytes(bytes), { name: 'StateError' })
  }
  for (const text of ['', 'x', id.slice(1), `${id}x`, 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N']) {
    t.throws(() => parsePeerId(text), { name: 'UsageError' })
  }
})

t.test('what is heard on the LAN is taken apart with care', async (t) => {
  const answer = (data: unknown, type = 'TXT') => ({ type, data })
  const pointer = answer('my-nas-1kgsuask._kappa._udp.local', 'PTR')
  const at = (address: string, id = ID) => Buffer.from(`dnsaddr=${address}/p2p/${id}`)
  t.same(
    parseResponse({
      answers: [
        pointer,
        answer(at('/ip4/10.0.0.1/tcp/5277')),
        answer([at('/ip6/fd00::1/tcp/5277'), at('/ip4/10.0.0.1/tcp/5277')])
      ]
    }),
    { peerId: ID, name: 'my-nas', addresses: ['/ip4/10.0.0.1/tcp/5277', '/ip6/fd00::1/tcp/5277'] }
  )
  t.equal(parseResponse({}), undefined)
  t.equal(
    parseResponse({ answers: [answer('x._p2p._udp.local', 'PTR'), answer(at('/ip4/10.0.0.1/tcp/1'))] }),
    undefined
  )
  t.equal(
    parseResponse({ answers: [pointer, answer(null), answer('dnsaddr=/x'), answer(at('/ip4/1.1.1.1/udp/1'))] }),
    undefined
  )
  t.equal(parseResponse({ answers: [pointer, answer(at('/ip4/10.0.0.1/tcp/5277', 'nobody'))] }), undefined)
})

t.test('of what strangers say only hosts and ports are dialled that can be meant', async (t) => {
  const good = ['/ip4/192.168.1.5/tcp/5277', '/ip6/fd00::5/tcp/5277', '/dns4/nas.lan/tcp/5277', '/ip4/10.0.0.1/tcp/1']
  const bad = [
    '/ip4/0.0.0.0/tcp/5277',
    '/ip4/224.0.0.1/tcp/5277',
    '/ip4/255.255.255.255/tcp/5277',
    '/ip4/169.254.1.1/tcp/5277',
    '/ip6/fe80::1/tcp/5277',
    '/ip6/ff02::1/tcp/5277',
    '/ip6/::/tcp/5277',
    '/ip6/::ffff:127.0.0.1/tcp/5277',
    '/dns/localhost/tcp/5277',
    '/dns4/a.localhost/tcp/5277',
    '/ip4/192.168.1.5/udp/5277',
    '/ip4/192.168.1.5/tcp/5277/ws',
    '/ip4/192.168.1.5/tcp/0',
    `/ip4/192.168.1.5/tcp/5277/p2p/${ID}/p2p-circuit`,
    '/unix/tmp/socket',
    'not an address',
    '',
    `/dns/${'a'.repeat(500)}/tcp/1`
  ]
  t.same(dialable([...bad, ...good, ...good], 8, false), good)
  t.same(dialable(good, 2, false), good.slice(0, 2), 'so many and no more')
  const local = ['/ip4/127.0.0.1/tcp/5277', '/ip6/::1/tcp/5277']
  t.same(dialable(local, 8, false), [], 'this machine is what it says to itself')
  t.same(dialable(local, 8, true), local)
  t.ok(isRelayed(relayedAddress(ID, ID)))
})
