import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  CONFIGURATION_KEYS,
  configurationKey,
  devicesOf,
  guestLimits,
  loadConfiguration,
  memoryFloorBytes
} from '../../src/daemon/configuration.ts'

function load(t: Test, text: string, environment: Record<string, string> = {}) {
  return loadConfiguration(join(t.testdir({ 'kappa.toml': text }), 'kappa.toml'), environment)
}

function refuses(t: Test, text: string, message: RegExp) {
  t.throws(() => load(t, text), { name: 'ConfigurationError', exitCode: 2, message }, text)
}

t.test('without a file, or with an empty one, the defaults hold', async (t) => {
  const defaults = loadConfiguration('/nowhere/kappa.toml', {})
  t.strictSame(defaults, {
    listen: ['/ip4/0.0.0.0/tcp/5277', '/ip6/::/tcp/5277'],
    announce: [],
    mdns: true,
    wake: true,
    lend: true,
    learn: true,
    labels: [],
    machine: {},
    metric: { policy: 'product' },
    placement: { forward: 8, strategy: 'kappa' },
    metrics: {},
    log: { format: 'text', level: 'info', jobs: 'none' },
    files: { cache: '2 GiB' },
    guests: {
      unsandboxed: false,
      paths: [],
      user: 'nobody',
      nice: 19,
      on_battery: false,
      keep_awake: true,
      memory_floor: '10%',
      processes: 2048,
      disk: '50%',
      commands: [],
      output: '1 GiB',
      devices: [],
      network: 'none'
    }
  })
  t.strictSame(load(t, '# nothing yet\n'), defaults)
})

t.test('every key can be set', async (t) => {
  const text = `
    name = "desktop"
    listen = ["192.168.1.5", "[::1]:6000", "/ip4/10.0.0.1/tcp/0", "localhost:0"]
    announce = ["nas.example:5277", "10.8.0.2"]
    mdns = false
    lend = false
    learn = false
    slots = 1.5
    labels = ["gpu", "big-disk"]
    machine.cores = 0.5
    metric.policy = "paper"
    placement.forward = 2
    placement.strategy = "threshold"
    placement.information = "gossip"
    metrics.listen = "[::1]:9277"
    log.format = "json"
    log.level = "error"
    log.jobs = "ends"
    files.cache = "500 MiB"
    [guests]
    unsandboxed = true
    paths = ["/media:ro", "/srv/x y:rw"]
    user = "guest"
    nice = 5
    on_battery = true
    keep_awake = false
    memory_floor = "2 GiB"
    memory = "4 GiB"
    processes = 100
    disk = "20 GiB"
    output = "3 GiB"
    time = "12h"
    commands = ["ffmpeg", "/opt/bin/tool", "own:*", "friends:gcc", "nas:c++"]
    devices = ["gpu:/dev/nvidia0"]
    network = "full"
  `
  const configuration = load(t, text)
  t.match(configuration, {
    name: 'desktop',
    listen: ['/ip4/192.168.1.5/tcp/5277', '/ip6/::1/tcp/6000', '/ip4/10.0.0.1/tcp/0', '/ip4/127.0.0.1/tcp/0'],
    announce: ['/dns/nas.example/tcp/5277', '/ip4/10.8.0.2/tcp/5277'],
    machine: { cores: 0.5 },
    guests: { paths: ['/media:ro', '/srv/x y:rw'], network: 'full' }
  })
  for (const { key } of CONFIGURATION_KEYS) t.match(text, key.split('.').at(-1), key)
})

t.test('a key that does not exist is an error with file, line and the likely one', async (t) => {
  refuses(t, 'mdns = true\nslot = 4\n', /kappa\.toml:2: there is no key "slot"; did you mean "slots"\?$/)
  refuses(
    t,
    '\n[guests]\n# them\nnetwrok = "full"',
    /:4: there is no key "guests\.netwrok"; did you mean "guests\.network"\?/
  )
  refuses(t, 'cores = 4', /:1: there is no key "cores"; did you mean "machine\.cores"\?/)
  refuses(t, 'zzz = 4', /:1: there is no key "zzz"; see: kappa config get/)
  refuses(t, 'constructor = 1', /kappa\.toml:1: /)
})

