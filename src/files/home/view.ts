/** What of home's tree a target is shown, by resolved paths. */

import { lstatSync, realpathSync } from 'node:fs'
import type { PairingKind } from '../../core/types.ts'
import type { ByteString } from '../../protocols/file/bytes.ts'

/**
 * - `absent`: not shown at all
 * - `denied`: shown, and refused with EACCES
 * - `empty`: a directory in which the target has something of its own
 * - `pass`: a directory of which only what leads on is shown
 */
export type Right = 'absent' | 'denied' | 'empty' | 'pass' | 'read' | 'write'

/** Relative to the user's directory: what opens other doors, and what is nobody's business. */
export const DENIED_IN_HOME: readonly string[] = [
  '.ssh',
  '.gnupg',
  '.netrc',
  '.npmrc',
  '.pypirc',
  '.git-credentials',
  '.pgpass',
  '.my.cnf',
  '.aws',
  '.azure',
  '.kube',
  '.docker/config.json',
  '.cargo/credentials',
  '.cargo/credentials.toml',
  '.gem/credentials',
  '.m2/settings.xml',
  '.password-store',
  '.vault-token',
  '.terraform.d/credentials.tfrc.json',
  '.config/gh',
  '.config/glab-cli',
  '.config/gcloud',
  '.config/hub',
  '.config/op',
  '.config/rclone',
  '.config/sops',
  '.config/google-chrome',
  '.config/chromium',
  '.config/BraveSoftware',
  '.config/microsoft-edge',
  '.config/vivaldi',
  '.config/opera',
  '.config/Signal',
  '.config/kwalletrc',
  '.local/share/keyrings',
  '.local/share/kwalletd',
  '.local/share/TelegramDesktop',
  '.mozilla',
  '.librewolf',
  '.thunderbird',
  '.bash_history',
  '.zsh_history',
  '.local/share/fish/fish_history',
  '.python_history',
  '.psql_history',
  '.Xauthority',
  '.ICEauthority',
  'snap/firefox',
  'snap/chromium',
  '.var/app/org.mozilla.firefox'
]

/** Of the machine, which only root can read; a home whose user is root must not show them either. */
export const DENIED_IN_MACHINE: readonly string[] = [
  '/etc/shadow',
  '/etc/shadow-',
  '/etc/gshadow',
  '/etc/gshadow-',
  '/etc/ssl/private',
  '/etc/wireguard',
  '/etc/NetworkManager/system-connections',
  '/etc/krb5.keytab'
]

/** Never served: each machine has its own. */
export const NOT_FILES: readonly string[] = ['/proc', '/sys', '/dev', '/run']

/**
 * Directories of programs and libraries: what a friend's machine may read of home, and what guests see of a target, where
 * links among them (`/bin` → `usr/bin`) are made again.
 */
export const SYSTEM: readonly string[] = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/etc',
  '/opt',
  '/nix',
  '/gnu'
]

/** In a friend's view of a project: what would run at home later. */
const READ_ONLY_IN_PROJECT = ['.git/hooks', '.git/config']

export interface ViewInit {
  kind: PairingKind
  /** The user's directory. */
  home: ByteString
  /** What may be written: a friend's machine may write nothing else, an own one everything but other parts of the system. */
  project: ByteString
  /** What the user wants shown, in spite of everything. */
  shares: readonly ByteString[]
  /** More that is not shown: kappa's own directories. */
  denied: readonly ByteString[]
}

export class View {
  readonly #kind: PairingKind
  readonly #shares: readonly ByteString[]
  readonly #denied: readonly ByteString[]
  readonly #writable: readonly ByteString[]
  readonly #readable: readonly ByteString[]
  readonly #readOnly: readonly ByteString[]
  /** What a friend is shown; everything above leads there. */
  readonly #shown: readonly ByteString[]

  constructor(init: ViewInit) {
    this.#kind = init.kind
    const denied = [...DENIED_IN_HOME.map((name) => `${init.home}/${name}`), ...DENIED_IN_MACHINE, ...init.denied]
    this.#shares = both(init.shares)
    this.#denied = both(denied)
    const project = isProject(init.project, init.home) ? [init.project] : []
    this.#writable = both([...project, ...init.shares])
    const later = init.kind === 'friend' ? READ_ONLY_IN_PROJECT : []
    this.#readOnly = both(project.flatMap((top) => later.map((name) => `${top}/${name}`)))
    this.#readable = highest(both(SYSTEM))
    this.#shown = [...this.#writable, ...this.#readable, ...linksOf(SYSTEM)]
  }

  /** Among the programs and libraries, what is not read only all the same; resolved. */
  get writableInSystem(): ByteString[] {
    return highest(this.#writable.filter((path) => isIn(path, this.#readable) && realpath(path) === path))
  }

  /** Of a path without links in it. */
  right(path: ByteString): Right {
    if (isIn(path, NOT_FILES)) return NOT_FILES.includes(path) ? 'empty' : 'absent'
    if (isIn(path, this.#shares)) return 'write'
    if (isIn(path, this.#denied)) return this.#isAround(path) ? 'denied' : 'absent'
    if (isIn(path, this.#readOnly)) return 'read'
    if (isIn(path, this.#writable)) return 'write'
    if (isIn(path, this.#readable)) return 'read'
    if (this.#kind === 'own') return 'write'
    return this.#shown.some((shown) => isUnder(shown, path)) ? 'pass' : 'absent'
  }

  /** Whether what is around a path is shown, so that it may be known that there is something. */
  #isAround(path: ByteString): boolean {
    return this.#kind === 'own' || isIn(path, this.#writable) || isIn(path, this.#readable)
  }

  /** Whether something in a directory, at whatever depth, has another right than the directory itself. */
  isMixed(directory: ByteString): boolean {
    const exceptions = [NOT_FILES, this.#shares, this.#denied, this.#readable]
    if (this.#kind === 'friend') exceptions.push(this.#readOnly, this.#shown)
    return exceptions.some((paths) => paths.some((path) => path !== directory && isUnder(path, directory)))
  }
}

/** Paths as they are given and as they are resolved: either may be asked for. */
function both(paths: readonly ByteString[]): ByteString[] {
  return [...new Set(paths.flatMap((path) => [path, realpath(path)]))]
}

/** Without what is below another. */
function highest(paths: readonly ByteString[]): ByteString[] {
  return paths.filter((path) => !paths.some((other) => other !== path && isUnder(path, other)))
}

function realpath(path: ByteString): ByteString {
  try {
    return realpathSync(Buffer.from(path, 'latin1'), 'latin1')
  } catch {
    return path
  }
}

/** Links at the top, such as /bin, must be seen to be followed. */
function linksOf(paths: readonly string[]): string[] {
  return paths.filter((path) => lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink())
}

/** Neither everything nor all that the user has is a project. */
function isProject(path: ByteString, home: ByteString): boolean {
  return path !== '/' && path !== home && !isUnder(home, path)
}

export function isUnder(path: ByteString, directory: ByteString): boolean {
  if (!path.startsWith(directory)) return false
  return path.length === directory.length || directory === '/' || path[directory.length] === '/'
}

function isIn(path: ByteString, directories: readonly ByteString[]): boolean {
  for (const directory of directories) if (isUnder(path, directory)) return true
  return false
}
