/** Lengths of time as people write them: `90s`, `1.5h`, `2d`. */

const UNIT_MS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds; `undefined` for what is no length of time. A number alone is one of `unit`, where one is given. */
export function millisecondsOf(text: string, unit = ''): number | undefined {
  const [, amount, own] = /^(\d+(?:\.\d+)?|\.\d+)([smhd]?)$/.exec(text) ?? []
  const ms = Math.round(Number(amount) * (UNIT_MS[own || unit] ?? Number.NaN))
  return Number.isSafeInteger(ms) ? ms : undefined
}
