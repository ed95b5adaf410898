/** One message of each kind, with every field that it can have, as this version writes it; and how it is read. */

import { encode } from 'cborg'
import { checked, PARAMS, type Params } from '../../../src/daemon/control-requests.ts'
import {
  message as doctorMessage,
  decodeMessage as readDoctor,
  encodeMessage as writeDoctor
} from '../../../src/protocols/doctor/codec.ts'
import { decodeMessage as readExec, SCHEMAS, encodeMessage as writeExec } from '../../../src/protocols/exec/codec.ts'
import {
  ackFrame,
  closeFrame,
  dataHeader,
  eofFrame,
  FRAME,
  frameHeader,
  parseFrame
} from '../../../src/protocols/exec/frames.ts'
import { decodeHello, encodeHello } from '../../../src/protocols/file/channel.ts'
import {
  type Attributes,
  decodeAnswer,
  decodeRequest,
  encodeChanged,
  encodeDone,
  encodeEntries,
  encodeFailed,
  encodeRequest,
  encodeReset,
  REQUESTS,
  type RequestKind
} from '../../../src/protocols/file/codec.ts'
import {
  decodeMessage as readOverlay,
  wireMessage,
  encodeMessage as writeOverlay
} from '../../../src/protocols/overlay/codec.ts'
import {
  message as pairMessage,
  decodeMessage as readPair,
  encodeMessage as writePair
} from '../../../src/protocols/pair/codec.ts'
import {
  decodeMessage as readRelay,
  message as relayMessage,
  encodeMessage as writeRelay
} from '../../../src/protocols/relay/codec.ts'
import { decodeMessage as readWithdraw, encodeMessage as writeWithdraw } from '../../../src/protocols/withdraw/codec.ts'
import { messagesOf } from '../../docs/fields.ts'

/** Bytes of one message without its length, as they travel. `kind` is the protocol's own word. */
export interface Message {
  protocol: string
  kind: string
  bytes: Buffer
}

const [HOME, MIDDLE, TARGET] = ['h', 'm', 't'].map((letter) => `12D3KooW${letter.repeat(44)}`) as [
  string,
  string,
  string
]
const ID = '00112233445566778899aabbccddeeff'
const bytes = (text: string) => Uint8Array.from(Buffer.from(text))

const RECORD = {
  ...{ benchmarkVersion: 1, speed: 1.25, cores: 4, idleCores: 3.5, runnable: 0.5, homeDemand: 1, guestDemand: 2 },
  ...{ memoryAvailable: 2 ** 33, memoryTotal: 2 ** 34, memoryPromised: 2 ** 20, memoryFloor: 2 ** 30, slots: 8 },
  refuses: 'its owner paused lending',
  class: { os: 'linux', arch: 'x64', cpuLevel: 3, pageSize: 4096, modes: ['plain', 'pty'], noFiles: 'no /dev/fuse' },
  labels: ['gpu']
}
const ENTRY = { origin: TARGET, epoch: 3, sequence: 7, ageMs: 120.5, hopsLeft: 2, hops: 1, name: 'nas', record: RECORD }
const NEEDS = {
  ...{ demand: 2, memoryBytes: 2 ** 30, mode: 'files' as const, programs: 'target' as const, terminal: true as const },
  class: { os: 'linux', arch: 'x64', cpuLevel: 2, pageSize: 4096 },
  ...{ tools: ['ffmpeg'], labels: ['gpu'], command: 'make' }
}
const TICKET = { id: ID, target: TARGET, epoch: 3, validMs: 2000 }
const REFUSAL = { peer: MIDDLE, code: 'paused', reason: 'its owner paused lending' }
const ADDRESSES = ['/ip4/192.168.1.7/tcp/5277']

