/** Where numbers lie along an axis, and which of them are written beside it. */

export interface Axis {
  /** With its unit. */
  label: string
  scale: 'linear' | 'log'
  least: number
  most: number
  /** Instead of round numbers: places that have names, such as topologies; in one or two lines. */
  names?: readonly { at: number; name: string }[]
}

export interface Tick {
  at: number
  text: string
}

/** Ticks that fit on an axis, about. */
const TICKS = 6
const ROUND_STEPS = [1, 2, 2.5, 5, 10]

/** 0 at the least, 1 at the most; beyond both outside of that. */
export function positionOn({ scale, least, most }: Axis, value: number): number {
  if (scale === 'linear') return (value - least) / (most - least)
  return Math.log(value / least) / Math.log(most / least)
}

export function ticksOf(axis: Axis): Tick[] {
  if (axis.names !== undefined) return axis.names.map(({ at, name }) => ({ at, text: name }))
  const places = axis.scale === 'linear' ? linearTicks(axis) : logTicks(axis)
  return places.map((at) => ({ at, text: textOf(at) }))
}

/** Without trailing zeros, and without what rounding errors leave. */
function textOf(value: number): string {
  return String(Number(value.toPrecision(6)))
}

function linearTicks({ least, most }: Axis): number[] {
  const rough = (most - least) / TICKS
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ROUND_STEPS.find((round) => round * power >= rough * 0.999)! * power
  const first = Math.ceil(least / step - 1e-9)
  const last = Math.floor(most / step + 1e-9)
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step)
}

/** Over several powers of ten only these; over less also what is between. */
function logTicks(axis: Axis): number[] {
  const powers = Math.log10(axis.most / axis.least)
  if (powers < 0.5) return linearTicks(axis).filter((at) => at > 0)
  const between = powers < 1.5 ? [1, 1.5, 2, 3, 5, 7] : powers < 3 ? [1, 2, 5] : [1]
  const places: number[] = []
  for (let power = Math.floor(Math.log10(axis.least)); power <= Math.ceil(Math.log10(axis.most)); power++) {
    places.push(...between.map((factor) => factor * 10 ** power))
  }
  return places.filter((at) => at >= axis.least * 0.999 && at <= axis.most * 1.001)
}
