/** Candidates this near to the best are as good. */
export const NEAR_EQUAL = 0.25

/** One of them, all equally likely; undefined of none. `random` is in [0, 1). */
export function drawn<T>(from: readonly T[], random: () => number): T | undefined {
  return from[Math.min(from.length - 1, Math.floor(random() * from.length))]
}

/** A random one of the best, or homes that ask at once would collide; undefined among none. `random` is in [0, 1). */
export function nearBest<T extends { metric: number }>(candidates: readonly T[], random: () => number): T | undefined {
  if (candidates.length === 0) return undefined
  const most = Math.max(...candidates.map(({ metric }) => metric))
  const near = candidates.filter(({ metric }) => metric >= most * (1 - NEAR_EQUAL))
  return drawn(near, random)
}