const OVERLAY: Parameters<typeof writeOverlay>[0][] = [
  { type: 'hello', epoch: 3, name: 'nas', version: '0.1.0' },
  { type: 'ping', number: 5 },
  { type: 'pong', number: 5 },
  { type: 'advertisement', periodMs: 1000, idleMs: 60_000, entries: [ENTRY], partial: true },
  {
    ...{ type: 'probe', id: ID, origin: HOME, needs: NEEDS, path: [HOME, MIDDLE], hopsLeft: 2, best: 110, bestAt: 1 },
    ...{ waitMs: 380, avoid: [MIDDLE], only: [TARGET] }
  },
  {
    ...{ type: 'probe-reply', id: ID, path: [HOME, MIDDLE, TARGET], bestAt: 2, ticket: TICKET, addresses: ADDRESSES },
    ...{ refusals: [REFUSAL], entries: [ENTRY] }
  },
  { type: 'release', id: ID },
  { type: 'pull', to: HOME, path: [TARGET], entry: ENTRY },
  { type: 'paper-metric', value: 125 },
  { type: 'paper-probe', id: ID, origin: HOME, needs: NEEDS, path: [HOME] },
  {
    ...{ type: 'paper-reply', id: ID, target: TARGET, name: 'nas', metric: 125, ticket: TICKET, refusal: REFUSAL },
    ...{ addresses: ADDRESSES, path: [HOME, TARGET] }
  }
]

const END = {
  ...{ exitCode: null, signal: 'SIGKILL', error: { name: 'LimitError', message: 'the job was ended' } },
  usage: { wallMs: 1500.5, cpuMs: 1200, peakBytes: 2 ** 26 }
}
const EXEC: { [K in keyof typeof SCHEMAS]: Parameters<typeof writeExec<K>>[2] } = {
  hello: { epoch: 3, terminals: true, holds: true, times: true, detached: true },
  start: {
    ...{ ticket: ID, job: 'j7f2', argv: [bytes('make'), bytes('-j8')], env: [bytes('LANG=C')], umask: 0o22, nice: 0 },
    ...{
      limits: [{ name: 'nofile', soft: 1024 }],
      home: 'laptop',
      mode: 'files',
      ins: true,
      outs: ['out'],
      outAlways: false
    },
    terminal: { descriptors: 7, rows: 24, columns: 80, modes: [1, 2, 3] },
    ...{ timeoutMs: 60_000, leaseMs: 60_000, detached: true },
    tree: { id: ID, directory: bytes('/home/ann/src'), news: 12, programs: 'target' }
  },
  refused: { epoch: 3, code: 'paused', reason: 'its owner paused lending' },
  resolve: { ticket: ID },
  resolved: { epoch: 3, outcome: { state: 'ended', end: END } },
  attach: { ticket: ID, received: [1, 2, 3, 4] },
  attached: { received: [1, 2, 3] },
  end: END,
  signal: { number: 15 },
  resize: { rows: 50, columns: 132 },
  stopped: { number: 19 },
  unkept: { bytes: 2 ** 26, reason: 'the disk is full' }
}

const ATTRIBUTES: Attributes = {
  ...{ device: 1, inode: 2, mode: 0o100644, links: 1, uid: 1000, gid: 1000, rdev: 0, size: 5, blocks: 8 },
  accessed: { s: 1_700_000_000, ns: 1 },
  modified: { s: 1_700_000_001, ns: 2 },
  changed: { s: -1, ns: 3 },
  access: 6
}
const ENTRIES = [
  { name: 'a', attributes: { ...ATTRIBUTES, hash: 'h'.repeat(32) }, link: undefined },
  { name: 'l', attributes: ATTRIBUTES, link: 'a' },
  { name: 'gone', attributes: undefined, link: undefined }
]
const VALUES = {
  ...{ u8: 1, u32: 2, size: 3, i64: -4n, path: '/home/ann', link: '../x' },
  time: ATTRIBUTES.accessed,
  version: { inode: 2, size: 5, modified: ATTRIBUTES.modified }
}
const FILE_ANSWERS: Record<string, Uint8Array[]> = {
  done: encodeDone(7, { attributes: ATTRIBUTES, parent: ATTRIBUTES, handle: 3, value: 5, data: bytes('hello') }),
  failed: encodeFailed(7, 2),
  entries: encodeEntries(7, ENTRIES, 65_536, { last: true, watched: true, large: true, own: ATTRIBUTES }),
  changed: encodeChanged(() => 8, '/home/ann', ENTRIES, 65_536),
  reset: encodeReset(9)
}
const FILE_HELLO = { tree: ID, uid: 1000, gid: 1000, writable: ['/usr/src/x'], received: 12 }

function fileRequest(kind: RequestKind): Uint8Array[] {
  const { fields, data = false } = REQUESTS[kind] as { fields: Record<string, keyof typeof VALUES>; data?: boolean }
  const values = Object.fromEntries(Object.entries(fields).map(([name, type]) => [name, VALUES[type]]))
  return encodeRequest(kind, 7, values as never, data ? bytes('hello') : undefined)
}

