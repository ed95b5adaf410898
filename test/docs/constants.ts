/** The numbers that a source file declares at its top level, by name, whether it exports them or not. */

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const known = new Map<string, Map<string, number>>()

export function constantsOf(path: string): Map<string, number> {
  const found = known.get(path)
  if (found !== undefined) return found
  const source = readFileSync(path, 'utf8')
  const numbers = new Map<string, number>()
  known.set(path, numbers)
  const imported = new Map<string, number>()
  for (const [, names, from] of source.matchAll(/^import \{([^}]*)\} from '(\.[^']*)'/gms)) {
    const there = /\b[A-Z][A-Z0-9_]+\b/.test(names!) ? constantsOf(join(dirname(path), from!)) : new Map()
    for (const [name] of names!.matchAll(/\b[A-Z][A-Z0-9_]+\b/g)) {
      const value = there.get(name)
      if (value !== undefined) imported.set(name, value)
    }
  }
  for (const [, name, expression] of source.matchAll(/^(?:export )?const ([A-Z][A-Z0-9_]+) = ([^\n;]+)$/gm)) {
    const value = evaluated(expression!, (other) => numbers.get(other) ?? imported.get(other))
    if (value !== undefined) numbers.set(name!, value)
  }
  return numbers
}

/** Sums and products of numbers and of other constants; undefined for anything else. */
function evaluated(expression: string, constant: (name: string) => number | undefined): number | undefined {
  const logarithm = /^Math\.log\(([\d.]+)\)$/.exec(expression)
  if (logarithm !== null) return Math.log(Number(logarithm[1]))
  let sum = 0
  for (const [, sign, term] of `+ ${expression}`.matchAll(/([+-]) ((?:[\w.]+(?: [*/] )?)+)\s*/g)) {
    let product = 1
    for (const [, operator, factor] of `* ${term}`.matchAll(/([*/]) ([\w.]+)/g)) {
      const value = /^[\d._]+$/.test(factor!) ? Number(factor!.replaceAll('_', '')) : constant(factor!)
      if (value === undefined) return undefined
      product = operator === '*' ? product * value : product / value
    }
    sum = sign === '+' ? sum + product : sum - product
  }
  const read = expression.replaceAll(/[\w.]+|[*/+-]/g, '').trim()
  return read === '' ? sum : undefined
}
