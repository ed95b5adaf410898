/** Renders the schemas of messages as docs/protocol.md tells them: one row for each field. */

import { z } from 'zod'

/** The part of JSON Schema that messages use. */
export interface Schema {
  type?: string
  const?: string
  pattern?: string
  enum?: string[]
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  items?: Schema
  properties?: Record<string, Schema>
  required?: string[]
  anyOf?: Schema[]
  oneOf?: Schema[]
}

export interface Field {
  name: string
  type: string
  bounds: string
}

export function schemaOf(schema: z.ZodType): Schema {
  return z.toJSONSchema(schema, { unrepresentable: 'any', io: 'output' }) as Schema
}

/** The messages of a union told apart by `type`, by that word. */
export function messagesOf(union: z.ZodType): Map<string, Schema> {
  const messages = schemaOf(union).oneOf ?? []
  return new Map(messages.map((message) => [message.properties?.type?.const ?? '', message]))
}

/** Fields of maps that have a table of their own, by the name of the field. */
const STRUCTURES: Record<string, string> = {
  needs: 'needs',
  class: 'class',
  record: 'record',
  entries: 'entry',
  entry: 'entry',
  ticket: 'ticket',
  refusals: 'refusal',
  refusal: 'refusal',
  limits: 'limit',
  outcome: 'outcome',
  end: 'end',
  error: 'error',
  usage: 'usage',
  terminal: 'terminal',
  tree: 'tree',
  ways: 'way',
  checks: 'check'
}

/** `found` takes the maps within, by the name of their structure. */
export function fieldsOf(message: Schema, found: Map<string, Schema[]>): Field[] {
  const { properties = {}, required: compulsory = [] } = message.oneOf === undefined ? message : merged(message.oneOf)
  return Object.entries(properties)
    .filter(([name]) => name !== 'type')
    .map(([name, schema]) => {
      const optional = compulsory.includes(name) ? '' : ', optional'
      return { name, type: typeOf(name, schema, found) + optional, bounds: boundsOf(name, schema) }
    })
}

/** Maps told apart by a word, as one: what isn't in all is optional. */
function merged(variants: Schema[]): Schema {
  const properties: Record<string, Schema> = {}
  for (const variant of variants) {
    for (const [name, schema] of Object.entries(variant.properties ?? {})) {
      const words = [...(properties[name]?.enum ?? []), ...(schema.const === undefined ? [] : [schema.const])]
      properties[name] = words.length === 0 ? schema : { type: 'string', enum: words }
    }
  }
  const required = Object.keys(properties).filter((name) => variants.every((one) => one.required?.includes(name)))
  return { properties, required }
}

function typeOf(name: string, schema: Schema, found: Map<string, Schema[]>): string {
  const { type, items, pattern, anyOf } = schema
  if (anyOf !== undefined) return anyOf.map((one) => typeOf(name, one, found)).join(' or ')
  if (type === 'array' && items !== undefined) return `list of ${typeOf(name, items, found)}`
  if (type === 'object' || schema.oneOf !== undefined) {
    const structure = name === 'class' && schema.required === undefined ? 'wanted class' : STRUCTURES[name]
    if (structure === undefined) throw new Error(`no structure is known for ${name}`)
    found.set(structure, [...(found.get(structure) ?? []), schema])
    return structure
  }
  if (pattern !== undefined) return pattern.startsWith('^12D3KooW') ? 'peer ID' : 'random ID'
  if (schema.enum !== undefined) return 'word'
  if (type === 'string') return 'text'
  return type ?? 'bytes'
}

function boundsOf(name: string, schema: Schema): string {
  const { type, items, anyOf, minItems, maxItems, minLength, maxLength } = schema
  if (anyOf !== undefined) return boundsOf(name, anyOf[0]!)
  if (schema.enum !== undefined) return schema.enum.join(', ')
  if (type === 'array' && items !== undefined) {
    const each = boundsOf(name, items)
    return range(minItems, maxItems, String) + (each === '' ? '' : `; each ${each}`)
  }
  if (schema.pattern !== undefined) return ''
  if (type === 'string') return `${range(minLength, maxLength, String)} characters`
  if (type !== 'integer' && type !== 'number') return ''
  const show = name.endsWith('Ms') ? duration : number
  if (schema.exclusiveMinimum !== undefined)
    return `> 0${schema.maximum === undefined ? '' : `, ≤ ${show(schema.maximum)}`}`
  const maximum = type === 'integer' && schema.maximum === Number.MAX_SAFE_INTEGER ? undefined : schema.maximum
  return schema.minimum === undefined && maximum === undefined ? '' : range(schema.minimum ?? 0, maximum, show, '≥')
}

function range(from: number | undefined, to: number | undefined, show: (value: number) => string, least = '≥'): string {
  if (to === undefined) return `${least} ${show(from ?? 0)}`
  if (from === to) return show(to)
  return from === undefined ? `≤ ${show(to)}` : `${show(from)}–${show(to)}`
}

const POWERS = new Map([
  [2 ** 32 - 1, '2^32 − 1'],
  [2 ** 30, '2^30'],
  [2 ** 48 - 1, '2^48 − 1'],
  [Number.MAX_SAFE_INTEGER, '2^53 − 1'],
  [1e12, '10^12']
])

function number(value: number): string {
  return POWERS.get(value) ?? String(value).replace('-', '−')
}

function duration(ms: number): string {
  for (const [unit, length] of [
    ['d', 86_400_000],
    ['s', 1_000]
  ] as const) {
    if (ms > 0 && ms % length === 0) return `${ms / length} ${unit}`
  }
  return ms === 0 ? '0' : `${ms} ms`
}
