import t from 'tap'
import type { CheckId, Facts, Verdict } from '../../../src/daemon/doctor/checks.ts'
import { examine } from '../../../src/daemon/doctor/examination.ts'
import {
  FAMILIES,
  type Family,
  FIREWALLS,
  familyOf,
  MENDS,
  type MendName,
  mend,
  systemName
} from '../../../src/daemon/doctor/mends.ts'
import { FINE, probesOf } from './facts.ts'

type Changes = { [Id in CheckId]?: Partial<Facts[Id]> | Facts[Id] }

const NO = { ok: false, reason: 'unshare: Operation not permitted', mend: 'see which step failed' } as const
const settings = (changes: Partial<Facts['sandbox']['settings']>) => ({ ...FINE.sandbox.settings, ...changes })
const noFiles = { reason: 'no /dev/fuse', mend: 'modprobe fuse' }

async function look(changes: Changes, family: Family = 'debian', root = false) {
  return examine(probesOf(changes), { family, root })
}

t.test('a machine on which all is in order', async (t) => {
  const { checks, isNews } = await look({})
  t.same(
    checks.filter(({ verdict }) => verdict !== 'ok'),
    []
  )
  t.ok(checks.every(({ lost, mend, found }) => lost === null && mend.length === 0 && found !== ''))
  t.equal(isNews, false)
})

