/** What never ships unless it is forced: a table of commands with the reason in words. */

import { basename, innermostCommand } from './command.ts'
import type { Needs } from './types.ts'

interface Staying {
  programs: readonly string[]
  /** Only with one of these as the first argument that is no option; absent: always. */
  subcommands?: readonly string[]
  /** Follows the program's name: `sudo acts on this machine`. */
  reason: string
  /** Only when the job would see home's files through the network; staged and plain jobs bring their data along. */
  filesModeOnly?: true
}

const ACTS_HERE = 'acts on this machine'
const SHOWS_HERE = 'shows what this machine does'
const OPENS_HERE = "opens a window on this machine's screen"
const KNOWN_HERE = 'uses the keys and the known hosts of this machine'
const WAITS_FOR_DISK = 'only waits for the disk'

const STAYING: readonly Staying[] = [
  { programs: ['sudo', 'doas', 'pkexec', 'su', 'run0', 'runuser', 'login', 'newgrp', 'passwd'], reason: ACTS_HERE },
  { programs: ['systemctl', 'loginctl', 'hostnamectl', 'timedatectl', 'service', 'systemd-run'], reason: ACTS_HERE },
  {
    programs: ['shutdown', 'reboot', 'poweroff', 'halt', 'crontab', 'at', 'visudo', 'useradd', 'usermod'],
    reason: ACTS_HERE
  },
  { programs: ['apt', 'apt-get', 'dpkg', 'dnf', 'yum', 'rpm', 'pacman', 'zypper', 'apk'], reason: ACTS_HERE },
  { programs: ['snap', 'flatpak', 'brew', 'nix-env', 'emerge', 'xbps-install'], reason: ACTS_HERE },
  { programs: ['docker', 'podman', 'nerdctl', 'lxc', 'incus', 'machinectl', 'virsh', 'vagrant'], reason: ACTS_HERE },
  { programs: ['docker-compose', 'podman-compose', 'kubectl', 'minikube'], reason: ACTS_HERE },
  { programs: ['mount', 'umount', 'losetup', 'mkfs', 'fdisk', 'parted', 'swapon', 'swapoff'], reason: ACTS_HERE },
  { programs: ['ip', 'ifconfig', 'iptables', 'nft', 'nmcli', 'iw', 'ethtool', 'tc', 'ufw'], reason: ACTS_HERE },
  { programs: ['modprobe', 'insmod', 'rmmod', 'sysctl', 'udevadm', 'chroot', 'nsenter'], reason: ACTS_HERE },
  {
    programs: ['kill', 'killall', 'pkill', 'renice', 'strace', 'ltrace', 'gdb', 'perf', 'tmux', 'screen', 'logger'],
    reason: ACTS_HERE
  },
  { programs: ['ssh-add', 'ssh-agent', 'gpg-agent', 'gpg', 'pass', 'kappa'], reason: ACTS_HERE },
  {
    programs: ['cd', 'export', 'alias', 'source', 'ulimit', 'umask'],
    reason: 'is a command of the shell that it is typed in'
  },
  // Not those that merely name a machine (hostname, uname, nproc): they are how people see where a job went.
  { programs: ['ps', 'pgrep', 'top', 'htop', 'btop', 'vmstat', 'iostat'], reason: SHOWS_HERE },
  { programs: ['lsof', 'fuser', 'ss', 'netstat', 'dmesg', 'journalctl', 'who', 'w', 'last'], reason: SHOWS_HERE },
  { programs: ['lsblk', 'lspci', 'lsusb', 'sensors', 'df', 'free', 'lscpu', 'blkid'], reason: SHOWS_HERE },
  { programs: ['iotop', 'nvidia-smi', 'pidof', 'pstree', 'pmap', 'finger'], reason: SHOWS_HERE },
  {
    programs: ['xdg-open', 'firefox', 'chromium', 'google-chrome', 'code', 'gedit', 'kate', 'vlc', 'mpv'],
    reason: OPENS_HERE
  },
  { programs: ['nautilus', 'dolphin', 'evince', 'okular', 'gimp', 'inkscape', 'libreoffice'], reason: OPENS_HERE },
  { programs: ['ssh', 'mosh', 'telnet', 'sftp'], reason: KNOWN_HERE },
  { programs: ['xclip', 'xsel', 'wl-copy', 'wl-paste', 'notify-send', 'zenity'], reason: OPENS_HERE },
  {
    programs: ['git'],
    subcommands: ['status', 'diff', 'add', 'commit', 'checkout', 'switch', 'restore', 'log', 'show', 'branch', 'stash'],
    reason: WAITS_FOR_DISK,
    filesModeOnly: true
  },
  {
    programs: ['npm', 'pnpm', 'yarn', 'bun'],
    subcommands: ['ci', 'install', 'i', 'add', 'update'],
    reason: WAITS_FOR_DISK,
    filesModeOnly: true
  },
  { programs: ['pip', 'pip3'], subcommands: ['install'], reason: WAITS_FOR_DISK, filesModeOnly: true },
  {
    programs: [
      'rg',
      'grep',
      'ag',
      'find',
      'fd',
      'locate',
      'ls',
      'stat',
      'tree',
      'du',
      'cat',
      'cp',
      'mv',
      'rm',
      'ln',
      'mkdir'
    ],
    reason: WAITS_FOR_DISK,
    filesModeOnly: true
  },
  {
    programs: ['inotifywait', 'inotifywatch', 'fswatch', 'entr', 'watchexec', 'watchman', 'nodemon', 'guard'],
    reason: "watches this machine's files",
    filesModeOnly: true
  },
  { programs: ['touch', 'chmod', 'chown', 'rsync', 'sync', 'dd'], reason: WAITS_FOR_DISK, filesModeOnly: true }
]

