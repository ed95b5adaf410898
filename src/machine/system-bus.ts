/**
 * Listens for one signal of the system's D-Bus. Programs that could do it are not on every machine, or need rights: `busctl
 * monitor` has to become a monitor, which is root's; `gdbus` and `dbus-monitor` are in packages that servers lack. What is
 * needed of the protocol is little: to say who we are, which signal we want, and to read it.
 */

import { createConnection, type Socket } from 'node:net'

/** Where the system's bus is unless DBUS_SYSTEM_BUS_ADDRESS says otherwise. */
const DEFAULT_ADDRESS = 'unix:path=/run/dbus/system_bus_socket'

/** A longer message is none that was asked for. */
const MESSAGE_BYTES_MAX = 64 * 1024
/** Of a line while the bus gets to know us. */
const LINE_BYTES_MAX = 1_024

const FIXED_BYTES = 16
const LITTLE_ENDIAN = 'l'.charCodeAt(0)
const BIG_ENDIAN = 'B'.charCodeAt(0)
const METHOD_CALL = 1
const SIGNAL = 4
const VERSION = 1

/** Fields of a message's header by number. */
const FIELD = { path: 1, interface: 2, member: 3, destination: 6, signature: 8 } as const

/** Which signal: all of it is compared. */
export interface BusSignal {
  /** A well-known name; the bus itself sees to it that the signal is its owner's. */
  sender: string
  path: string
  interface: string
  member: string
}

export interface SignalListener {
  /** The bus knows what we want: from here on nothing is missed. */
  onReady(): void
  /** The signal came, with its first argument. */
  onSignal(argument: boolean): void
  /** There is no bus, or its connection ended. Called once. */
  onClose(): void
}

/** Path of a Unix socket in an address of D-Bus, as Node wants it; undefined: there is none. */
export function socketPathOf(address: string): string | undefined {
  for (const one of address.split(';')) {
    const [, key, value] = /^unix:(?:.*,)?(path|abstract)=([^,]+)/.exec(one) ?? []
    if (value === undefined) continue
    const path = value.replaceAll(/%([0-9a-f]{2})/gi, (_, byte) => String.fromCharCode(Number.parseInt(byte, 16)))
    return key === 'abstract' ? `\0${path}` : path
  }
  return undefined
}

/** Listens for a signal whose only argument is a boolean, until the returned function is called. */
export function listenOnSystemBus(signal: BusSignal, listener: SignalListener): () => void {
  const path = socketPathOf(process.env.DBUS_SYSTEM_BUS_ADDRESS ?? DEFAULT_ADDRESS)
  if (path === undefined) {
    setImmediate(listener.onClose)
    return () => undefined
  }
  const socket = createConnection({ path })
  // The daemon doesn't live for it.
  socket.unref()
  const connection = new Connection(socket, signal, listener)
  socket.on('connect', () => connection.begin())
  socket.on('data', (bytes) => connection.receive(bytes))
  socket.on('error', () => undefined)
  socket.on('close', () => listener.onClose())
  return () => {
    socket.removeAllListeners('close')
    socket.destroy()
  }
}

class Connection {
  readonly #socket: Socket
  readonly #signal: BusSignal
  readonly #listener: SignalListener
  /** At most MESSAGE_BYTES_MAX and what one read brings. */
  #received: Buffer = Buffer.alloc(0)
  #known = false
  #ready = false

  constructor(socket: Socket, signal: BusSignal, listener: SignalListener) {
    this.#socket = socket
    this.#signal = signal
    this.#listener = listener
  }

  /** We are who the kernel says that we are. */
  begin(): void {
    const uid = Buffer.from(String(process.getuid!())).toString('hex')
    this.#socket.write(`\0AUTH EXTERNAL ${uid}\r\n`)
  }

  receive(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes])
    try {
      if (this.#known || this.#becomeKnown()) this.#readMessages()
    } catch {
      // Nothing that a bus says.
      this.#socket.destroy()
    }
  }

  #becomeKnown(): boolean {
    const end = this.#received.indexOf('\r\n')
    if (end < 0) {
      if (this.#received.length > LINE_BYTES_MAX) this.#socket.destroy()
      return false
    }
    const line = this.#received.toString('latin1', 0, end)
    if (!line.startsWith('OK ')) {
      this.#socket.destroy()
      return false
    }
    this.#received = this.#received.subarray(end + 2)
    this.#known = true
    const { sender, path, interface: of, member } = this.#signal
    const rule = `type='signal',sender='${sender}',path='${path}',interface='${of}',member='${member}'`
    this.#socket.write('BEGIN\r\n')
    this.#socket.write(callOfBus(HELLO_SERIAL, 'Hello', undefined))
    this.#socket.write(callOfBus(MATCH_SERIAL, 'AddMatch', rule))
    return true
  }

  #readMessages(): void {
    for (;;) {
      const message = parseMessage(this.#received)
      if (message === undefined) return
      this.#received = this.#received.subarray(message.bytes)
      if (message.type === SIGNAL) this.#handleSignal(message)
      else if (!this.#ready && message.replyTo === MATCH_SERIAL) {
        if (message.type !== METHOD_RETURN) throw new Error('the signal is refused')
        this.#ready = true
        this.#listener.onReady()
      }
    }
  }

  #handleSignal({ texts, boolean }: Message): void {
    const { path, interface: of, member } = this.#signal
    // With a destination it is of anybody who wants to fool us: what the sender tells all has none.
    if (texts.has(FIELD.destination) || texts.get(FIELD.signature) !== 'b' || boolean === undefined) return
    if (texts.get(FIELD.path) !== path || texts.get(FIELD.interface) !== of) return
    if (texts.get(FIELD.member) === member) this.#listener.onSignal(boolean)
  }
}