t.test('a bad value is an error with file, line, the value and what would be right', async (t) => {
  refuses(t, '\nslots = "many"', /:2: slots is "many", it must be a number of cores, 0 or more$/)
  refuses(t, 'slots = -1', /:1: slots is -1, it must be/)
  refuses(t, 'machine.cores = 0', /:1: machine\.cores is 0, it must be a number of cores above 0/)
  refuses(t, '[guests]\n\nnetwork = "some"', /:3: guests\.network is "some", it must be "none" or "full"/)
  refuses(t, 'guests = { user = "root" }', /:1: guests\.user is "root", it must not be root/)
  refuses(t, 'guests = 3', /:1: guests is 3/)
  refuses(
    t,
    'listen = [\n  "0.0.0.0",\n  "host.example:70000"\n]',
    /:1: listen is "host\.example:70000", it must be a list of addresses of this machine/
  )
  refuses(t, 'listen = ["nas.example"]', /of this machine/)
  refuses(t, 'listen = []', /listen is \[\], it must be a list/)
  refuses(t, 'name = ""', /name is "", it must be a text of 1 to 64 printable characters/)
  refuses(t, 'name = "a\\u001b"', /printable/)
  refuses(t, 'guests.paths = ["media"]', /must be a list of absolute paths/)
  refuses(t, 'guests.nice = -1', /must be a whole number from 0 to 19/)
  refuses(t, 'placement.forward = 9', /must be a whole number from 1 to 8/)
  refuses(t, 'placement.strategy = "best"', /is "best", it must be one of "kappa", "kappa-paper", /)
  refuses(t, 'guests.memory_floor = "much"', /must be a size, such as "2 GiB"/)
  refuses(t, 'guests.memory = "all"', /must be a size, such as "4 GiB"/)
  refuses(t, 'guests.processes = 3', /must be a whole number from 16 to 1000000/)
  refuses(t, 'guests.time = "soon"', /must be a time, such as "90m"/)
  refuses(t, 'guests.devices = ["gpu:/etc/passwd"]', /must be a list of labels, each with ":" and a path in \/dev/)
  refuses(t, 'guests.devices = ["gpu:/dev/../etc/passwd"]', /a path in \/dev/)
  refuses(t, 'metrics.listen = "0.0.0.0:9277"', /must be a port of this machine itself, such as "127\.0\.0\.1:9277"/)
  refuses(t, 'metrics.listen = "127.0.0.1:0"', /must be a port/)
  refuses(t, 'log.level = "debug"', /must be "info", "warn" or "error"/)
  refuses(t, 'labels = ["a b"]', /must be a list of words/)
  refuses(t, 'mdns = 1\nlend = 2', /:1: mdns is 1, it must be true or false \(and 1 more\)/)
})

t.test('what is not TOML is an error with file and line', async (t) => {
  refuses(t, 'mdns = true\nslots = = 3', /kappa\.toml:2: this is not TOML: /)
  refuses(t, 'mdns = true\nmdns = false', /kappa\.toml:2: this is not TOML: /)
  refuses(t, 'name = "a', /kappa\.toml:1: this is not TOML: /)
})

t.test('the environment goes before the file', async (t) => {
  const environment = {
    KAPPA_NAME: 'two',
    KAPPA_LISTEN: '127.0.0.1:0,/ip6/::1/tcp/0',
    KAPPA_ANNOUNCE: '10.1.1.1 10.1.1.2'
  }
  t.match(load(t, 'name = "one"\nmdns = false', environment), {
    name: 'two',
    mdns: false,
    listen: ['/ip4/127.0.0.1/tcp/0', '/ip6/::1/tcp/0'],
    announce: ['/ip4/10.1.1.1/tcp/5277', '/ip4/10.1.1.2/tcp/5277']
  })
  t.throws(() => load(t, '', { KAPPA_LISTEN: 'nowhere:x' }), {
    name: 'ConfigurationError',
    message: /^KAPPA_LISTEN is "nowhere:x": it must be a list of addresses of this machine/
  })
})

t.test('every key says what it means', async (t) => {
  for (const { key, description } of CONFIGURATION_KEYS) t.match(description, /^\S.{10,}/, key)
  t.equal(configurationKey('guests.network').key, 'guests.network')
  t.throws(() => configurationKey('guest.network'), { name: 'UsageError', message: /did you mean "guests\.network"/ })
})

t.test('what guests may take, in bytes and ms', async (t) => {
  const limits = (text: string) => guestLimits(load(t, text), 1_000_000)
  const always = { memory: undefined, memoryFloor: 100_000, processes: 2048, disk: { share: 0.5 }, time: undefined }
  t.same(limits(''), always)
  t.same(limits('guests = { memory = "50%", disk = "3 KiB", processes = 99, time = "90m" }'), {
    ...always,
    memory: 500_000,
    disk: { bytes: 3072 },
    processes: 99,
    time: 5_400_000
  })
  t.same(limits('guests.disk = "300%"').disk, { share: 1 })
})

t.test('a label shows its devices', async (t) => {
  const configuration = load(t, 'guests.devices = ["gpu:/dev/nvidia0", "tape:/dev/st0", "gpu:/dev/dri/renderD128"]')
  t.same(devicesOf(configuration, ['gpu']), ['/dev/nvidia0', '/dev/dri/renderD128'])
  t.same(devicesOf(configuration, ['gp', 'other']), [])
})

t.test('the memory floor is a size or a part of all', async (t) => {
  const floor = (text: string) => memoryFloorBytes(load(t, `guests.memory_floor = "${text}"`), 1_000_000)
  t.equal(floor('10%'), 100_000)
  t.equal(floor('200%'), 1_000_000)
  t.equal(floor('4096'), 4_096)
  t.equal(floor('2 GiB'), 2 ** 31)
  t.equal(floor('3KiB'), 3_072)
})
