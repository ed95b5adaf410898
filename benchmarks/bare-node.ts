/**
 * A bare libp2p node with the services that kappa's has, and nothing else: listens, dials what its arguments say, prints
 * its address, stays until its input ends.
 */

import { noise } from '@chainsafe/libp2p-noise'
import { identify } from '@libp2p/identify'
import { mdns } from '@libp2p/mdns'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const [listen, ...dials] = process.argv.slice(2)
const node = await createLibp2p({
  addresses: { listen: [listen!] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  peerDiscovery: [mdns()],
  services: { identify: identify() }
})
for (const address of dials) await node.dial(multiaddr(address))
process.stdout.write(`${node.getMultiaddrs()[0]}\n`)
process.stdin.on('end', () => process.exit()).resume()
