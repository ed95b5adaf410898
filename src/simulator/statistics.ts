/** Means, quantiles, and how sure they are. */

/** Two-sided 95 % quantiles of Student's t for 1, 2, … degrees of freedom; beyond, the last but one more step is the normal's. */
const STUDENT = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131
]
const NORMAL = 1.96

export interface Estimate {
  mean: number
  /** Half the width of the 95 % confidence interval; NaN for less than two values. */
  halfWidth: number
}

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** By interpolation; NaN of nothing. */
export function quantileOf(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const position = (sorted.length - 1) * q
  const low = sorted[Math.floor(position)] ?? Number.NaN
  const high = sorted[Math.ceil(position)] ?? low
  return low + (high - low) * (position - Math.floor(position))
}

/** Of independent runs. */
export function estimate(values: readonly number[]): Estimate {
  const mean = meanOf(values)
  const freedom = values.length - 1
  if (freedom < 1) return { mean, halfWidth: Number.NaN }
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / freedom
  return { mean, halfWidth: (STUDENT[freedom - 1] ?? NORMAL) * Math.sqrt(variance / values.length) }
}
