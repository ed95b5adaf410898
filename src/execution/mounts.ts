/** Shell text that shows parts of this machine's tree in the root of guests. */

import { existsSync, lstatSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { KappaError } from '../errors.ts'
import { isUnder, SYSTEM } from '../files/home/view.ts'
import { quote } from './quote.ts'

/** More that is shown read-only where it exists: processors for thread pools and numeric libraries. */
export const MORE = ['/sys/devices/system']

/** Links by which some distributions find their programs. */
export const LINKS = ['/run/current-system']

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

/** Binds `source` below `root`, where guests see it or nothing, read-only with every mount inside it. */
export function bindReadOnly(source: string, mounts: readonly Mount[], root = 'r'): string {
  const target = quote(`./${root}${source}`)
  const options = readOnly('remount,bind', coverOf(source, mounts))
  return `mount --rbind ${quote(source)} ${target}\nmount -o ${options} ${target}\n${innerReadOnly(source, mounts, root)}`
}

function readOnly(how: string, mount: Mount | undefined): string {
  return `${how},ro,${lockedOptions(mount)}`.replace(/,$/, '')
}

/** For mounts in what is bound already; what can't be made read-only is covered. */
function innerReadOnly(source: string, mounts: readonly Mount[], root: string): string {
  const inner = new Map(
    mounts.filter((mount) => mount.path !== source && isUnder(mount.path, source)).map((m) => [m.path, m])
  )
  const lines = [...inner].map(([path, mount]) => {
    const target = quote(`./${root}${path}`)
    const options = readOnly('remount,bind', mount)
    return `mount -o ${options} ${target} 2>/dev/null || mount -t tmpfs -o ro,size=4k covered ${target}\n`
  })
  return lines.join('')
}

/** What is mounted where: a program for each mount would take most of the time that a root takes. */
export interface MountLine {
  source: string
  target: string
  type?: string
  options: string
}

/** All of them, in that order. Sources and targets are paths, targets from the working directory on. */
export function mountAll(lines: readonly MountLine[]): string {
  const table = lines.map(({ source, target, type = 'none', options }) =>
    quote([escapeOctal(source), escapeOctal(target), type, options, '0 0'].join(' '))
  )
  return `printf '%s\\n' ${table.join(' ')} > fstab\nmount -a -T fstab\n`
}

function escapeOctal(path: string): string {
  return path.replaceAll(/[\s\\#]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`)
}

/** Binds of the harmless devices. */
export function deviceLines(directory: string): MountLine[] {
  return DEVICES.map((name) => ({ source: `/dev/${name}`, target: `${directory}/${name}`, options: 'bind' }))
}

/** Shell text. `root`: what is in front of every path, `r` for what guests see; `before` is mounted before. */
export function makeSystem(
  mounts: readonly Mount[],
  {
    root = 'r',
    paths = [...SYSTEM, ...LINKS, ...MORE],
    before = []
  }: { root?: string; paths?: readonly string[]; before?: readonly MountLine[] } = {}
): string {
  const directories = new Set<string>()
  const lines = [...before]
  let links = ''
  let inner = ''
  for (const path of paths) {
    const entry = lstatSync(path, { throwIfNoEntry: false })
    if (entry?.isSymbolicLink()) {
      const target = Buffer.from(readlinkSync(path)).toString('latin1')
      directories.add(`./${root}${path.slice(0, path.lastIndexOf('/'))}`)
      links += `ln -s ${quote(target)} ${quote(`./${root}${path}`)}\n`
    } else if (entry?.isDirectory()) {
      directories.add(`./${root}${path}`)
      lines.push({ source: path, target: `./${root}${path}`, options: readOnly('rbind', coverOf(path, mounts)) })
      inner += innerReadOnly(path, mounts, root)
    }
  }
  return `mkdir -p ${[...directories].map(quote).join(' ')}\n${links}${mountAll(lines)}${inner}`
}

/** Where /etc/resolv.conf leads when that is outside of what guests see: a copy is put there. */
export function makeResolver(): string {
  const name = '/etc/resolv.conf'
  if (!existsSync(name)) return ''
  const target = realpathSync(name)
  if (SYSTEM.some((directory) => isUnder(target, directory))) return ''
  const link = readlinkSync(name)
  // The link may lead there in several steps; its first one is what is missing in the guests' root.
  const path = link.startsWith('/') ? link : `/etc/${link}`.replaceAll(/\/[^/]+\/\.\.(?=\/)/g, '')
  const text = readFileSync(name, 'latin1')
  return `mkdir -p ${quote(`r${path.slice(0, path.lastIndexOf('/'))}`)}\nprintf %s ${quote(text)} > ${quote(`r${path}`)}\n`
}

/** Devices that the owner shows to jobs with a label, below `root`. Throws SandboxError for what is no device. */
export function makeDevices(devices: readonly string[], root = 'r'): string {
  return devices
    .map((device) => {
      if (!isDevice(device)) throw new KappaError('SandboxError', `${device} is no device here: see guests.devices`)
      const target = quote(`${root}${device}`)
      const directory = quote(`${root}${device.slice(0, device.lastIndexOf('/'))}`)
      return `mkdir -p ${directory}\n: > ${target}\nmount --bind ${quote(device)} ${target}\n`
    })
    .join('')
}

function isDevice(path: string): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  return stats !== undefined && (stats.isCharacterDevice() || stats.isBlockDevice())
}