/** Work of tools behind a shim that is over before it could be elsewhere, or that gathers what is here. */
interface SmallWork {
  /** Names of programs, after a prefix for other machines and without a version: `gcc` is `arm-none-eabi-gcc-12`, too. */
  programs: readonly string[]
  /** One of these, as a whole argument or a part of a path, or as the beginning of one when it ends with `*`. */
  arguments: readonly string[]
  reason: string
}

const ASKS = [
  '--version',
  '--help',
  '-dump*',
  '-print-*',
  '--print-*',
  '-V',
  '-vV',
  '-qversion',
  '--print',
  '--print=*'
]
const COMPILERS = ['gcc', 'g++', 'cc', 'c++', 'clang', 'clang++', 'gfortran']

const SMALL_WORK: readonly SmallWork[] = [
  {
    programs: [...COMPILERS, 'rustc', 'ffmpeg', 'xz', 'zstd', 'gzip'],
    arguments: ASKS,
    reason: 'only tells about itself'
  },
  {
    programs: ['ffmpeg', 'ffprobe'],
    arguments: ['-version', '-formats', '-codecs', '-encoders'],
    reason: 'only tells about itself'
  },
  { programs: COMPILERS, arguments: ['-E', '-M', '-MM'], reason: 'only reads what is here' },
  { programs: COMPILERS, arguments: ['conftest*', '_configtest*', '-', '/dev/null'], reason: 'tries what is here' },
  // CMake, Meson, SCons, Waf, FFmpeg.
  {
    programs: [...COMPILERS, 'rustc'],
    arguments: ['cmTC_*', 'CMakeScratch', 'CMakeTmp', 'CMakeCCompilerId*', 'CMakeCXXCompilerId*', 'meson-private'],
    reason: 'tries what is here'
  },
  {
    programs: COMPILERS,
    arguments: ['.sconf_temp', '.conf_check_*', 'ffconf.*', 'configure-test*'],
    reason: 'tries what is here'
  },
  // What is in it isn't seen, and it may be anything of the above.
  { programs: COMPILERS, arguments: ['@*'], reason: 'reads its options from a file' }
]

/** Where jobs that see home's tree see their own machine's. */
const OWN_OF_EACH = /^(?:-[a-zA-Z])?\/(?:run|proc|sys|dev)\//

/** Compilers that are given none of these link: they gather what is here. */
const COMPILES: ReadonlySet<string> = new Set(['-c', '-S'])

/** Options of compilers that make the outcome depend on the machine. */
const DEPENDS_ON_MACHINE: ReadonlySet<string> = new Set([
  '-march=native',
  '-mtune=native',
  '-mcpu=native',
  '-march=host',
  '-xHost',
  '/QxHost',
  'target-cpu=native',
  '-Ctarget-cpu=native'
])

/**
 * Why this command should stay where it was typed, as a phrase (`sudo acts on this machine`), or undefined when it may
 * ship. `files` is the mode in which the job sees home's tree through the network; `isShim`: the user did not ask for this command
 * to ship, only for such as it.
 */
export function reasonToStay(argv: readonly string[], mode: Needs['mode'], isShim = false): string | undefined {
  const [first, ...args] = innermostCommand(argv)
  if (first === undefined) return undefined
  const program = basename(first)
  const subcommand = args.find((arg) => !arg.startsWith('-'))
  const entry = STAYING.find(
    (candidate) =>
      candidate.programs.includes(program) &&
      (mode === 'files' || candidate.filesModeOnly !== true) &&
      (candidate.subcommands === undefined || (subcommand !== undefined && candidate.subcommands.includes(subcommand)))
  )
  if (entry !== undefined) return `${program} ${entry.reason}`
  const small = isShim ? smallWork(program, args, mode) : undefined
  if (small !== undefined) return `${program} ${small}`
  const native = args.find((arg) => DEPENDS_ON_MACHINE.has(arg))
  return native === undefined ? undefined : `${native} would come out different elsewhere`
}

/** What a shim need not even ask kappa about: arguments of that program, as `SmallWork` has them. */
export function smallArguments(program: string): string[] {
  const name = plainName(program)
  return SMALL_WORK.flatMap(({ programs, arguments: some }) => (programs.includes(name) ? some : []))
}

/** Without a prefix for other machines and a version. */
function plainName(program: string): string {
  return program.replace(/-\d[\d.]*$/, '').replace(/^(?:[\w.]+-)+(?=(?:gcc|g\+\+|cc|c\+\+|gfortran)$)/, '')
}

function smallWork(program: string, args: readonly string[], mode: Needs['mode']): string | undefined {
  const name = plainName(program)
  for (const { programs, arguments: some, reason } of SMALL_WORK) {
    if (programs.includes(name) && args.some((arg) => some.some((pattern) => isLike(arg, pattern)))) return reason
  }
  if (COMPILERS.includes(name) && !args.some((arg) => COMPILES.has(arg))) return 'links what is here'
  return mode === 'files' && args.some((arg) => OWN_OF_EACH.test(arg))
    ? 'names what each machine has its own of'
    : undefined
}

function isLike(arg: string, pattern: string): boolean {
  const is = pattern.endsWith('*')
    ? (word: string) => word.startsWith(pattern.slice(0, -1))
    : (word: string) => word === pattern
  return is(arg) || (!arg.startsWith('-') && arg.includes('/') && arg.split('/').some(is))
}
