import t from 'tap'
import { doorsOf } from '../../../src/daemon/doctor/doctor.ts'

const FRIEND = '/ip4/192.168.1.7/tcp/5277'
const ROUTER = '/ip4/192.168.1.1/tcp/80'
const SELF = '/ip4/192.168.1.5/tcp/5277'
const LOOPBACK = '/ip4/127.0.0.1/tcp/5277'
const addresses = [FRIEND, ROUTER, SELF, LOOPBACK, '/ip4/224.0.0.1/tcp/1', '/dns4/localhost/tcp/1', 'garbage']

t.test('an own machine is told of each address that it said, but those of this machine', async (t) => {
  const all = { addresses, own: [SELF, LOOPBACK], forFriend: false }
  t.same(doorsOf({ ...all, via: '/ip4/192.168.1.7/tcp/40000/p2p/x' }), [FRIEND, ROUTER])
  t.same(doorsOf({ ...all, via: undefined }), [FRIEND, ROUTER])
})

t.test('a friend only of the host that it is connected from', async (t) => {
  const all = { addresses, own: [SELF, LOOPBACK], forFriend: true }
  t.same(doorsOf({ ...all, via: '/ip4/192.168.1.7/tcp/40000' }), [FRIEND])
  t.same(doorsOf({ ...all, via: '/ip4/10.0.0.9/tcp/40000' }), [])
  t.same(doorsOf({ ...all, via: undefined }), [])
})

t.test('several peers on one machine reach each other by loopback', async (t) => {
  const all = { addresses: ['/ip4/127.0.0.1/tcp/1'], own: [LOOPBACK], forFriend: false }
  t.same(doorsOf({ ...all, via: '/ip4/127.0.0.1/tcp/9' }), ['/ip4/127.0.0.1/tcp/1'])
  t.same(doorsOf({ ...all, via: undefined }), ['/ip4/127.0.0.1/tcp/1'])
})
