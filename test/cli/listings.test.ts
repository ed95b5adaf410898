import t from 'tap'
import type { RunEnd } from '../../src/daemon/control-codec.ts'
import type { JobResult, PeerResult, StatusResult, WhyResult } from '../../src/daemon/control-results.ts'
import { fakeDaemon, kappa } from './fake-daemon.ts'

const STATUS: StatusResult = {
  name: 'desktop',
  peerId: '12D3desktop',
  version: '0.1.0',
  addresses: ['/ip4/192.168.1.5/tcp/5277'],
  metric: 312.4,
  static: 1.046,
  load: { runnable: 0.2, idleCores: 3.9, cores: 4 },
  slots: { total: 8, used: 1 },
  refuses: null,
  paused: false,
  plainOnly: null,
  placement: { strategy: 'kappa', information: 'max-propagation' },
  neighbours: [
    {
      name: 'nas',
      peerId: '12D3nas',
      kind: 'own',
      connected: true,
      metric: 80,
      trust: 1,
      via: '/ip4/192.168.1.7/tcp/5277',
      roundTripMs: 0.4,
      traffic: { sent: 1_000, received: 2_000 },
      version: '0.0.9',
      refuses: null,
      plainOnly: 'plain only, no /dev/fuse'
    },
    {
      name: 'evil\x1b[2J',
      peerId: '12D3evil',
      kind: 'friend',
      connected: false,
      metric: null,
      trust: 1,
      via: null,
      roundTripMs: null,
      traffic: null,
      version: null,
      refuses: null,
      plainOnly: null
    }
  ],
  reachable: [
    {
      ...{ peerId: '12D3nas', name: 'nas', metric: 80, trust: 1, hops: 1, ageMs: 400, through: null, via: null },
      slots: { total: 4, used: 1 }
    }
  ],
  lastJobs: [{ target: 'nas', reason: 'better', count: 7 }]
}

const JOB: JobResult = {
  id: 'j7fa',
  state: 'exited',
  argv: ['sh', '-c', "echo 'a b'\n"],
  target: 'nas',
  home: 'desktop',
  startedAt: 1_000,
  endedAt: 4_500,
  exitCode: 3,
  signal: null,
  detached: false
}

t.test('status', async (t) => {
  const directory = await fakeDaemon(t, { status: () => STATUS })
  const { stdout } = await kappa(directory, ['status'])
  t.notMatch(stdout, '\x1b', 'neither colours in a pipe nor what others sent')
  t.equal(
    stdout,
    `name       desktop (12D3desktop)
addresses  /ip4/192.168.1.5/tcp/5277
metric     312 (speed 1.05)
load       3.9 of 4 cores idle, 0.2 tasks compete
lends      1 of 8 slots in use

NEIGHBOUR      KIND    METRIC  VIA
nas            own     80      /ip4/192.168.1.7/tcp/5277  plain only, no /dev/fuse; runs kappa 0.0.9
evil\\u{1b}[2J  friend  -       -                          away

THE LAST 7 JOBS     WHY
nas              7  better
`
  )
  t.strictSame(JSON.parse((await kappa(directory, ['status', '--json'])).stdout), STATUS)
})

t.test('status of machines that are reached through others', async (t) => {
  const [nas] = STATUS.reachable
  const attic = { peerId: '12D3attic', name: 'attic', metric: 70, hops: 2, ageMs: 900, through: 'nas', via: null }
  const directory = await fakeDaemon(t, {
    status: () => ({
      ...STATUS,
      reachable: [
        nas,
        attic,
        { ...attic, peerId: 'b', name: 'barn', via: '/ip4/192.168.2.7/tcp/5277/p2p/12D3barn' },
        { ...attic, peerId: 'c', name: 'cave', via: '/p2p/12D3nas/p2p-circuit/p2p/12D3cave' }
      ]
    })
  })
  const { stdout } = await kappa(directory, ['status'])
  t.match(
    stdout,
    `
FURTHER AWAY  METRIC  HOPS  THROUGH  VIA                        AGE
attic         70      2     nas      -                          900 ms
barn          70      2     nas      /ip4/192.168.2.7/tcp/5277  900 ms
cave          70      2     nas      relayed                    900 ms
`
  )
})

t.test('peers', async (t) => {
  const peer: PeerResult = {
    peerId: '12D3nas',
    name: 'nas',
    kind: 'own',
    state: 'paired',
    connected: true,
    addresses: ['/ip4/1.2.3.4/tcp/1'],
    canWake: true
  }
  const asked: unknown[] = []
  const directory = await fakeDaemon(t, {
    peers: () => [peer, { ...peer, name: 'tv', state: 'pending', addresses: [] }],
    'peer-set': (_, params) => {
      asked.push(params)
      return []
    }
  })
  t.equal(
    (await kappa(directory, ['peers'])).stdout,
    `NAME  KIND  STATE          PEER ID  ADDRESS
nas   own   connected      12D3nas  /ip4/1.2.3.4/tcp/1
tv    own   not confirmed  12D3nas  -
`
  )
  const lines = (await kappa(directory, ['peers', '--json'])).stdout.trim().split('\n')
  t.strictSame(JSON.parse(lines[0]!), peer)
  t.equal(lines.length, 2)
  t.match(await kappa(directory, ['peers', 'nas', '--friend', '--name', 'attic']), { code: 0, stdout: '' })
  t.strictSame(asked, [{ peer: 'nas', kind: 'friend', name: 'attic' }])
})