/** Check, what is wrong, verdict, what is said, the first command on Debian, Fedora and Arch; one for all where it is one. */
const FAULTS: [CheckId, Changes, Verdict, RegExp, (string | RegExp)[]][] = [
  ['programs', { programs: { missing: ['setpriv', 'awk'] } }, 'failure', /setpriv, awk/, [/apt-get/, /dnf/, /pacman/]],
  [
    'sandbox',
    { sandbox: { now: NO, settings: settings({ inKernel: false }) } },
    'failure',
    /no user namespaces/,
    [/^#/]
  ],
  [
    'sandbox',
    { sandbox: { now: NO, settings: settings({ most: 0 }) } },
    'failure',
    /max_user_namespaces is 0/,
    ["echo 'user.max_user_namespaces = 16384' | sudo tee /etc/sysctl.d/60-kappa-namespaces.conf"]
  ],
  [
    'sandbox',
    { sandbox: { now: NO, settings: settings({ isForbidden: true }) } },
    'failure',
    /unprivileged_userns_clone is 0/,
    [/kernel.unprivileged_userns_clone = 1/]
  ],
  [
    'sandbox',
    { sandbox: { now: NO, settings: settings({ isRestricted: true }) } },
    'failure',
    /AppArmor/,
    [
      /abi <abi\/4\.0>[\s\S]*profile kappa "\/usr\/lib\/kappa\/node" flags=\(unconfined\) \{[\s\S]*userns,[\s\S]*apparmor_parser -r/
    ]
  ],
  [
    'sandbox',
    { sandbox: { now: NO, container: 'docker', isFiltered: true } },
    'failure',
    /container forbids/,
    [/--seccomp > [\s\S]*docker run --security-opt seccomp=kappa-seccomp\.json/]
  ],
  ['sandbox', { sandbox: { now: NO, container: 'podman', isFiltered: true } }, 'failure', /container/, [/podman run/]],
  ['sandbox', { sandbox: { now: NO, container: 'lxc' } }, 'failure', /container/, [/security\.nesting=true/]],
  ['sandbox', { sandbox: { now: NO, isFiltered: true } }, 'failure', /container/, [/^#/]],
  ['sandbox', { sandbox: { now: NO } }, 'failure', /Operation not permitted/, []],
  [
    'sandbox',
    { sandbox: { unsandboxed: true } },
    'warning',
    /without one/,
    ['kappa config set guests.unsandboxed false']
  ],
  ['terminals', { terminals: { now: NO } }, 'failure', /no sandbox/, []],
  ['terminals', { terminals: { now: { ok: true, noTerminals: 'no devpts' } } }, 'warning', /no devpts/, []],
  [
    'files',
    { files: { now: noFiles, device: 'none', inKernel: false } },
    'failure',
    /no \/dev\/fuse/,
    ['sudo modprobe fuse']
  ],
  [
    'files',
    { files: { now: noFiles, device: 'none' } },
    'failure',
    /no \/dev\/fuse/,
    ['sudo mknod -m 666 /dev/fuse c 10 229']
  ],
  [
    'files',
    { files: { now: noFiles, device: 'none', container: 'docker' } },
    'failure',
    /container/,
    [/--device \/dev\/fuse/]
  ],
  ['files', { files: { now: noFiles, device: 'closed' } }, 'failure', /not open to all/, ['sudo chmod 666 /dev/fuse']],
  ['files', { files: { now: { ...noFiles, reason: 'mount failed' } } }, 'failure', /mount failed/, []],
  [
    'files',
    { files: { now: { ...noFiles, reason: 'mount failed' }, container: 'podman' } },
    'failure',
    /mount failed/,
    [/podman/]
  ],
  ['files', { files: { now: noFiles, inSandbox: false } }, 'failure', /no sandbox/, []],
  [
    'groups',
    { groups: { memory: false, processes: false } },
    'warning',
    /none of their own \(v2\) for memory, processes$/,
    ['kappa service install']
  ],
  [
    'groups',
    { groups: { version: 0, memory: false, processes: false } },
    'warning',
    /there are none/,
    ['kappa service install']
  ],
  [
    'groups',
    { groups: { version: 1, memory: false } },
    'warning',
    /\(v1\)/,
    [/sed .*unified_cgroup/, /grubby/, /grub/]
  ],
  ['groups', { groups: { memory: false, container: 'docker' } }, 'warning', /memory/, [/docker update/]],
  ['keyring', { keyring: { perl: false } }, 'warning', /perl is missing/, [/apt-get/, /dnf/, /pacman/]],
  [
    'lending',
    { lending: { cause: 'paused', refuses: 'its owner paused lending' } },
    'warning',
    /paused/,
    ['kappa resume']
  ],
  [
    'lending',
    { lending: { cause: 'lend', refuses: 'does not lend' } },
    'warning',
    /lend/,
    ['kappa config set lend true']
  ],
  [
    'lending',
    { lending: { cause: 'battery', refuses: 'battery' } },
    'warning',
    /battery/,
    ['kappa config set guests.on_battery true']
  ],
  ['lending', { lending: { cause: 'unsafe', refuses: 'x' } }, 'failure', /no sandbox/, []],
  ['lending', { lending: { slots: 0 } }, 'warning', /slots is 0/, ['kappa config set slots 8']],
  [
    'addresses',
    { addresses: { addresses: [] } },
    'failure',
    /only this machine itself/,
    [/kappa config set listen '\["0\.0\.0\.0:5277"/]
  ],
  ['addresses', { addresses: { addresses: [], hasNetwork: false } }, 'failure', /no address/, [/^#/]],
  [
    'addresses',
    { addresses: { addresses: ['/ip4/172.17.0.2/tcp/5277'], container: 'docker' } },
    'warning',
    /container's own/,
    [/announce/]
  ],
  ['firewall', { firewall: { active: 'ufw' } }, 'warning', /ufw is active/, [/ufw/, /firewall-cmd/, /nft/]],
  ['mdns', { mdns: { wanted: false } }, 'warning', /mdns is false/, ['kappa config set mdns true']],
  [
    'mdns',
    { mdns: { hearsItself: false } },
    'warning',
    /5353/,
    [/ufw allow 5353\/udp/, /--add-service=mdns/, /nft .*5353/]
  ],
  [
    'disk',
    { disk: { freeBytes: 2 ** 29 } },
    'warning',
    /^512 MiB are free/,
    [/apt-get clean[\s\S]*files\.cache '256 MiB'/, /dnf clean/, /pacman -Scc/]
  ],
  ['disk', { disk: { freeBytes: 2 ** 20 } }, 'failure', /^1 MiB/, [/apt-get clean/, /dnf clean/, /pacman -Scc/]],
  [
    'inotify',
    { inotify: [{ key: 'fs.inotify.max_user_watches', value: 8192, needed: 65_536 }] },
    'warning',
    /is 8192, fewer than 65536/,
    [/60-kappa-fs-inotify-max-user-watches\.conf[\s\S]*sudo sysctl -w fs\.inotify\.max_user_watches=65536/]
  ],
  ['page', { page: { pageSize: 16_384 } }, 'warning', /16 KiB/, [/kernel8\.img/, /dnf/, /pacman/]],
  ['sleep', { sleep: { hasBus: false } }, 'warning', /no system bus/, [/apt-get/, /dnf/, /pacman/]],
  ['boot', { boot: { installed: false } }, 'warning', /first command/, ['kappa service install']],
  ['boot', { boot: { installed: false, systemd: false } }, 'warning', /no systemd/, ['kappa service install']],
  ['boot', { boot: { lingers: false } }, 'warning', /log in/, ['kappa service install']]
]

for (const [id, changes, verdict, found, commands] of FAULTS) {
  t.test(`${id}: ${JSON.stringify(changes[id])}`.slice(0, 100), async (t) => {
    for (const [index, family] of (['debian', 'fedora', 'arch'] as const).entries()) {
      const { checks, isNews } = await look(changes, family)
      const check = checks.find((one) => one.id === id)!
      t.match(check, { verdict, found })
      t.ok(check.lost, 'what is lost is told')
      const expected = commands[index] ?? commands[0]
      const typed = check.mend.join('\n')
      if (expected === undefined) t.equal(typed, '')
      else if (typeof expected === 'string') t.equal(check.mend[0], expected)
      else t.match(typed, expected)
      t.same(
        checks.filter((one) => one.verdict !== 'ok').map((one) => one.id),
        [id],
        'and nothing else'
      )
      t.equal(isNews, false)
    }
  })
}

t.test('every check can fail', async (t) => {
  t.same([...new Set(FAULTS.map(([id]) => id))].toSorted(), Object.keys(FINE).toSorted())
})

t.test('what works now and did not when the daemon started is news, and in order', async (t) => {
  const late: Changes[] = [
    { sandbox: { before: false } },
    { terminals: { before: false } },
    { files: { before: false } },
    { mdns: { before: false } },
    { addresses: { isNews: true } }
  ]
  for (const changes of late) {
    const { checks, isNews } = await look(changes)
    t.same(
      checks.filter(({ verdict }) => verdict !== 'ok'),
      [],
      JSON.stringify(changes)
    )
    t.equal(isNews, true)
  }
})

t.test('nothing is made of what is none of kappa’s business', async (t) => {
  const fine: Changes[] = [
    { firewall: { active: 'ufw', cameIn: true } },
    { addresses: { addresses: ['/ip4/172.17.0.2/tcp/5277'], container: 'docker', isAnnounced: true } },
    { addresses: { addresses: ['/ip4/172.17.0.2/tcp/5277'] } },
    { groups: { memory: false, container: 'docker', isBounded: true } },
    { sleep: { hasBus: false, container: 'docker' } },
    { boot: { installed: false, isOwnPeer: false } },
    { sandbox: { settings: settings({ isRestricted: true, isForbidden: true }) } },
    { inotify: [] }
  ]
  for (const changes of fine) {
    const { checks } = await look(changes)
    t.same(
      checks.filter(({ verdict }) => verdict !== 'ok'),
      [],
      JSON.stringify(changes)
    )
  }
})

t.test('a probe that fails is a check that could not be made', async (t) => {
  const probes = probesOf()
  probes.disk = () => {
    throw new Error('EIO')
  }
  const { checks } = await examine(probes, { family: 'debian', root: false })
  t.match(
    checks.find(({ id }) => id === 'disk'),
    { verdict: 'warning', found: 'it could not be looked at: EIO' }
  )
})

t.test('mends hold for each family and firewall; root needs no sudo', async (t) => {
  const values = { key: 'a.b', value: 1, file: 'x', program: '/n', port: 5277, name: 'box', cores: 2, cache: 64 }
  for (const name of Object.keys(MENDS) as MendName[]) {
    for (const family of FAMILIES) {
      for (const firewall of [undefined, ...FIREWALLS]) {
        const lines = mend(name, { family, firewall, root: false }, values)
        t.ok(lines.length > 0 && !/\{[a-z]+\}/.test(lines.join()), `${name} on ${family}`)
        t.notMatch(mend(name, { family, firewall, root: true }, values).join('\n'), /sudo/)
      }
    }
  }
  const docker = (root: boolean) => mend('docker', { family: 'debian', root }, values).join()
  t.match(docker(true), /docker run --user 1000:1000 --security-opt/)
  t.notMatch(docker(false), /--user/)
  t.throws(() => mend('open-tcp', { family: 'debian', root: false }), TypeError, 'a value that nobody gave')
})

t.test('distributions by /etc/os-release', async (t) => {
  const release = (text: string) => [familyOf(text), systemName(text)]
  t.same(release('PRETTY_NAME="Ubuntu 24.04.1 LTS"\nNAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n'), [
    'debian',
    'Ubuntu 24.04.1 LTS'
  ])
  t.same(release('NAME=Fedora\nID=fedora\n'), ['fedora', 'Fedora'])
  t.same(release('ID="rocky"\nID_LIKE="rhel centos fedora"\nPRETTY_NAME="Rocky Linux 9"'), ['fedora', 'Rocky Linux 9'])
  t.same(release("ID='arch'\nPRETTY_NAME='Arch Linux'"), ['arch', 'Arch Linux'])
  t.same(release('ID=manjaro\nID_LIKE=arch\nNAME="Manjaro Linux"'), ['arch', 'Manjaro Linux'])
  t.same(release('ID=nixos\nNAME=NixOS'), ['other', 'NixOS'])
  t.same(release(''), ['other', 'Linux'])
})
