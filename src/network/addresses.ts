/** Addresses as people write them and as libp2p wants them. */
import { isIP } from 'node:net'
import { CODE_P2P, CODE_P2P_CIRCUIT, type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { PeerId } from '../core/types.ts'
import { KappaError } from '../errors.ts'
import { parsePeerId } from './identity.ts'

/** Where a peer listens unless that port is taken or configured otherwise. */
export const DEFAULT_PORT = 5277

/** Longest address that is parsed, bytes; the longest DNS name is 253. */
const MAX_ADDRESS_LENGTH = 400

const PROTOCOLS_OF_KIND = { ip4: 4, ip6: 6 } as const

export interface ParsedAddress {
  /** `/ip4/…/tcp/…`, `/ip6/…`, `/dns/…`, `/dns4/…` or `/dns6/…`, without a peer ID. */
  address: string
  /** The peer that must answer there, when the text said so. */
  peerId?: PeerId
}

/**
 * Accepts a multiaddr (with or without `/p2p/ID`), `host`, `host:port`, `ip`, `ip:port`, `[ipv6]`, `[ipv6]:port`.
 * Throws UsageError on anything else.
 */
export function parseAddress(text: string): ParsedAddress {
  const trimmed = text.trim()
  if (trimmed === '' || trimmed.length > MAX_ADDRESS_LENGTH) throw bad(text)
  return trimmed.startsWith('/') ? parseMultiaddr(trimmed) : { address: parseHostPort(trimmed) }
}

/** A multiaddr as stored and compared: over TCP, without a peer ID; undefined when kappa can't use it. */
export function plainAddress(address: Multiaddr): string | undefined {
  const parts = address.getComponents().filter((part) => part.code !== CODE_P2P)
  const [host, port] = parts
  if (parts.length !== 2 || host === undefined || port?.name !== 'tcp' || port.value === '0') return undefined
  if (!['ip4', 'ip6', 'dns', 'dns4', 'dns6'].includes(host.name)) return undefined
  return `/${host.name}/${host.value}/tcp/${port.value}`
}

/** True for the address of a connection that a common neighbour relays. */
export function isRelayed(address: Multiaddr): boolean {
  return address.getComponents().some((part) => part.code === CODE_P2P_CIRCUIT)
}

/** Where a peer is that a common neighbour relays to. */
export function relayedAddress(relay: PeerId, peer: PeerId): Multiaddr {
  return multiaddr(`/p2p/${relay}/p2p-circuit/p2p/${peer}`)
}

/**
 * Those of the addresses that a stranger told which are worth a try from here, at most `bound`, each once: hosts and ports
 * over TCP alone, of this machine only when `loopback`, never of a group of machines or of one link.
 */
export function dialable(addresses: Iterable<string>, bound: number, loopback: boolean): string[] {
  const sane = new Set<string>()
  for (const text of addresses) {
    if (sane.size >= bound) break
    const address = parsePlain(text)
    if (address === undefined || NOWHERE.test(address) || isLinkLocal(address)) continue
    if (loopback || !isLoopback(address)) sane.add(address)
  }
  return [...sane]
}

/** Unspecified, multicast, reserved and broadcast; IPv4 dressed as IPv6; this machine under a name. */
const NOWHERE = /^\/(ip4\/(0|22[4-9]|2[345]\d)\.|ip6\/(::(?!1\/)|ff[0-9a-f]{2}:)|dns[46]?\/([^/]*\.)?localhost\.?\/)/i

function parsePlain(text: string): string | undefined {
  if (text.length > MAX_ADDRESS_LENGTH) return undefined
  try {
    return plainAddress(multiaddr(text))
  } catch {
    return undefined
  }
}

/** Valid on one link only, and so for nobody who heard of it elsewhere. */
export function isLinkLocal(address: string): boolean {
  return /^\/(ip6\/fe[89ab]|ip4\/169\.254\.)/i.test(address)
}

export function isLoopback(address: string): boolean {
  return /^\/(ip4\/127\.|ip6\/::1\/)/.test(address)
}

/** Those first that other machines can use; loopback is for several peers on one machine. */
export function loopbackLast(addresses: string[]): string[] {
  return addresses.toSorted((a, b) => Number(isLoopback(a)) - Number(isLoopback(b)))
}

/** Host and port of a plain address, for a socket. */
export function hostAndPort(address: string): { host: string; port: number } {
  const [, , host, , port] = address.split('/') as [string, string, string, string, string]
  return { host, port: Number(port) }
}

function parseMultiaddr(text: string): ParsedAddress {
  let parsed: Multiaddr
  try {
    parsed = multiaddr(text)
  } catch {
    throw bad(text)
  }
  const peer = parsed.getComponents().find((part) => part.code === CODE_P2P)?.value
  const address = plainAddress(parsed)
  if (address === undefined) throw bad(text)
  return peer === undefined ? { address } : { address, peerId: parsePeerId(peer) }
}

function parseHostPort(text: string): string {
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text)
  if (bracketed !== null) {
    if (isIP(bracketed[1] as string) !== 6) throw bad(text)
    return build(bracketed[1] as string, bracketed[2], text)
  }
  if (isIP(text) === 6) return build(text, undefined, text)
  const plain = /^([^:[\]/\s]+)(?::(\d{1,5}))?$/.exec(text)
  if (plain === null) throw bad(text)
  return build(plain[1] as string, plain[2], text)
}

function build(host: string, portText: string | undefined, text: string): string {
  const port = portText === undefined ? DEFAULT_PORT : Number(portText)
  if (port < 1 || port > 65535) throw bad(text)
  const family = isIP(host)
  if (family === PROTOCOLS_OF_KIND.ip4) return `/ip4/${host}/tcp/${port}`
  if (family === PROTOCOLS_OF_KIND.ip6) {
    if (host.includes('%')) throw bad(text)
    return `/ip6/${host}/tcp/${port}`
  }
  if (!isDnsName(host)) throw bad(text)
  return `/dns/${host.toLowerCase()}/tcp/${port}`
}

function isDnsName(name: string): boolean {
  const bare = name.endsWith('.') ? name.slice(0, -1) : name
  // A last label of digits alone is a mistyped IPv4 address, never a name.
  if (bare.length > 253 || /(^|\.)\d+$/.test(bare)) return false
  return bare.split('.').every((label) => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label))
}

function bad(text: string): KappaError {
  const shown = JSON.stringify(text.slice(0, 100))
  return new KappaError(
    'UsageError',
    `${shown} is not an address: write HOST, HOST:PORT, [IPV6]:PORT or a multiaddr such as /ip4/192.168.1.5/tcp/${DEFAULT_PORT}`
  )
}
