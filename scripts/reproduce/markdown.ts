/** Tables and numbers as the pages show them. */

import type { Estimate } from '../../src/simulator/statistics.ts'

/** Columns of numbers stand on the right. */
export function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const isNumber = head.map((_, column) => rows.every((row) => /^[-+–\d., ±×%()/]*$/.test(row[column]!)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  const rule = `|${isNumber.map((number) => (number ? '--:' : '---')).join('|')}|`
  return [line(head), rule, ...rows.map(line)].join('\n')
}

export function picture(name: string, alternative: string): string {
  return `![${alternative}](${name}.svg)`
}

/** The mean, and half the width of the 95 % confidence interval where there is one. */
export function sure({ mean, halfWidth }: Estimate, digits = 2): string {
  return Number.isNaN(halfWidth) ? fixed(mean, digits) : `${fixed(mean, digits)} ± ${fixed(halfWidth, digits)}`
}

/** Large numbers without decimals that mean nothing. */
export function fixed(value: number, digits = 2): string {
  const shown = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? Math.min(digits, 1) : digits
  return value.toFixed(shown)
}