t.test('ps', async (t) => {
  const running: JobResult = { ...JOB, id: 'k2bb', state: 'running', argv: ['make'], exitCode: null }
  const killed: JobResult = { ...JOB, id: 'm3cc', exitCode: null, signal: 'SIGTERM', target: null }
  let asked: unknown
  const directory = await fakeDaemon(t, {
    ps: (_, params) => {
      asked = params
      return [running, JOB, killed]
    }
  })
  t.equal(
    (await kappa(directory, ['ps'])).stdout,
    `JOB   STATE       ON   TIME  COMMAND
k2bb  running     nas  3 s   make
j7fa  exited 3    nas  3 s   sh -c 'echo '\\''a b'\\''\\u{a}'
m3cc  by SIGTERM  -    3 s   sh -c 'echo '\\''a b'\\''\\u{a}'
`
  )
  const lines = (await kappa(directory, ['ps', '--guests', '--json'])).stdout.trim().split('\n')
  t.strictSame(
    lines.map((line) => JSON.parse(line)),
    [running, JOB, killed]
  )
  t.strictSame(asked, { guests: true })
})

t.test('why', async (t) => {
  const why: WhyResult = {
    ...JOB,
    reason: 'nas is 3.1 times better',
    candidates: [
      { peerId: '1', name: 'desktop', metric: 25.6, hops: 1, ageMs: 10 },
      { peerId: '2', name: 'tv', metric: 0, hops: 2, via: 'nas', ageMs: 3_000, lacks: 'no sandbox' }
    ],
    hops: ['attic', 'nas'],
    refusals: [{ peerId: '3', name: 'attic', code: 'slots', reason: 'all slots are taken' }],
    timesMs: { placed: 1.4, ran: 3_000 },
    error: null
  }
  const directory = await fakeDaemon(t, { why: () => why })
  t.equal(
    (await kappa(directory, ['why', 'j7'])).stdout,
    `j7fa: sh -c 'echo '\\''a b'\\''\\u{a}'
on nas: nas is 3.1 times better; exited 3
by way of attic
placed 1 ms, ran 3 s

CONSIDERED  METRIC  HOPS      AGE    LACKS
desktop     26      1         10 ms
tv          0       2 by nas  3 s    no sandbox

REFUSED  BECAUSE
attic    all slots are taken
`
  )
  t.strictSame(JSON.parse((await kappa(directory, ['why', '--json', 'j7'])).stdout), why)
})

t.test('kill, pause, resume and unpair ask for the right thing', async (t) => {
  const asked: unknown[] = []
  const note = (name: string, result: object) => (_: unknown, params: unknown) => {
    asked.push([name, params])
    return result
  }
  const directory = await fakeDaemon(t, {
    kill: note('kill', {}),
    pause: note('pause', { until: null, ended: 0, running: 2 }),
    resume: note('resume', {}),
    unpair: note('unpair', { told: false })
  })
  const commands = [
    ['kill', 'j7f'],
    ['kill', '-9', 'j7f', 'k2b'],
    ['kill', '-INT', 'j7f'],
    ['kill', '--signal=SIGHUP', 'j7f'],
    ['pause', '--for', '1.5h'],
    ['pause', '--now'],
    ['resume'],
    ['unpair', 'nas']
  ]
  for (const command of commands) t.match(await kappa(directory, command), { code: 0, stderr: '' }, command.join(' '))
  t.strictSame(asked, [
    ['kill', { job: 'j7f', signal: 15 }],
    ['kill', { job: 'j7f', signal: 9 }],
    ['kill', { job: 'k2b', signal: 9 }],
    ['kill', { job: 'j7f', signal: 2 }],
    ['kill', { job: 'j7f', signal: 1 }],
    ['pause', { now: false, forMs: 5_400_000 }],
    ['pause', { now: true }],
    ['resume', {}],
    ['unpair', { peer: 'nas' }]
  ])
})

t.test('kill says when the signal has to wait', async (t) => {
  const directory = await fakeDaemon(t, { kill: () => ({ id: 'j7fa', waitsFor: 'nas\x1b[31m' }) })
  t.match(await kappa(directory, ['kill', 'j7']), {
    code: 0,
    stdout: '',
    stderr: "kappa: nas\\u{1b}[31m can't be reached now: j7fa gets the signal when it is back\n"
  })
})

t.test('wait exits as run would have, and as the last of several', async (t) => {
  const told: Record<string, RunEnd> = {
    ended: { exitCode: 7, signal: null },
    killed: { exitCode: null, signal: 'SIGTERM' },
    lost: { exitCode: null, signal: null, status: 123, message: 'the job is lost' }
  }
  const directory = await fakeDaemon(t, {
    wait: (_, params) => ({ job: JOB, told: told[(params as { job: string }).job] })
  })
  t.match(await kappa(directory, ['wait', 'ended']), { code: 7, stdout: '', stderr: '' })
  t.match(await kappa(directory, ['wait', 'ended', 'killed']), { code: 143, stdout: '', stderr: '' })
  t.match(await kappa(directory, ['wait', 'killed', 'lost']), { code: 123, stderr: 'kappa: the job is lost\n' })
  const { stdout } = await kappa(directory, ['wait', '--json', 'lost', 'ended'])
  t.same(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [JOB, JOB]
  )
})
