/**
 * What mends what: commands as they are typed, for each family of distributions, with `{names}` for what was found. `sudo`
 * goes where the daemon is root. Lines that begin with # tell what no command can do.
 */

/** By /etc/os-release, with whatever is like them. */
export const FAMILIES = ['debian', 'fedora', 'arch', 'other'] as const
export type Family = (typeof FAMILIES)[number]

/** What lets connections in, or not. */
export const FIREWALLS = ['ufw', 'firewalld', 'nftables', 'iptables'] as const
export type Firewall = (typeof FIREWALLS)[number]

type PerFamily = Readonly<Record<Family, readonly string[]>>
type PerFirewall = Readonly<Record<Firewall, readonly string[]>>
type Mend = readonly string[] | PerFamily | PerFirewall

/** What a family has unless something else is found. */
const USUAL_FIREWALL: Readonly<Record<Family, Firewall>> = {
  debian: 'ufw',
  fedora: 'firewalld',
  arch: 'nftables',
  other: 'iptables'
}

const UNTIL_BOOT = '# until the next boot: keep it as you keep your other rules'

export const MENDS = {
  programs: {
    debian: ['sudo apt-get install -y util-linux mount coreutils mawk'],
    fedora: ['sudo dnf install -y util-linux coreutils gawk'],
    arch: ['sudo pacman -S --needed --noconfirm util-linux coreutils gawk'],
    other: ['# install util-linux 2.36 or later, coreutils and mawk, gawk or busybox']
  },
  perl: {
    debian: ['sudo apt-get install -y perl-base'],
    fedora: ['sudo dnf install -y perl-interpreter'],
    arch: ['sudo pacman -S --needed --noconfirm perl'],
    other: ['# install perl']
  },
  bus: {
    debian: ['sudo apt-get install -y dbus systemd'],
    fedora: ['sudo dnf install -y dbus-broker systemd'],
    arch: ['sudo pacman -S --needed --noconfirm dbus systemd'],
    other: ['# run a system bus (dbus) and logind (systemd or elogind)']
  },
  /** A setting of the kernel: `{key}` to `{value}`, kept in a file of its own. */
  setting: ["echo '{key} = {value}' | sudo tee /etc/sysctl.d/60-kappa-{file}.conf", 'sudo sysctl -w {key}={value}'],
  'user-namespaces': ['# boot a kernel with CONFIG_USER_NS=y: those of Debian, Ubuntu, Fedora and Arch have it'],
  /** Ubuntu 23.10 and later. It allows them to kappa alone, where allowing them to `unshare` would to everybody. */
  apparmor: [
    "printf '%s\\n' 'abi <abi/4.0>,' 'include <tunables/global>' '' \\",
    `  'profile kappa "{program}" flags=(unconfined) {' '  userns,' '' '  include if exists <local/kappa>' '}' \\`,
    '  | sudo tee /etc/apparmor.d/kappa',
    'sudo apparmor_parser -r /etc/apparmor.d/kappa'
  ],
  docker: [
    'kappa doctor --seccomp > kappa-seccomp.json',
    // Without the capabilities that a container lacks even root can't make what guests of a root daemon need.
    'docker run {user}--security-opt seccomp=kappa-seccomp.json --security-opt apparmor=unconfined --security-opt systempaths=unconfined --device /dev/fuse --publish {port}:{port} … # as before'
  ],
  podman: [
    'kappa doctor --seccomp > kappa-seccomp.json',
    'podman run --security-opt seccomp=kappa-seccomp.json --security-opt label=disable --security-opt unmask=ALL --device /dev/fuse --publish {port}:{port} … # as before'
  ],
  lxc: [
    '# on the machine that runs this container:',
    'incus config set {name} security.nesting=true && incus restart {name}'
  ],
  container: ['# let this container make user namespaces, mount in them, and have /dev/fuse'],
  unsandboxed: ['kappa config set guests.unsandboxed false'],
  'fuse-module': ['sudo modprobe fuse', 'echo fuse | sudo tee /etc/modules-load.d/fuse.conf'],
  'fuse-device': ['sudo mknod -m 666 /dev/fuse c 10 229'],
  'fuse-closed': [
    'sudo chmod 666 /dev/fuse',
    `[ ! -d /etc/udev/rules.d ] || echo 'KERNEL=="fuse", MODE="0666"' | sudo tee /etc/udev/rules.d/60-kappa-fuse.rules`
  ],
  service: ['kappa service install'],
  'cgroup-v2': {
    debian: [
      `sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub`,
      'sudo update-grub && sudo systemctl reboot'
    ],
    fedora: ['sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1 && sudo systemctl reboot'],
    arch: [
      `sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub`,
      'sudo grub-mkconfig -o /boot/grub/grub.cfg && sudo systemctl reboot'
    ],
    other: ['# boot with cgroup version 2 alone: systemd.unified_cgroup_hierarchy=1']
  },
  'container-limits': ['docker update --memory 4g --memory-swap 4g --pids-limit 4096 {name}'],
  resume: ['kappa resume'],
  lend: ['kappa config set lend true'],
  battery: ['kappa config set guests.on_battery true'],
  slots: ['kappa config set slots {cores}'],
  listen: [`kappa config set listen '["0.0.0.0:{port}", "[::]:{port}"]'`],
  network: ['# connect this machine to the network'],
  announce: [
    `kappa config set announce '["/ip4/ADDRESS/tcp/{port}"]'   # that of the machine that runs this container`,
    '# or: docker run --network host …'
  ],
  'open-tcp': {
    ufw: ['sudo ufw allow {port}/tcp'],
    firewalld: ['sudo firewall-cmd --permanent --add-port={port}/tcp', 'sudo firewall-cmd --reload'],
    nftables: ['sudo nft insert rule inet filter input tcp dport {port} accept', UNTIL_BOOT],
    iptables: ['sudo iptables -I INPUT -p tcp --dport {port} -j ACCEPT', UNTIL_BOOT]
  },
  'open-mdns': {
    ufw: ['sudo ufw allow 5353/udp'],
    firewalld: ['sudo firewall-cmd --permanent --add-service=mdns', 'sudo firewall-cmd --reload'],
    nftables: ['sudo nft insert rule inet filter input udp dport 5353 accept', UNTIL_BOOT],
    iptables: ['sudo iptables -I INPUT -p udp --dport 5353 -j ACCEPT', UNTIL_BOOT]
  },
  mdns: ['kappa config set mdns true'],
  disk: {
    debian: ['sudo apt-get clean', 'sudo journalctl --vacuum-size=100M', "kappa config set files.cache '{cache} MiB'"],
    fedora: ['sudo dnf clean all', 'sudo journalctl --vacuum-size=100M', "kappa config set files.cache '{cache} MiB'"],
    arch: [
      'sudo pacman -Scc --noconfirm',
      'sudo journalctl --vacuum-size=100M',
      "kappa config set files.cache '{cache} MiB'"
    ],
    other: ["kappa config set files.cache '{cache} MiB'"]
  },
  clock: {
    debian: ['sudo apt-get install -y systemd-timesyncd', 'sudo timedatectl set-ntp true'],
    fedora: ['sudo dnf install -y chrony', 'sudo systemctl enable --now chronyd', 'sudo chronyc makestep'],
    arch: ['sudo timedatectl set-ntp true'],
    other: ['# set both clocks by NTP']
  },
  'page-size': {
    debian: [
      "echo 'kernel=kernel8.img' | sudo tee -a /boot/firmware/config.txt && sudo systemctl reboot   # a Raspberry Pi 5",
      '# elsewhere: boot a kernel with pages of 4 KiB'
    ],
    fedora: ['sudo dnf install -y kernel && sudo systemctl reboot   # instead of kernel-64k or kernel-16k'],
    arch: ['sudo pacman -S --noconfirm linux-aarch64 && sudo systemctl reboot'],
    other: ['# boot a kernel with pages of 4 KiB']
  },
  update: ['npm install --global kappa   # or the archive, or the .deb, as it was installed'],
  start: ['kappa status   # any command starts it']
} as const satisfies Record<string, Mend>

