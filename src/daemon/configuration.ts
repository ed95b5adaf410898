/**
 * What the owner of this machine decides, in one TOML file. Each key is declared here once: its type, its default, what
 * it means and what a good value is; validation, `kappa config` and its help come from this.
 */

import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { INFORMATION_POLICIES } from '../core/information/index.ts'
import { DEFAULT_STRATEGY, STRATEGIES } from '../core/strategies/index.ts'
import { MAX_HOPS } from '../core/types.ts'
import { KappaError, messageOf } from '../errors.ts'
import type { GuestLimits } from '../execution/limits.ts'
import { DEFAULT_PORT, parseAddress } from '../network/addresses.ts'
import { NAME_LENGTH_MAX } from '../printable.ts'
import { lineOf } from './configuration-text.ts'
import { readIfThere } from './state-file.ts'
import { nearest } from './suggestion.ts'

const LIST_MAX = 16
const COMMANDS_MAX = 128
/** Who may run it, and a colon; a name on PATH, an absolute path, or all. */
const COMMAND = /^([^:\0]{1,64}:)?(\*|\/[^:\0]{0,254}[^:\0/]|[^\s/:*\0]{1,64})$/
const MEMORY_SIZE = /^(\d{1,15})(?: ?(KiB|MiB|GiB|TiB|%))?$/
const TIME = /^([1-9]\d{0,5})([smhd])$/
const UNIT_MS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const DEVICE = /^[\w.-]{1,64}:\/dev(\/(?!\.)[\w.:-]{1,64})+$/
const UNIT_BYTES: Record<string, number> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }

/** A value with the phrase that follows its key when it is wrong. */
function list(item: z.ZodType<string>, must: string, most = LIST_MAX) {
  return z.array(item, must).max(most, `must have at most ${most} entries`)
}

const NAME_MUST = `must be a text of 1 to ${NAME_LENGTH_MAX} printable characters`
const LISTEN_MUST = `must be a list of addresses of this machine, such as "192.168.1.5:${DEFAULT_PORT}" or "/ip4/0.0.0.0/tcp/${DEFAULT_PORT}"`
const ANNOUNCE_MUST = `must be a list of addresses, such as "nas.example:${DEFAULT_PORT}" or "/ip4/10.8.0.2/tcp/${DEFAULT_PORT}"`
const LABELS_MUST = 'must be a list of words of letters, digits, "_", "." and "-"'
const PATHS_MUST = 'must be a list of absolute paths, each with ":ro" or ":rw" at its end, such as "/media:ro"'
const FLOOR_MUST = 'must be a size, such as "2 GiB" or "10%"'
const SIZE_MUST = 'must be a size, such as "4 GiB" or "50%"'
const OUTPUT_MUST = 'must be a size, such as "1 GiB"'
const CACHE_MUST = 'must be a size, such as "2 GiB"; "0 MiB" for none'
const PROCESSES_MUST = 'must be a whole number from 16 to 1000000'
const TIME_MUST = 'must be a time, such as "90m", "12h" or "2d"'
const DEVICES_MUST = 'must be a list of labels, each with ":" and a path in /dev, such as "gpu:/dev/nvidia0"'
const COMMANDS_MUST =
  'must be a list of commands, such as "ffmpeg" or "/opt/bin/tool", each for all guests or with "own:", "friends:" or the name of a machine and ":" before it; "*" is any'
const METRICS_MUST = 'must be a port of this machine itself, such as "127.0.0.1:9277" or "[::1]:9277"'
const NICE_MUST = 'must be a whole number from 0 to 19'
const FORWARD_MUST = `must be a whole number from 1 to ${MAX_HOPS}`
const BOOLEAN_MUST = 'must be true or false'
const STRATEGY_NAMES = STRATEGIES.map(({ name }) => name)
const INFORMATION_NAMES = INFORMATION_POLICIES.map(({ name }) => name)

const oneOf = (names: string[]) => `must be one of ${names.map((name) => `"${name}"`).join(', ')}`