const PAIR: Parameters<typeof writePair>[0][] = [
  { type: 'numbers', name: 'nas', kind: 'own', addresses: ADDRESSES, commitment: new Uint8Array(32).fill(1) },
  { type: 'open', nonce: new Uint8Array(16).fill(2) },
  { type: 'matched' },
  { type: 'confirm' },
  { type: 'invitation', name: 'nas', kind: 'friend', addresses: ADDRESSES, nonce: new Uint8Array(16).fill(3) },
  { type: 'proof', mac: new Uint8Array(32).fill(4) },
  { type: 'paired' },
  { type: 'abort', code: 'busy' },
  { type: 'name?' },
  { type: 'name', name: 'nas' },
  { type: 'reconcile' },
  { type: 'standing', state: 'paired' },
  { type: 'bye' }
]
const RELAY: Parameters<typeof writeRelay>[0][] = [
  { type: 'connect', target: TARGET },
  { type: 'incoming', home: HOME },
  { type: 'accepted' },
  { type: 'refused', reason: 'no way' }
]

const DOCTOR: Parameters<typeof writeDoctor>[0][] = [
  { type: 'ask', version: '0.1.0' },
  {
    ...{ type: 'report', version: '0.1.0', askedMs: 1_700_000_000_000, toldMs: 1_700_000_000_200.5, hears: true },
    ...{ system: 'Debian GNU/Linux 12', family: 'debian', firewall: 'ufw', root: false },
    ways: [{ address: ADDRESSES[0]!, outcome: 'silent' }],
    checks: [
      {
        ...{ id: 'files', name: "homes' files", verdict: 'failure', lost: 'nothing is seen', found: 'no /dev/fuse' },
        mend: ['sudo modprobe fuse']
      }
    ]
  }
]

/** Clients and daemons of several versions meet on one machine alone, while it is updated: not all that there is. */
const CONTROL: { [Command in keyof Params]?: Params[Command] } = {
  run: {
    ...{ argv: ['make', '-j8'], env: ['LANG=C'], cwd: '/home/ann', umask: 0o22, nice: 0, ins: true, outs: ['out'] },
    limits: [{ name: 'nofile', soft: 1024 }],
    options: {
      ...{ plain: true, programs: 'target', shares: ['/opt/x'], local: true, remote: true, wait: true, on: ['nas'] },
      ...{ not: ['pi'], cores: 2, memoryBytes: 2 ** 30, tools: ['ffmpeg'], needs: ['gpu'], env: ['A=b'], noEnv: true },
      ...{ verbose: true, shim: true, avoid: [MIDDLE], timeoutMs: 60_000, leaseMs: 60_000 }
    },
    ...{ outAlways: true, detach: true, inputBytes: 12, terminal: true, pid: 4711 },
    programClass: { os: 'linux', arch: 'x64' },
    pty: { descriptors: 7, rows: 24, columns: 80, modes: [1, 2, 3] }
  },
  status: {},
  version: {},
  peers: {},
  'peer-set': { peer: 'nas', kind: 'own', name: 'attic' },
  unpair: { peer: 'nas' },
  'pair-invite': { kind: 'own' },
  'pair-accept': { kind: 'own', link: 'kappa:x' },
  'pair-wait': { kind: 'own' },
  'pair-join': { kind: 'own', target: 'nas' },
  ps: { guests: true },
  why: { job: 'j7f2' },
  logs: { job: 'j7f2', follow: true },
  wait: { job: 'j7f2' },
  kill: { job: 'j7f2', signal: 15 },
  pause: { forMs: 60_000, now: true },
  resume: {},
  doctor: { peer: 'nas' },
  reload: {}
}

/** Frames of the exec protocol that are no maps. */
const BARE = { data: dataHeader(1, 2, 5), ack: ackFrame(1, 2, 5, 9), eof: eofFrame(1, 2, 5), close: closeFrame(1, 2) }
const EMPTY = ['started', 'forget', 'renew', 'renewed', 'hold', 'held'] as const