export type MendName = keyof typeof MENDS

/** What the commands depend on. */
export interface Circumstances {
  family: Family
  /** The one that is found; absent: what the family usually has. */
  firewall?: Firewall | undefined
  /** The commands are for root. */
  root: boolean
}

/** The commands, ready to be typed. Throws for a name in braces that nobody gave a value: that is a bug in the table. */
export function mend(
  name: MendName,
  { family, firewall, root }: Circumstances,
  values: Readonly<Record<string, string | number>> = {}
): string[] {
  const found: Mend = MENDS[name]
  const lines = isList(found) ? found : 'debian' in found ? found[family] : found[firewall ?? USUAL_FIREWALL[family]]
  const known: Readonly<Record<string, string | number>> = { user: root ? '--user 1000:1000 ' : '', ...values }
  return lines.map((line) => {
    const filled = line.replaceAll(/\{([a-z]+)\}/g, (_, key: string) => {
      const value = known[key]
      if (value === undefined) throw new TypeError(`the mend ${name} needs ${key}`)
      return String(value)
    })
    return root ? filled.replaceAll(/\bsudo /g, '') : filled
  })
}

function isList(value: Mend): value is readonly string[] {
  return Array.isArray(value)
}

/** Of a text of /etc/os-release. */
export function familyOf(release: string): Family {
  const [id, like] = ['ID', 'ID_LIKE'].map((key) => valueIn(release, key) ?? '')
  const words = `${id} ${like}`.split(' ')
  if (words.some((word) => ['debian', 'ubuntu', 'raspbian'].includes(word))) return 'debian'
  if (words.some((word) => ['fedora', 'rhel', 'centos'].includes(word))) return 'fedora'
  return words.includes('arch') ? 'arch' : 'other'
}

/** What the distribution calls itself. */
export function systemName(release: string): string {
  return valueIn(release, 'PRETTY_NAME') ?? valueIn(release, 'NAME') ?? 'Linux'
}

function valueIn(release: string, key: string): string | undefined {
  return new RegExp(`^${key}=(["']?)(.*)\\1$`, 'm').exec(release)?.[2]
}
