/** Random operations on few names, so that they meet each other. */

import { constants } from 'node:fs'
import type { Operation } from './executor.ts'

const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW } = constants
const SLOTS = 6
const LOCKERS = 3
const LONG = 'n'.repeat(255)
const NAMES = ['a', 'b', 'c', 'd', 'e', '\xff\xfe', 'caf\xc3\xa9', LONG]
const RARE = [`${LONG}x`, '.', '..', 'a/.', '']
const DIRECTORIES = ['', '', 'd/', 'e/', 'd/e/', 'd/d/']
const SIZES = [0, 1, 10, 100, 4095, 4096, 4097, 10_000, 140_000]

/** Mulberry32. */
export function random(seed: number): (below: number) => number {
  let state = seed | 0
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

type Draw = (below: number) => number

const ACCESS = [O_RDONLY, O_RDONLY, O_WRONLY, O_RDWR, O_RDWR]
/** fallocate(2): with the size and without it, holes, zeros. */
const ALLOCATIONS = [0, 1, 3, 16, 17]
const MODES = [0o644, 0o600, 0o755, 0o444, 0o777]
/** Whoever runs this must see in the end what is in a directory. */
const OPEN_MODES = [0o755, 0o700, 0o777]

/** Each kind with its weight. */
export function generator(draw: Draw): () => Operation {
  const one = <T>(of: readonly T[]): T => of[draw(of.length)]!
  const name = (): string => (draw(40) === 0 ? one(RARE) : one(DIRECTORIES) + one(NAMES))
  const slot = (): number => draw(SLOTS)
  const size = (): number => (draw(3) > 0 ? draw(300) : one(SIZES))
  const seed = (): number => draw(1000)
  const flags = (): number => {
    let bits = one(ACCESS)
    if (draw(2)) bits |= O_CREAT
    if (draw(6) === 0) bits |= O_EXCL
    if (draw(5) === 0) bits |= O_TRUNC
    if (draw(5) === 0) bits |= O_APPEND
    if (draw(30) === 0) bits |= O_DIRECTORY
    if (draw(30) === 0) bits |= O_NOFOLLOW
    // What both together do is said nowhere.
    return bits & O_DIRECTORY ? bits & ~(O_CREAT | O_EXCL) : bits & O_CREAT ? bits : bits & ~O_EXCL
  }
  const locker = (): number => draw(LOCKERS)
  /** Types of locks; one is more often taken than given up. */
  const type = (): number => one([0, 0, 1, 1, 2])
  const kinds: [number, () => Operation][] = [
    [12, () => ['open', slot(), name(), flags(), one(MODES)]],
    [5, () => ['close', slot()]],
    [6, () => ['read', slot(), size()]],
    [6, () => ['pread', slot(), size(), size()]],
    [8, () => ['write', slot(), seed(), size()]],
    [6, () => ['pwrite', slot(), size(), seed(), size()]],
    [3, () => ['ftruncate', slot(), size()]],
    [5, () => ['fstat', slot()]],
    [1, () => ['fsync', slot()]],
    [1, () => ['fdatasync', slot()]],
    [1, () => ['fchmod', slot(), one(OPEN_MODES)]],
    [1, () => ['futimes', slot(), 1e9 + seed()]],
    [3, () => ['truncate', name(), size()]],
    [6, () => ['stat', name()]],
    [6, () => ['lstat', name()]],
    [3, () => ['chmod', name(), one(OPEN_MODES)]],
    [2, () => ['utimes', name(), 1e9 + seed()]],
    [1, () => ['lutimes', name(), 1e9 + seed()]],
    [1, () => ['chown', name()]],
    [2, () => ['access', name(), draw(8)]],
    [7, () => ['rename', name(), name()]],
    [5, () => ['link', name(), name()]],
    [3, () => ['symlink', one([...NAMES, '../a', 'd/e', '/nowhere/at/all', 'x'.repeat(300)]), name()]],
    [3, () => ['readlink', name()]],
    [7, () => ['unlink', name()]],
    [6, () => ['mkdir', name(), one([0o755, 0o700, 0o777, 0o1777])]],
    [3, () => ['rmdir', name()]],
    [5, () => ['list', one(['.', 'd', 'e', 'd/e', 'd/d', 'a'])]],
    [6, () => ['take', name()]],
    [6, () => ['put', name(), seed(), size()]],
    [4, () => ['append', name(), seed(), size()]],
    [1, () => ['copy', name(), name()]],
    [3, () => ['rename2', name(), name(), one([0, 1, 1, 2, 2, 2, 3])]],
    [3, () => ['allocate', slot(), one(ALLOCATIONS), size(), one([0, 1, 100, 4096, 8192, 100_000])]],
    [3, () => ['seek', slot(), size(), one([3, 4])]],
    [3, () => ['copyRange', slot(), size(), slot(), size(), size()]],
    [2, () => ['date', name(), 1e9 + seed(), draw(1e9)]],
    [3, () => ['hold', locker(), name()]],
    [1, () => ['unhold', locker()]],
    [6, () => ['lock', locker(), type(), draw(20), 20 + draw(20) - (draw(10) === 0 ? 100 : 0)]],
    [3, () => ['flock', locker(), type()]],
    [3, () => ['testLock', locker(), one([0, 1]), draw(20), 20 + draw(20)]],
    [1, () => ['umask', one([0o22, 0o77, 0])]]
  ]
  const drawn = kinds.flatMap(([weight, make]) => Array.from({ length: weight }, () => make))
  return () => one(drawn)()
}
