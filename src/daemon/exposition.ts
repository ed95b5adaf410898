/** Figures as Prometheus' text format (version 0.0.4) has them. */

export interface Sample {
  /** Behind the family's name: `_bucket`, `_sum` and `_count` of a histogram. */
  suffix?: string
  labels?: Record<string, string>
  value: number
}

/** One figure: names end in their unit, those of counters in `_total`. */
export interface Family {
  name: string
  help: string
  type: 'gauge' | 'counter' | 'histogram'
  samples: Sample[]
}

/** Families without a sample are left out: nothing is known of them. */
export function exposition(families: readonly Family[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, help, type, samples }) => {
      const lines = samples.map(
        ({ suffix = '', labels, value }) => `${name}${suffix}${labelText(labels)} ${number(value)}`
      )
      return `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n${lines.join('\n')}\n`
    })
    .join('')
}

function labelText(labels: Record<string, string> = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function number(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}

/** How often something of each kind happened; the kinds are the code's own, so that there are few. */
export class Counter {
  readonly #counts = new Map<string, { labels: Record<string, string>; value: number }>()

  constructor(kinds: readonly Record<string, string>[]) {
    for (const labels of kinds) this.#counts.set(keyOf(labels), { labels, value: 0 })
  }

  add(labels: Record<string, string>): void {
    const count = this.#counts.get(keyOf(labels))
    if (count === undefined) throw new RangeError(`it doesn't count ${keyOf(labels)}`)
    count.value++
  }

  get samples(): Sample[] {
    return [...this.#counts.values()].map(({ labels, value }) => ({ labels, value }))
  }
}

function keyOf(labels: Record<string, string>): string {
  return JSON.stringify(Object.entries(labels))
}

/** How long something took. */
export class Histogram {
  /** Upper bounds, growing. */
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0
  #count = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = bounds.map(() => 0)
  }

  observe(value: number): void {
    this.#sum += value
    this.#count++
    this.#bounds.forEach((bound, index) => {
      if (value <= bound) this.#counts[index]!++
    })
  }

  get samples(): Sample[] {
    const buckets = [...this.#bounds, Number.POSITIVE_INFINITY].map((bound, index) => ({
      suffix: '_bucket',
      labels: { le: number(bound) },
      value: this.#counts[index] ?? this.#count
    }))
    return [...buckets, { suffix: '_sum', value: this.#sum }, { suffix: '_count', value: this.#count }]
  }
}
