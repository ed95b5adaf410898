/**
 * The key that makes this peer what it is, in the file `identity`, mode 0600. It is never made anew silently: that would
 * end every pairing. It records the machine's id, so that a cloned disk or a shared home doesn't run one key twice.
 */

import { createHash } from 'node:crypto'
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { KappaError, messageOf } from '../errors.ts'
import type { Log } from './log.ts'
import { readIfThere, setAside, writeWhole } from './state-file.ts'

const IDENTITY_FILE = 'identity'
export const PAIRINGS_FILE = 'pairings.json'
const MACHINE_ID_PATH = '/etc/machine-id'

const storedIdentity = z.object({
  key: z.base64().max(1024),
  /** A hash, since the id itself is meant to stay on the machine; null where there is none, as in many containers. */
  machine: z.string().max(128).nullable()
})

/** How keys are made and turned into bytes and back. */
export interface KeyCodec<K> {
  create(): Promise<K>
  fromBytes(bytes: Uint8Array): K
  toBytes(key: K): Uint8Array
}

/** The key of this peer, made at the first start. Throws StateError, which says what to do, when the file is no good. */
export async function loadIdentity<K>(state: string, keys: KeyCodec<K>, log: Log, machine = thisMachine()): Promise<K> {
  const path = join(state, IDENTITY_FILE)
  const bytes = readIfThere(path)
  if (bytes === undefined) {
    if (existsSync(join(state, PAIRINGS_FILE)))
      throw anew(`${path} is missing, though there are pairings that were made with it`)
    const key = await keys.create()
    await store(path, keys.toBytes(key), machine)
    return key
  }
  if ((statSync(path).mode & 0o077) !== 0) {
    chmodSync(path, 0o600)
    log.warn('the identity was readable by other users of this machine; it no longer is', { file: path })
  }
  const stored = parse(path, bytes)
  if (stored.machine !== null && machine !== null && stored.machine !== machine) {
    throw new KappaError(
      'StateError',
      `${path} was made on another machine, and two machines must not share one identity (a cloned disk, a shared home ` +
        'directory?); give this one its own with: kappa daemon --new-identity; or, if the other one is gone for good: ' +
        'kappa daemon --keep-identity'
    )
  }
  const key = keyOf(path, stored.key, keys)
  if (stored.machine === null && machine !== null) await store(path, keys.toBytes(key), machine)
  return key
}

/** Sets the identity aside with the pairings that were made with it; the next start makes another. The paths moved to. */
export function abandonIdentity(state: string): string[] {
  const files = [IDENTITY_FILE, PAIRINGS_FILE].map((name) => join(state, name))
  return files.filter((path) => existsSync(path)).map((path) => setAside(path, 'old'))
}

/** Makes this machine the one that the identity belongs to. Throws StateError when there is none or it is damaged. */
export async function adoptIdentity(state: string, machine = thisMachine()): Promise<void> {
  const path = join(state, IDENTITY_FILE)
  const bytes = readIfThere(path)
  if (bytes === undefined)
    throw new KappaError(
      'StateError',
      `${path} is missing: there is no identity to keep; start without --keep-identity`
    )
  await store(path, Buffer.from(parse(path, bytes).key, 'base64'), machine)
}

async function store(path: string, key: Uint8Array, machine: string | null): Promise<void> {
  const stored: z.infer<typeof storedIdentity> = { key: Buffer.from(key).toString('base64'), machine }
  await writeWhole(path, `${JSON.stringify(stored)}\n`)
}

function parse(path: string, bytes: Buffer): z.infer<typeof storedIdentity> {
  try {
    return storedIdentity.parse(JSON.parse(bytes.toString()))
  } catch (error) {
    throw anew(`${path} is damaged`, error)
  }
}

function keyOf<K>(path: string, base64: string, keys: KeyCodec<K>): K {
  try {
    return keys.fromBytes(Buffer.from(base64, 'base64'))
  } catch (error) {
    throw anew(`${path} is damaged: ${messageOf(error)}`, error)
  }
}

function anew(problem: string, cause?: unknown): KappaError {
  const advice =
    'restore it from a backup, or begin anew (every pairing must be made again) with: kappa daemon --new-identity'
  return new KappaError('StateError', `${problem}; ${advice}`, { cause })
}

/** A hash of systemd's machine id; null where there is none. */
function thisMachine(): string | null {
  let id = ''
  try {
    id = readFileSync(MACHINE_ID_PATH, 'utf8').trim()
  } catch {
    // Not every system has one.
  }
  if (!/^[0-9a-f]{32}$/.test(id)) return null
  return createHash('sha256').update(`kappa machine ${id}`).digest('hex')
}
