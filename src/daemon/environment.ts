/**
 * Which variables of the client's environment travel with a job. Entries are `NAME=value` as latin1 text, which keeps
 * every byte. Jobs that don't see home's files, in plain and staged mode, don't get what points at them; those that run the
 * target's programs among home's files don't get what says where home's programs are and how they load.
 */

import type { PairingKind } from '../core/types.ts'

/** What belongs to a machine, a login or a terminal there: patterns over names, `*` for anything. */
const OF_A_MACHINE = [
  'DISPLAY',
  'WAYLAND_*',
  'XAUTHORITY',
  'XDG_*',
  'DBUS_*',
  'SSH_*',
  'GPG_*',
  'SESSION_MANAGER',
  'DESKTOP_SESSION',
  'ICEAUTHORITY',
  'SYSTEMD_*',
  'INVOCATION_ID',
  'JOURNAL_STREAM',
  'NOTIFY_SOCKET',
  'LISTEN_*',
  'MAINPID',
  'HOSTNAME',
  'HOSTTYPE',
  'MACHTYPE',
  'DOCKER_HOST',
  'CONTAINER_HOST',
  'TMUX*',
  'STY',
  'WINDOWID',
  'SHLVL',
  '_',
  'PWD',
  'OLDPWD',
  'TTY',
  'KAPPA_*'
]

/** What says where home's programs are, and changes how programs load. */
const OF_HOMES_PROGRAMS = ['PATH', 'SHELL', 'LD_*', 'DYLD_*', 'GCONV_PATH', 'LOCPATH', 'NLSPATH', 'MALLOC_*']

/** What names files of home or changes how programs of the target load: never in plain and staged mode. */
const OF_HOMES_FILES = [
  ...OF_HOMES_PROGRAMS,
  'HOME',
  'TMPDIR',
  'TMP',
  'TEMP',
  'TEMPDIR',
  'MAIL',
  'USER',
  'LOGNAME',
  'PYTHON*',
  'VIRTUAL_ENV*',
  'CONDA*',
  'NODE_*',
  'NVM_*',
  'NPM_*',
  'npm_*',
  'PERL5*',
  'PERLLIB',
  'RUBY*',
  'GEM_*',
  'BUNDLE_*',
  'JAVA_TOOL_OPTIONS',
  '_JAVA_OPTIONS',
  'CLASSPATH',
  'GOPATH',
  'GOROOT',
  'CARGO_*',
  'RUSTUP_*',
  'PKG_CONFIG_*',
  'CPATH',
  'C_INCLUDE_PATH',
  'CPLUS_INCLUDE_PATH',
  'LIBRARY_PATH',
  'MANPATH',
  'INFOPATH',
  'BASH_ENV',
  'ENV',
  'BASH_FUNC_*',
  'SHELLOPTS',
  'BASHOPTS',
  'PS4',
  'IFS'
]

/** What looks like a secret: not shown to a friend's machine. */
const SECRETS = ['*TOKEN*', '*SECRET*', '*PASSW*', '*CREDENTIAL*', '*_KEY', 'AWS_*']

const machine = matcher(OF_A_MACHINE)
const files = matcher(OF_HOMES_FILES)
const programs = matcher(OF_HOMES_PROGRAMS)
const secret = matcher(SECRETS, 'i')

function matcher(patterns: string[], flags = ''): (name: string) => boolean {
  const alternatives = patterns.map((pattern) => pattern.replaceAll('*', '.*')).join('|')
  const expression = new RegExp(`^(?:${alternatives})$`, `s${flags}`)
  return (name) => expression.test(name)
}

/** Whether an entry `NAME=value`, as latin1, changes what a program of the target loads or runs. */
export function changesPrograms(entry: string): boolean {
  return files(nameOf(entry) ?? entry)
}

export interface TravellingEnvironment {
  entries: string[]
  /** Names of variables that look like secrets and were kept from a friend. */
  withheld: string[]
}

/** What a job sees of home: neither files nor programs, the files with its machine's programs, or all. */
export type Sight = 'nothing' | 'files' | 'all'

/**
 * What travels to a machine of that kind. `restored` are the user's `--env NAME` and `--env NAME=value`; with `none`
 * only these travel.
 */
export function travellingEnvironment(
  environment: string[],
  kind: PairingKind,
  restored: string[] = [],
  none = false,
  sight: Sight = 'nothing'
): TravellingEnvironment {
  const given = new Map<string, string>()
  const byName = new Map<string, string>()
  const withheld: string[] = []
  for (const entry of environment) {
    const name = nameOf(entry)
    if (name === undefined) continue
    byName.set(name, entry)
    if (none || machine(name) || pointsHome(name, sight)) continue
    if (kind === 'friend' && secret(name)) withheld.push(name)
    else given.set(name, entry)
  }
  for (const wish of restored) {
    const name = nameOf(wish)
    if (name !== undefined) given.set(name, wish)
    else if (byName.has(wish)) given.set(wish, byName.get(wish)!)
  }
  return { entries: [...given.values()], withheld: withheld.filter((name) => !given.has(name)) }
}

function pointsHome(name: string, sight: Sight): boolean {
  return sight === 'nothing' ? files(name) : sight === 'files' && programs(name)
}

function nameOf(entry: string): string | undefined {
  const equals = entry.indexOf('=', 1)
  return equals > 0 ? entry.slice(0, equals) : undefined
}
