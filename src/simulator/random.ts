/** Seeded randomness: the same seed gives the same run, on every machine. */

/** In [0, 1). */
export type Random = () => number

/** Small, fast and good enough: mulberry32. */
export function randomFrom(seed: number): Random {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A seed for one purpose, so that drawing more for one thing changes nothing in the others. */
export function seedFor(seed: number, purpose: string): number {
  let hash = 0x811c9dc5 ^ seed
  for (let index = 0; index < purpose.length; index++) hash = Math.imul(hash ^ purpose.charCodeAt(index), 0x01000193)
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
}

export function between(random: Random, least: number, most: number): number {
  return least + (most - least) * random()
}

/** A whole number, both ends included. */
export function integer(random: Random, least: number, most: number): number {
  return least + Math.floor(random() * (most - least + 1))
}

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)]!
}

/** Up to `count` different ones, in random order. */
export function draw<T>(random: Random, from: readonly T[], count: number): T[] {
  const rest = [...from]
  const drawn: T[] = []
  while (drawn.length < count && rest.length > 0) {
    const index = Math.floor(random() * rest.length)
    drawn.push(rest[index]!)
    rest[index] = rest.at(-1)!
    rest.pop()
  }
  return drawn
}

export function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random())
}

/** Pareto with that shape, cut to [least, most]: many small ones, few that are very large. */
export interface TruncatedPareto {
  shape: number
  least: number
  most: number
}

export function truncatedPareto(random: Random, { shape, least, most }: TruncatedPareto): number {
  const cut = 1 - (least / most) ** shape
  return least / (1 - random() * cut) ** (1 / shape)
}

export function meanOfTruncatedPareto({ shape, least, most }: TruncatedPareto): number {
  const cut = 1 - (least / most) ** shape
  if (shape === 1) return (least / cut) * Math.log(most / least)
  return ((shape / (shape - 1)) * least * (1 - (least / most) ** (shape - 1))) / cut
}
