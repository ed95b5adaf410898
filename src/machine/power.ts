/** Whether this machine runs on its battery. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const SUPPLIES = '/sys/class/power_supply'

/**
 * True when a battery of the machine itself is being discharged and no mains are there. Batteries of mice and the like
 * don't count; without any battery, or where nothing can be read, it is false.
 */
export function onBattery(directory: string = SUPPLIES): boolean {
  let discharging = false
  for (const name of supplies(directory)) {
    const read = (file: string) => readQuietly(join(directory, name, file))
    const type = read('type')
    if (type === 'Battery') discharging ||= read('status') === 'Discharging' && read('scope') !== 'Device'
    else if (read('online') === '1') return false
  }
  return discharging
}

function supplies(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function readQuietly(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return undefined
  }
}