const HELLO_SERIAL = 1
const MATCH_SERIAL = 2
const METHOD_RETURN = 2
const REPLY_SERIAL = 5

const aligned = (offset: number, to: number): number => Math.ceil(offset / to) * to

/** A call of the bus itself, with one argument or none. */
export function callOfBus(serial: number, member: string, argument: string | undefined): Buffer {
  const bus = 'org.freedesktop.DBus'
  const fields = [
    field(FIELD.path, 'o', '/org/freedesktop/DBus'),
    field(FIELD.interface, 's', bus),
    field(FIELD.member, 's', member),
    field(FIELD.destination, 's', bus)
  ]
  if (argument !== undefined) fields.push(Buffer.from([FIELD.signature, 1, 0x67, 0, 1, 0x73, 0]))
  // Each field begins at a multiple of 8, and so does the body.
  const padded = fields.map((bytes) => Buffer.concat([bytes], aligned(bytes.length, 8)))
  const length = padded.slice(0, -1).reduce((sum, { length }) => sum + length, 0) + fields.at(-1)!.length
  const body = argument === undefined ? Buffer.alloc(0) : text(argument)
  const fixed = Buffer.alloc(FIXED_BYTES)
  fixed.set([LITTLE_ENDIAN, METHOD_CALL, 0, VERSION])
  fixed.writeUInt32LE(body.length, 4)
  fixed.writeUInt32LE(serial, 8)
  fixed.writeUInt32LE(length, 12)
  return Buffer.concat([fixed, ...padded, body])
}

function field(code: number, type: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([code, 1, type.charCodeAt(0), 0]), text(value)])
}

function text(value: string): Buffer {
  const bytes = Buffer.from(`${value}\0`)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length - 1)
  return Buffer.concat([length, bytes])
}

export interface Message {
  /** Bytes of all of it. */
  bytes: number
  type: number
  replyTo: number | undefined
  /** Header fields that are text, by number. */
  texts: Map<number, string>
  /** Its first argument, where that is one. */
  boolean: boolean | undefined
}

/** Reads one message; undefined: there is more to come. Throws when it is none. */
export function parseMessage(bytes: Buffer): Message | undefined {
  if (bytes.length < FIXED_BYTES) return undefined
  const order = bytes[0]
  if (order !== LITTLE_ENDIAN && order !== BIG_ENDIAN) throw new Error('neither byte order')
  const u32 = (offset: number) => (order === BIG_ENDIAN ? bytes.readUInt32BE(offset) : bytes.readUInt32LE(offset))
  const fieldsEnd = FIXED_BYTES + u32(12)
  const body = aligned(fieldsEnd, 8)
  const length = body + u32(4)
  if (length > MESSAGE_BYTES_MAX) throw new Error('a message is too long')
  if (bytes.length < length) return undefined
  const texts = new Map<number, string>()
  let replyTo: number | undefined
  for (let offset = FIXED_BYTES; offset < fieldsEnd; offset = aligned(offset, 8)) {
    const code = bytes[offset]!
    if (bytes[offset + 1] !== 1) throw new Error('a field of another type than there is')
    const type = String.fromCharCode(bytes[offset + 2]!)
    offset += 4
    if (type === 'u') {
      if (code === REPLY_SERIAL) replyTo = u32(offset)
      offset += 4
      continue
    }
    const isSignature = type === 'g'
    if (!isSignature && type !== 's' && type !== 'o') throw new Error('a field of another type than there is')
    const size = isSignature ? bytes[offset]! : u32(offset)
    offset += isSignature ? 1 : 4
    texts.set(code, bytes.toString('latin1', offset, offset + size))
    offset += size + 1
  }
  const boolean = length >= body + 4 && texts.get(FIELD.signature)?.startsWith('b') ? u32(body) !== 0 : undefined
  return { bytes: length, type: bytes[1]!, replyTo, texts, boolean }
}
