/** The least of 1, 2, 5, 10, 20 … by which at most so many steps reach `most`. */
export function stepFor(most: number, steps: number): number {
  const least = Math.max(most, 1e-9) / steps
  const power = 10 ** Math.floor(Math.log10(least))
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least * (1 - 1e-9))!
}