function all(): Message[] {
  const of = (protocol: string, kind: string, ...parts: Uint8Array[]): Message => ({
    protocol,
    kind,
    bytes: Buffer.concat(parts)
  })
  return [
    ...OVERLAY.map((message) => of('overlay', message.type, writeOverlay(message))),
    ...Object.entries(EXEC).map(([kind, message]) =>
      of('exec', kind, ...writeExec(kind as keyof typeof EXEC, 1, message as never))
    ),
    ...EMPTY.map((kind) => of('exec', kind, frameHeader(FRAME[kind], 1))),
    ...Object.entries(BARE).map(([kind, frame]) =>
      of('exec', kind, frame, kind === 'data' ? bytes('hello') : bytes(''))
    ),
    of('file', 'hello', ...encodeHello(FILE_HELLO)),
    ...Object.keys(REQUESTS).map((kind) => of('file-request', kind, ...fileRequest(kind as RequestKind))),
    ...Object.entries(FILE_ANSWERS).map(([kind, parts]) => of('file-answer', kind, ...parts)),
    ...PAIR.map((message) => of('pair', message.type, writePair(message))),
    ...RELAY.map((message) => of('relay', message.type, writeRelay(message))),
    ...DOCTOR.map((message) => of('doctor', message.type, writeDoctor(message))),
    of('withdraw', 'withdrawal', writeWithdraw({ peer: HOME, by: MIDDLE, hopsLeft: 2 })),
    ...Object.entries(CONTROL).map(([kind, params]) => of('control', kind, bytes(JSON.stringify(params))))
  ]
}

/** What this version writes. */
export const MESSAGES = all()

/** Kinds that peers of this version send each other, by its own schemas, as `protocol kind`. */
export function kinds(): string[] {
  const named = (protocol: string, names: Iterable<string>) => [...names].map((name) => `${protocol} ${name}`)
  const frames = Object.entries(FRAME).flatMap(([name, number]) => (number < FRAME.request ? [name] : []))
  return [
    ...named('overlay', messagesOf(wireMessage).keys()),
    ...named('exec', frames),
    ...named('file', ['hello']),
    ...named('file-request', Object.keys(REQUESTS)),
    ...named('file-answer', Object.keys(FILE_ANSWERS)),
    ...named('pair', messagesOf(pairMessage).keys()),
    ...named('relay', messagesOf(relayMessage).keys()),
    ...named('withdraw', ['withdrawal']),
    ...named('doctor', messagesOf(doctorMessage).keys())
  ]
}

/** As the receiver understands it. Throws when it doesn't. */
export function readMessage({ protocol, kind, bytes }: Message): unknown {
  switch (protocol) {
    case 'overlay':
      return readOverlay(bytes)
    case 'exec':
      return readExecFrame(kind, bytes)
    case 'file':
      return decodeHello(bytes)
    case 'file-request':
      return decodeRequest(bytes)
    case 'file-answer':
      return decodeAnswer(bytes)
    case 'pair':
      return readPair(bytes)
    case 'relay':
      return readRelay(bytes)
    case 'doctor':
      return readDoctor(bytes)
    case 'withdraw':
      return readWithdraw(bytes)
    case 'control':
      return checked(PARAMS[kind as keyof Params] as never, JSON.parse(bytes.toString()), kind)
  }
  throw new Error(`nobody reads the protocol ${protocol}`)
}

function readExecFrame(kind: string, bytes: Buffer): unknown {
  const frame = parseFrame(bytes)
  if (frame === undefined || frame.type !== FRAME[kind as keyof typeof FRAME]) throw new Error(`it is no ${kind}`)
  if (!('payload' in frame)) return frame
  const { channel, payload } = frame
  return kind in SCHEMAS ? { channel, ...(readExec(kind as keyof typeof SCHEMAS, payload) as object) } : { channel }
}

/** The part of a message that is a map of CBOR, by what precedes it; undefined: it has none, or JSON. */
export function mapBegins({ protocol, kind }: Message): number | undefined {
  if (protocol === 'exec') return kind in SCHEMAS ? frameHeader(0, 0).length : undefined
  if (protocol === 'file') return 1
  return protocol.startsWith('file-') || protocol === 'control' ? undefined : 0
}

/** The same with another map. */
export function withMap(message: Message, map: unknown): Message {
  return { ...message, bytes: Buffer.concat([message.bytes.subarray(0, mapBegins(message)), encode(map)]) }
}
