/**
 * Wake-on-LAN: the hardware addresses of this machine, and the frame that network cards of sleeping machines wait for (AMD,
 * "Magic Packet Technology", 1995): six bytes of ones and sixteen times the card's address, anywhere in a frame. It goes by UDP
 * to everybody on a LAN, for nobody there knows who sleeps.
 */

import { createSocket } from 'node:dgram'
import { existsSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'

/** 6 bytes in hexadecimal. */
export const HARDWARE_ADDRESS = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/

/** Hardware addresses of one machine. */
export const MAX_HARDWARE_ADDRESSES = 4

/** Where nobody listens: the card looks at the frame, not at the port. */
const DISCARD_PORT = 9

type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>

/**
 * The cards of this machine by which somebody could wake it, best first, for a peer at that IP address: those of its own LAN,
 * then the others that are hardware, for somebody else on their LAN. None for a peer on this machine.
 */
export function ownHardware(remote: string, interfaces: Interfaces = networkInterfaces()): string[] {
  const entries = Object.entries(interfaces).flatMap(([name, list]) => (list ?? []).map((info) => ({ name, ...info })))
  const outside = entries.filter(({ internal, mac }) => !internal && HARDWARE_ADDRESS.test(mac) && !/^[0:]+$/.test(mac))
  if (entries.some(({ internal, cidr, address }) => (internal && isWithin(remote, cidr)) || address === remote))
    return []
  const near = outside.filter(({ cidr }) => isWithin(remote, cidr))
  const cards = outside.filter(({ name }) => existsSync(`/sys/class/net/${name}/device`))
  return [...new Set([...near, ...cards].map(({ mac }) => mac))].slice(0, MAX_HARDWARE_ADDRESSES)
}

function isWithin(address: string, cidr: string | null): boolean {
  const [network, prefix] = cidr?.split('/') ?? []
  const version = isIP(address)
  if (network === undefined || version === 0 || isIP(network) !== version) return false
  const subnet = new BlockList()
  subnet.addSubnet(network, Number(prefix), version === 4 ? 'ipv4' : 'ipv6')
  return subnet.check(address, version === 4 ? 'ipv4' : 'ipv6')
}

/** 102 bytes. */
export function magicPacket(hardware: string): Buffer {
  const address = Buffer.from(hardware.replaceAll(':', ''), 'hex')
  return Buffer.concat([Buffer.alloc(6, 0xff), ...Array.from({ length: 16 }, () => address)])
}

/** Sends a packet for each address to every LAN of this machine; how many LANs it reached. */
export async function sendMagicPackets(
  hardware: readonly string[],
  interfaces: Interfaces = networkInterfaces()
): Promise<number> {
  const own = Object.values(interfaces).flatMap((list) => list ?? [])
  const lans = own.filter(
    ({ family, internal, cidr }) => family === 'IPv4' && !internal && !/\/3[12]$/.test(cidr ?? '/32')
  )
  const sent = await Promise.all(
    lans.map(({ address, netmask }) => sendTo(everybodyOf(address, netmask), address, hardware))
  )
  return sent.filter((isSent) => isSent).length
}

/** The address of all on an IPv4 network: 255.255.255.255 would go where the default route goes, if there is one. */
export function everybodyOf(address: string, netmask: string): string {
  const mask = netmask.split('.').map(Number)
  return address
    .split('.')
    .map((byte, index) => Number(byte) | (~mask[index]! & 0xff))
    .join('.')
}

function sendTo(everybody: string, address: string, hardware: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4')
    const done = (isSent: boolean) => {
      socket.removeAllListeners()
      socket.on('error', () => undefined)
      socket.close()
      resolve(isSent)
    }
    socket.once('error', () => done(false))
    socket.bind(0, address, () => {
      socket.setBroadcast(true)
      let left = hardware.length
      for (const one of hardware) {
        socket.send(magicPacket(one), DISCARD_PORT, everybody, (error) => {
          if (error) done(false)
          else if (--left === 0) done(true)
        })
      }
    })
  })
}
