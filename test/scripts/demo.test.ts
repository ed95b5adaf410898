import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import {
  aligned,
  endlessJob,
  PAPER_INCREASE,
  PAPER_PROGRAMS,
  placedJob,
  tableII,
  tableIII,
  tableOfEnds
} from '../../scripts/demo-tables.ts'
import type { WhyResult } from '../../src/daemon/control-results.ts'
import { needs } from '../require.ts'

const script = (name: string) => fileURLToPath(new URL(`../../scripts/${name}`, import.meta.url))

/** In an environment without what tap watches its processes by, which another user may not write. */
function demo(args: string[], uid?: number) {
  const options = { encoding: 'utf8', ...(uid === undefined ? {} : { uid, gid: uid }) } as const
  const { status, stdout, stderr } = spawnSync(
    'env',
    ['-i', `PATH=${process.env.PATH}`, process.execPath, script('demo.ts'), ...args],
    options
  )
  return { status, stdout, stderr }
}

function why(changes: Partial<WhyResult>): WhyResult {
  return {
    id: 'j1',
    state: 'running',
    argv: ['sh'],
    target: 'C',
    home: 'A',
    startedAt: 0,
    endedAt: null,
    exitCode: null,
    signal: null,
    detached: false,
    reason: 'C is 3.9 times better',
    candidates: [],
    hops: ['B', 'C'],
    refusals: [],
    timesMs: {},
    error: null,
    ...changes
  }
}

t.test('wrong usage ends with 2 and one line', async (t) => {
  for (const args of [['--wan'], ['lan'], ['--lan=yes']]) {
    t.match(demo(args), { status: 2, stdout: '', stderr: /^usage: npm run demo, or as root: npm run demo -- --lan\n$/ })
  }
})

t.test('emulated hosts need root, and the demo says so', async (t) => {
  const root = process.getuid!() === 0
  const nobody = root ? 65_534 : process.getuid!()
  const reads = spawnSync('test', ['-r', script('demo.ts')], { uid: nobody }).status === 0
  if (!needs(t, reads, 'a checkout that others than root can read')) return
  t.match(demo(['--lan'], root ? nobody : undefined), {
    status: 1,
    stdout: '',
    stderr: /^demo: --lan emulates machines and needs root on Linux\n$/
  })
})

t.test('tables have straight columns, numbers on the right', async (t) => {
  const rows = [
    ['one', '1', 'a'],
    ['twenty', '20 / 3', '']
  ]
  t.equal(
    aligned(['name', 'count', 'what'], rows),
    ['  name     count  what', '  one          1  a', '  twenty  20 / 3'].join('\n')
  )
})

t.test("Table II: the paper's values before ours", async (t) => {
  const program = { own: 40.9, other: 144.5, otherOnOwn: 129.5, ownOnOther: 25.9, target: 'B' }
  const [head, first, ...rest] = tableII([
    { ...program, homeMs: 4000, shippedMs: 1000 },
    { ...program, ownOnOther: undefined, homeMs: 90, shippedMs: 60 }
  ]).split('\n')
  t.match(head, /^ {2}program +sysmetric A +sysmetric B +dismetric B on A +dismetric A on B +paper ms +home ms /)
  t.match(first, /^ {2}Brute Force +37 \/ 41 +148 \/ 145 +133 \/ 130 +22 \/ 26 +2288 +4000 +1000 +4\.0x +B$/)
  t.equal(rest.length, 1)
  t.match(rest[0], / 20 \/ – /, 'what nobody knew')
  for (const { own, other, otherOnOwn, ownOnOther } of PAPER_PROGRAMS) {
    t.equal(other - otherOnOwn, own - ownOnOther, 'the constant of a hop')
  }
})

t.test('Table III: where each process went, and what home knew', async (t) => {
  const known = {
    metric: 36.6,
    reachable: [
      { name: 'C', metric: 114.5 },
      { name: 'B', metric: 21.6 }
    ]
  }
  const refusals = [{ peerId: 'c', name: 'C', code: 'not-better', reason: 'is no longer better' }]
  const gone = endlessJob(known, why({ refusals }))
  const refused = why({ target: 'A', hops: [], reason: 'idle here', refusals })
  const stayed = endlessJob({ metric: 33.5, reachable: [] }, refused)
  const lines = tableIII([gone, stayed], ['B', 'C']).split('\n')
  t.match(lines[0], /^ {2}process +in the paper +here +A +B on A +C on A +why$/)
  t.match(lines[1], /^ +1 +stays: no reply in time +to C by B +37 +22 +115 +C is 3\.9 times better$/)
  t.match(lines[2], /^ +2 +to C +stays +34 +– +– +C: is no longer better$/)
  t.equal(PAPER_INCREASE.length, 10)
})

t.test('what runs where in the end', async (t) => {
  const machines = [
    { name: 'A', loops: 5, jobs: 7, metric: 25.2 },
    { name: 'C', loops: 0, jobs: 3, metric: 47.4 }
  ]
  t.equal(
    tableOfEnds(machines),
    [
      '  machine  loops  jobs  sysmetric',
      '  A            5     7         25',
      '  C            0     3         47'
    ].join('\n')
  )
})

t.test('the job is known by what kappa run says', async (t) => {
  t.equal(placedJob('kappa: running on C: C is 3.9 times better (kappa why j7f2)\nmore\n'), 'j7f2')
  t.equal(placedJob('kappa: running here: idle here (kappa why j8)\n'), 'j8')
  t.equal(placedJob('kappa: nobody could take the job\n'), undefined)
})

t.test('the programs compute what they say', async (t) => {
  const expected = {
    'brute-force': 'the shortest trip is 293',
    exponentiate: '119998 inverses',
    primes: '25997 primes',
    'hello-world': 'hello, world'
  }
  for (const [name, output] of Object.entries(expected)) {
    const { stdout } = spawnSync('awk', ['-f', script(`demo-programs/${name}.awk`)], { encoding: 'utf8' })
    t.equal(stdout, `${output}\n`, name)
    t.match(readFileSync(script('demo-lan.ts'), 'utf8'), `${name}.awk`)
  }
})
