import type { NetworkInterfaceInfo } from 'node:os'
import t from 'tap'
import { everybodyOf, magicPacket, ownHardware, sendMagicPackets } from '../../src/network/magic-packet.ts'

const info = (address: string, prefix: number, mac: string, internal = false): NetworkInterfaceInfo => ({
  ...{ address, mac, internal, family: 'IPv4', netmask: '255.255.255.0', cidr: `${address}/${prefix}` }
})

const INTERFACES = {
  lo: [info('127.0.0.1', 8, '00:00:00:00:00:00', true)],
  'nowhere-eth0': [
    info('192.168.1.5', 24, '02:00:00:00:00:01'),
    { ...info('fd00::5', 64, '02:00:00:00:00:01'), family: 'IPv6', scopeid: 0 } as NetworkInterfaceInfo
  ],
  'nowhere-wlan0': [info('192.168.2.5', 24, '02:00:00:00:00:02')],
  'nowhere-wg0': [info('10.8.0.2', 24, '00:00:00:00:00:00')]
}

t.test('the packet is six bytes of ones and sixteen times the address', async (t) => {
  const packet = magicPacket('02:42:ac:11:00:fe')
  t.equal(packet.toString('hex'), 'ff'.repeat(6) + '0242ac1100fe'.repeat(16))
})

t.test('a peer is told the card on its own LAN', async (t) => {
  t.strictSame(ownHardware('192.168.1.77', INTERFACES), ['02:00:00:00:00:01'])
  t.strictSame(ownHardware('192.168.2.77', INTERFACES), ['02:00:00:00:00:02'])
  t.strictSame(ownHardware('fd00::77', INTERFACES), ['02:00:00:00:00:01'])
  t.strictSame(ownHardware('10.8.0.77', INTERFACES), [], 'a tunnel has no card')
  t.strictSame(ownHardware('127.0.0.1', INTERFACES), [], 'nobody wakes the machine that he is on')
  t.strictSame(ownHardware('192.168.1.5', INTERFACES), [])
  t.strictSame(ownHardware('no address', INTERFACES), [])
})

t.test('everybody on a LAN', async (t) => {
  t.equal(everybodyOf('192.168.1.5', '255.255.255.0'), '192.168.1.255')
  t.equal(everybodyOf('10.77.3.9', '255.255.252.0'), '10.77.3.255')
  t.equal(everybodyOf('10.77.0.9', '255.0.0.0'), '10.255.255.255')
})

t.test('where there is no LAN nothing is sent', async (t) => {
  t.equal(await sendMagicPackets(['02:00:00:00:00:01'], { lo: INTERFACES.lo }), 0)
  t.equal(
    await sendMagicPackets(['02:00:00:00:00:01'], INTERFACES),
    0,
    'nor from addresses that this machine has no more'
  )
})