const address = (convert: (text: string) => string | undefined, must: string) =>
  z.string(must).transform((text, context) => {
    const converted = convert(text)
    if (converted === undefined) context.addIssue({ code: 'custom', message: must })
    return converted ?? text
  })

const schema = z.strictObject({
  name: z
    .string(NAME_MUST)
    .min(1, NAME_MUST)
    .max(NAME_LENGTH_MAX, NAME_MUST)
    .regex(/^[^\p{C}\p{Zl}\p{Zp}]+$/u, NAME_MUST)
    .optional()
    .describe('what this machine is called; the host name when not set'),
  listen: list(address(listenAddress, LISTEN_MUST), LISTEN_MUST)
    .min(1, LISTEN_MUST)
    .prefault([`0.0.0.0:${DEFAULT_PORT}`, `[::]:${DEFAULT_PORT}`])
    .describe('where to accept connections; another port is used, and kept, when this one is taken'),
  announce: list(address(announceAddress, ANNOUNCE_MUST), ANNOUNCE_MUST)
    .default([])
    .describe('addresses told to other machines instead of the ones listened on (containers, VPNs)'),
  mdns: z.boolean(BOOLEAN_MUST).default(true).describe('find machines on the local network, and be found'),
  wake: z
    .boolean(BOOLEAN_MUST)
    .default(true)
    .describe('let paired machines wake this one from sleep (Wake-on-LAN), and wake others for them'),
  lend: z.boolean(BOOLEAN_MUST).default(true).describe('run jobs of paired machines here'),
  slots: z
    .number('must be a number of cores, 0 or more')
    .min(0, 'must be a number of cores, 0 or more')
    .max(65_536, 'must be at most 65536')
    .optional()
    .describe('cores that guests may use at once; twice the cores when not set'),
  learn: z
    .boolean(BOOLEAN_MUST)
    .default(true)
    .describe('remember what commands usually take, to place them by it; false forgets it'),
  labels: list(z.string(LABELS_MUST).regex(/^[\w.-]{1,64}$/, LABELS_MUST), LABELS_MUST)
    .default([])
    .describe('what this machine has that a job may ask for with --need'),
  machine: z
    .strictObject({
      cores: z
        .number('must be a number of cores above 0')
        .positive('must be a number of cores above 0')
        .max(65_536, 'must be at most 65536')
        .optional()
        .describe('cores that kappa counts on; those of the machine or its container when not set')
    })
    .prefault({}),
  metric: z
    .strictObject({
      policy: z
        .enum(['product', 'paper'], 'must be "product" or "paper"')
        .default('product')
        .describe('how machines are compared: "product" of speed and idle cores, or as in the "paper"')
    })
    .prefault({}),
  placement: z
    .strictObject({
      forward: z
        .int(FORWARD_MUST)
        .min(1, FORWARD_MUST)
        .max(MAX_HOPS, FORWARD_MUST)
        .default(MAX_HOPS)
        .describe(
          'how many own machines far offers, jobs and what is passed on for others may go; 1: neighbours alone'
        ),
      strategy: z
        .enum(STRATEGY_NAMES, oneOf(STRATEGY_NAMES))
        .default(DEFAULT_STRATEGY)
        .describe(`how this machine's jobs are placed: ${STRATEGY_NAMES.join(', ')}`),
      information: z
        .enum(INFORMATION_NAMES, oneOf(INFORMATION_NAMES))
        .optional()
        .describe(
          `what is told to which neighbour: ${INFORMATION_NAMES.join(', ')}; what the strategy is made for when not set`
        )
    })
    .prefault({}),
  metrics: z
    .strictObject({
      listen: z
        .string(METRICS_MUST)
        .regex(
          /^(127\.0\.0\.1|\[::1\]):([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$/,
          METRICS_MUST
        )
        .optional()
        .describe('where Prometheus can fetch figures of this peer (/metrics); nowhere when not set')
    })
    .prefault({}),
  log: z
    .strictObject({
      format: z
        .enum(['text', 'json'], 'must be "text" or "json"')
        .default('text')
        .describe('how the daemon writes its log: "text" for people, or a JSON object on each line in "json"'),
      level: z
        .enum(['info', 'warn', 'error'], 'must be "info", "warn" or "error"')
        .default('info')
        .describe('what it writes there: everything in "info", or only what is worse'),
      jobs: z
        .enum(['none', 'ends', 'commands'], 'must be "none", "ends" or "commands"')
        .default('none')
        .describe('what it writes there of each job: nothing, how it ended, or its command line too')
    })
    .prefault({}),
  files: z
    .strictObject({
      cache: z
        .string(CACHE_MUST)
        .regex(/^\d{1,15} ?(KiB|MiB|GiB|TiB)$/, CACHE_MUST)
        .default('2 GiB')
        .describe("disk for what is kept here of the files of jobs' homes, so that their next jobs begin faster")
    })
    .prefault({}),
  guests: z
    .strictObject({
      unsandboxed: z
        .boolean(BOOLEAN_MUST)
        .default(false)
        .describe('take guests even where the system allows no sandbox: they can then read what this user can'),
      paths: list(z.string(PATHS_MUST).regex(/^\/[^:\0]*:(ro|rw)$/, PATHS_MUST), PATHS_MUST)
        .default([])
        .describe('directories of this machine that guests see'),
      user: z
        .string('must be the name of a user')
        .regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'must be the name of a user')
        .refine((user) => user !== 'root', 'must not be root')
        .default('nobody')
        .describe('who guests run as when the daemon runs as root'),
      nice: z
        .int(NICE_MUST)
        .min(0, NICE_MUST)
        .max(19, NICE_MUST)
        .default(19)
        .describe(
          'priority of guests, from 19 (they get what the owner leaves) to 0 (as equals, for machines that only lend)'
        ),
      on_battery: z.boolean(BOOLEAN_MUST).default(false).describe('take guests while this machine runs on its battery'),
      keep_awake: z
        .boolean(BOOLEAN_MUST)
        .default(true)
        .describe('while guests run, keep this machine from going to sleep by itself'),
      memory_floor: z
        .string(FLOOR_MUST)
        .regex(MEMORY_SIZE, FLOOR_MUST)
        .default('10%')
        .describe('memory that is kept free of guests'),
      memory: z
        .string(SIZE_MUST)
        .regex(MEMORY_SIZE, SIZE_MUST)
        .optional()
        .describe('memory that all guests may have together; all that guests.memory_floor leaves when not set'),
      processes: z
        .int(PROCESSES_MUST)
        .min(16, PROCESSES_MUST)
        .max(1_000_000, PROCESSES_MUST)
        .default(2048)
        .describe('processes and threads that one job may have'),
      disk: z
        .string(SIZE_MUST)
        .regex(MEMORY_SIZE, SIZE_MUST)
        .default('50%')
        .describe('disk that all guests may fill together: a size, or a share of what is free without them'),
      output: z
        .string(OUTPUT_MUST)
        .regex(/^\d{1,15} ?(KiB|MiB|GiB|TiB)$/, OUTPUT_MUST)
        .default('1 GiB')
        .describe('disk that the unfetched output of all detached jobs may fill together'),
      time: z
        .string(TIME_MUST)
        .regex(TIME, TIME_MUST)
        .optional()
        .describe('how long a job may run; for ever when not set'),
      commands: list(z.string(COMMANDS_MUST).regex(COMMAND, COMMANDS_MUST), COMMANDS_MUST, COMMANDS_MAX)
        .default([])
        .describe(
          'what guests may run here, for all or as "own:COMMAND", "friends:COMMAND", "PEER:COMMAND"; any when not set'
        ),
      devices: list(z.string(DEVICES_MUST).regex(DEVICE, DEVICES_MUST), DEVICES_MUST)
        .default([])
        .describe('devices that jobs see which ask for a label with --need, as "label:/dev/name"'),
      network: z
        .enum(['none', 'full'], 'must be "none" or "full"')
        .default('none')
        .describe('network of friends\' jobs: "none", or the machine\'s in "full"')
    })
    .prefault({})
})

/** What holds: the file, what the environment overrides, and defaults for the rest. Addresses are multiaddrs. */
export type Configuration = z.output<typeof schema>

/** A key as people write it, such as `guests.network`. */
export interface ConfigurationKey {
  key: string
  description: string
  /** Accepts a value; the text of an error follows the key. */
  schema: z.ZodType
}

/** Every key, in the order in which they are declared. */
export const CONFIGURATION_KEYS: ConfigurationKey[] = keysOf(schema, '')

/** What the daemon reads at its start alone: these hold from the next one on, all others at once. */
export const AT_START_KEYS: readonly string[] = [
  'name',
  'listen',
  'announce',
  'mdns',
  'machine.cores',
  'guests.unsandboxed',
  'guests.user',
  'guests.nice',
  'guests.paths',
  'guests.network'
]

function keysOf(object: z.ZodObject, prefix: string): ConfigurationKey[] {
  return Object.entries(object.shape).flatMap(([name, value]) => {
    const inner = value instanceof z.ZodPrefault ? value.unwrap() : value
    if (inner instanceof z.ZodObject) return keysOf(inner, `${prefix}${name}.`)
    return [{ key: prefix + name, description: (value as z.ZodType).description ?? '', schema: value as z.ZodType }]
  })
}

/** The declaration of a key. Throws UsageError, with a suggestion, when there is none. */
export function configurationKey(key: string): ConfigurationKey {
  const found = CONFIGURATION_KEYS.find((candidate) => candidate.key === key)
  if (found) return found
  throw new KappaError('UsageError', `there is no key ${JSON.stringify(key)} in the configuration; ${suggestion(key)}`)
}

/** Reads the file, or takes the defaults when there is none. Throws ConfigurationError with file and line. */
export function loadConfiguration(path: string, environment: Record<string, string | undefined>): Configuration {
  const text = readIfThere(path)?.toString() ?? ''
  const document = parseDocument(path, text)
  const fromFile = schema.safeParse(document)
  if (!fromFile.success) throw problem(path, text, document, fromFile.error.issues)
  return withEnvironment(fromFile.data, document, environment)
}

/** The document that a text stands for. Throws ConfigurationError with file and line when it is not TOML. */
export function parseDocument(path: string, text: string): Record<string, unknown> {
  try {
    return parse(text, { unsafeKeyBehaviour: 'throw' })
  } catch (error) {
    const line = error instanceof TomlError ? error.line : 1
    const why = messageOf(error)
      .replace(/^Invalid TOML document: /, '')
      .replace(/ {2,}.*$/, '')
    throw new KappaError('ConfigurationError', `${path}:${line}: this is not TOML: ${why}`, { cause: error })
  }
}

/** Bytes that are kept free of guests on a machine with so much memory. */
export function memoryFloorBytes(configuration: Configuration, totalBytes: number): number {
  return bytesOf(configuration.guests.memory_floor, totalBytes)
}

/** What guests may take of a machine with so much memory. */
export function guestLimits(configuration: Configuration, totalBytes: number): GuestLimits {
  const { memory, processes, disk, time } = configuration.guests
  const [, count, unit] = TIME.exec(time ?? '') ?? []
  const share = /^(\d+) ?%$/.exec(disk)?.[1]
  return {
    memory: memory === undefined ? undefined : bytesOf(memory, totalBytes),
    memoryFloor: memoryFloorBytes(configuration, totalBytes),
    processes,
    disk: share === undefined ? { bytes: bytesOf(disk, 0) } : { share: Math.min(1, Number(share) / 100) },
    time: unit === undefined ? undefined : Number(count) * UNIT_MS[unit]!
  }
}

/** What detached jobs write and their homes haven't fetched may take so much. */
export function outputBytes({ guests }: Configuration): number {
  return bytesOf(guests.output, 0)
}

/** What is kept here of homes' files may take so much. */
export function cacheBytes({ files }: Configuration): number {
  return bytesOf(files.cache, 0)
}

/** Devices by the label that shows them. */
export function devicesOf({ guests }: Configuration, labels: readonly string[]): string[] {
  return guests.devices
    .map((entry) => [entry.slice(0, entry.indexOf(':')), entry.slice(entry.indexOf(':') + 1)] as const)
    .filter(([label]) => labels.includes(label))
    .map(([, path]) => path)
}

/** `size` as the configuration has it; a share is one of `totalBytes`. */
function bytesOf(size: string, totalBytes: number): number {
  const [, amount, unit] = MEMORY_SIZE.exec(size)!
  if (unit === '%') return Math.min(totalBytes, Math.round((totalBytes * Number(amount)) / 100))
  return Number(amount) * (unit === undefined ? 1 : UNIT_BYTES[unit]!)
}

const OVERRIDES = { KAPPA_NAME: 'name', KAPPA_LISTEN: 'listen', KAPPA_ANNOUNCE: 'announce' } as const

function withEnvironment(
  configuration: Configuration,
  document: Record<string, unknown>,
  environment: Record<string, string | undefined>
): Configuration {
  const overrides: Record<string, unknown> = {}
  for (const [variable, key] of Object.entries(OVERRIDES)) {
    const text = environment[variable]
    if (!text) continue
    const value = key === 'name' ? text : text.split(/[\s,]+/).filter((word) => word !== '')
    const checked = schema.safeParse({ ...document, [key]: value })
    if (!checked.success) {
      const must = checked.error.issues[0]?.message
      throw new KappaError('ConfigurationError', `${variable} is ${JSON.stringify(text)}: it ${must}`)
    }
    overrides[key] = checked.data[key]
  }
  return { ...configuration, ...overrides }
}

function problem(path: string, text: string, document: unknown, issues: z.core.$ZodIssue[]): KappaError {
  const issue = issues[0]!
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0]! : undefined
  const names = [...issue.path, ...(unknown === undefined ? [] : [unknown])].map(String)
  // An entry of a list is shown, but looked for by the list's own name.
  const key = names.filter((name) => !/^\d+$/.test(name))
  const line = lineOf(text, key) ?? 1
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ''
  const shown = key.join('.')
  const says =
    unknown === undefined
      ? `${shown} is ${JSON.stringify(valueAt(document, names))}, it ${issue.message}`
      : `there is no key "${shown}"; ${suggestion(shown)}`
  return new KappaError('ConfigurationError', `${path}:${line}: ${says}${more}`)
}

function suggestion(key: string): string {
  const keys = CONFIGURATION_KEYS.map((known) => known.key)
  // A right key in the wrong table is as frequent a mistake as a mistyped one.
  const last = key.slice(key.lastIndexOf('.') + 1)
  const near = nearest(key, keys) ?? keys.find((known) => known.slice(known.lastIndexOf('.') + 1) === last)
  return near ? `did you mean "${near}"?` : 'see: kappa config get'
}

/** The value at a path of names and indexes; `undefined` where there is none. */
export function valueAt(document: unknown, names: string[]): unknown {
  let value = document
  for (const name of names) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

function announceAddress(text: string): string | undefined {
  try {
    return parseAddress(text).address
  } catch {
    return undefined
  }
}

/** As an announced address, but of this machine, and with any port: 0 lets the system choose. */
function listenAddress(text: string): string | undefined {
  const chosen = /(:|\/tcp\/)0$/.test(text)
  const found = announceAddress(chosen ? `${text.slice(0, -1)}1` : text)?.replace('/dns/localhost/', '/ip4/127.0.0.1/')
  if (found === undefined || !found.startsWith('/ip')) return undefined
  return chosen ? `${found.slice(0, -1)}0` : found
}
