/** Shell text that shows parts of this machine's tree in the root of guests. */

import { lstatSync, readlinkSync } from 'node:fs'
import { KappaError } from '../errors.ts'
import { isUnder, SYSTEM } from '../files/home/view.ts'
import { quote } from './quote.ts'

/** More that is shown read-only where it exists: processors for thread pools and numeric libraries. */
export const MORE = ['/sys/devices/system']

/** Links by which some distributions find their programs. */
const LINKS = ['/run/current-system']

export const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty']

/** Shared memory of all jobs of a home together, as a share of the machine's memory. */
export const SHARED_MEMORY = '25%'

/** Of what the kernel counts for each user, in all namespaces together, guests leave the owner some. */
export const INOTIFY = { instances: 64, watches: 65_536 }

export interface Mount {
  path: string
  options: string[]
}

/** Undoes the octal escapes of /proc/self/mountinfo. */
function unescapeOctal(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/** Mounts in the order in which they were made; `text` is latin1. */
export function parseMounts(text: string): Mount[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(' ')
      return { path: unescapeOctal(fields[4] ?? ''), options: (fields[5] ?? '').split(',') }
    })
}

/** Options that the kernel locks when a mount is copied into a user namespace: a remount must repeat them. */
export function lockedOptions(mount: Mount | undefined): string {
  return ['nosuid', 'nodev', 'noexec'].filter((option) => mount?.options.includes(option)).join(',')
}

/** The mount that a path is on. */
export function coverOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  // Of two mounts on one path the later covers the earlier.
  const over = mounts.filter((mount) => isUnder(path, mount.path))
  return over.findLast((mount) => over.every((other) => other.path.length <= mount.path.length))
}

/** Binds `source` below `root`, where guests see it or nothing, read-only with every mount inside it; what can't be made read-only is covered. */
export function bindReadOnly(source: string, mounts: readonly Mount[], root = 'r'): string {
  const top = coverOf(source, mounts)
  const inner = new Map(
    mounts.filter((mount) => mount.path !== source && isUnder(mount.path, source)).map((m) => [m.path, m])
  )
  const lines = [`mount --rbind ${quote(source)} ${quote(`./${root}${source}`)}`]
  for (const [path, mount] of [[source, top] as const, ...inner]) {
    const options = `remount,bind,ro,${lockedOptions(mount)}`.replace(/,$/, '')
    const target = quote(`./${root}${path}`)
    const remount = `mount -o ${options} ${target}`
    lines.push(path === source ? remount : `${remount} 2>/dev/null || mount -t tmpfs -o ro,size=4k covered ${target}`)
  }
  return `${lines.join('\n')}\n`
}

/** `root`: what is in front of every path, `r` for what guests see. */
export function makeSystem(
  mounts: readonly Mount[],
  root = 'r',
  paths: readonly string[] = [...SYSTEM, ...LINKS, ...MORE]
): string {
  let script = ''
  for (const path of paths) {
    const entry = lstatSync(path, { throwIfNoEntry: false })
    const parent = path.slice(0, path.lastIndexOf('/'))
    if (entry?.isSymbolicLink()) {
      const target = Buffer.from(readlinkSync(path)).toString('latin1')
      script += `mkdir -p ${quote(`./${root}${parent}`)}\nln -s ${quote(target)} ${quote(`./${root}${path}`)}\n`
    } else if (entry?.isDirectory()) {
      script += `mkdir -p ${quote(`./${root}${path}`)}\n${bindReadOnly(path, mounts, root)}`
    }
  }
  return script
}

/** Devices that the owner shows to jobs with a label. Throws SandboxError for what is no device. */
export function makeDevices(devices: readonly string[]): string {
  return devices
    .map((device) => {
      if (!isDevice(device)) throw new KappaError('SandboxError', `${device} is no device here: see guests.devices`)
      const target = quote(`r${device}`)
      return `mkdir -p ${quote(`r${device.slice(0, device.lastIndexOf('/'))}`)}\n: > ${target}\nmount --bind ${quote(device)} ${target}\n`
    })
    .join('')
}

function isDevice(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  return stats !== undefined && (stats.isCharacterDevice() || stats.isBlockDevice())
}
