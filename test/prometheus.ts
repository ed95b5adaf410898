/** Prometheus' text format, read as strictly as `promtool check metrics` does, by its conventions for names. */

export interface Read {
  type: string
  help: string
  /** By name and labels as written. */
  samples: Map<string, number>
}

const LINE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*"(?:,(?!\}))?)*)\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]Inf|NaN)$/
/** As promtool: they are to be base units. */
const OTHER_UNITS = /_(milliseconds|ms|minutes|hours|days|kilobytes|kb|mb|megabytes|percent|bits)(_|$)/

/** By family, in order. Throws, with the line, when a text isn't what it should be. */
export function readExposition(text: string): Map<string, Read> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  const families = new Map<string, Read>()
  let name = ''
  for (const line of text.slice(0, -1).split('\n')) {
    const [, kind, family, rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? []
    if (kind === 'HELP') {
      if (families.has(family!)) throw new Error(`twice: ${line}`)
      families.set((name = family!), { type: '', help: rest, samples: new Map() })
      if (rest === '') throw new Error(`no help: ${line}`)
    } else if (kind === 'TYPE') {
      if (family !== name) throw new Error(`a type without help: ${line}`)
      families.get(name)!.type = rest
      checkName(name, rest)
    } else readSample(line, name, families.get(name))
  }
  for (const [name, { type, samples }] of families) if (type === 'histogram') checkHistogram(name, samples)
  return families
}

function readSample(line: string, name: string, family: Read | undefined): void {
  const [, sample, labels = '', value] = LINE.exec(line) ?? []
  if (sample === undefined || family === undefined) throw new Error(`no sample: ${line}`)
  const suffix = sample.slice(name.length)
  const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
  if (!sample.startsWith(name) || !suffixes.includes(suffix)) throw new Error(`it belongs to no family: ${line}`)
  const key = `${sample}{${labels}}`
  if (family.samples.has(key)) throw new Error(`twice: ${line}`)
  family.samples.set(key, Number(value!.replace('Inf', 'Infinity')))
}

function checkName(name: string, type: string): void {
  if (!['gauge', 'counter', 'histogram'].includes(type)) throw new Error(`${name} is no ${type}`)
  if ((type === 'counter') !== name.endsWith('_total')) throw new Error(`counters alone end in _total: ${name}`)
  if (/_(bucket|sum|count)$/.test(name)) throw new Error(`a name of a histogram's own: ${name}`)
  if (OTHER_UNITS.test(name)) throw new Error(`no base unit: ${name}`)
  if (/[A-Z:]/.test(name)) throw new Error(`capitals or colons: ${name}`)
}

function checkHistogram(name: string, samples: Map<string, number>): void {
  const buckets = [...samples].filter(([key]) => key.startsWith(`${name}_bucket`))
  const bounds = buckets.map(([key]) => Number(/le="([^"]+)"/.exec(key)![1]!.replace('Inf', 'Infinity')))
  const counts = buckets.map(([, value]) => value)
  const grows = (values: number[]) => values.every((value, index) => index === 0 || value >= values[index - 1]!)
  if (!grows(bounds) || !grows(counts)) throw new Error(`the buckets of ${name} don't grow`)
  if (bounds.at(-1) !== Number.POSITIVE_INFINITY) throw new Error(`${name} has no last bucket`)
  if (samples.get(`${name}_count{}`) !== counts.at(-1)) throw new Error(`${name}: count and last bucket differ`)
}
