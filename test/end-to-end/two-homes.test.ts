import { readFileSync } from 'node:fs'
import t from 'tap'
import type { JobResult } from '../../src/daemon/control-results.ts'
import { emulatedLan, gather, jobProcesses, longJob, pair, TestPeer, until } from './peers.ts'

const SLOTS = 2
const JOBS = 20
const { mark } = longJob()
/** Takes a part of a second of a core's time; `$1` is the mark, `$2` the job's own name. */
const SCRIPT = 'i=0; while [ "$i" -lt 150000 ]; do i=$((i+1)); done; echo "$2 ran at $' + '{KAPPA_TARGET:-home}"'

const lan = await emulatedLan(t, { hosts: 3, cores: [0.5, 0.5, 0.5] })
if (lan) {
  const peers = await Promise.all(
    ['one', 'two', 'three'].map((name, host) => TestPeer.start(t, { name, lan, host, config: `slots = ${SLOTS}` }))
  )
  const [one, two, three] = peers as [TestPeer, TestPeer, TestPeer]
  await pair(one, two)
  await pair(three, one)
  await pair(three, two)

  t.test('20 jobs of two homes at once over three hosts with two slots each', async (t) => {
    const seen = new Map<string, number>()
    const watch = setInterval(() => countGuests(seen), 20)
    t.teardown(() => clearInterval(watch))
    const ends = await Promise.all(
      Array.from({ length: JOBS }, (_, index) => {
        const words = ['sh', '-c', SCRIPT, 'sh', mark, `job-${index}`]
        const child = (index % 2 === 0 ? one : two).spawn(['run', '--plain', '--wait', '--cores', '1', ...words])
        child.stdin!.end()
        return gather(child)
      })
    )
    t.same(
      ends.map(({ code, stderr }) => `${code} ${stderr}`),
      Array(JOBS).fill('0 '),
      'all ran'
    )
    const ran = ends.map(({ stdout }) => /^job-(\d+) ran at (?:one|two|three|home)\n$/.exec(stdout)?.[1])
    t.same(ran, [...Array(JOBS).keys()].map(String), 'each once, as far as its home can see')
    t.ok(Math.max(...seen.values()) <= SLOTS, `processes of guests at once: ${JSON.stringify([...seen])}`)
    let guests = 0
    for (const peer of peers) {
      const jobs = await guestsOf(peer)
      guests += jobs.length
      t.ok(mostAtOnce(jobs) <= SLOTS, `${peer.name} says: ${mostAtOnce(jobs)} at once of ${jobs.length}`)
      await until('every slot is free', async () => (await peer.status()).slots.used === 0)
    }
    const shipped = (await Promise.all([one.jobs(), two.jobs()])).flat().filter(({ target, home }) => target !== home)
    t.equal(guests, shipped.length, 'started as often as shipped')
    t.ok(guests > 0)
  })
}

/** Counts the guests whose processes there are, by target; keeps the largest counts. A process is there as long as its slot is held. */
function countGuests(most: Map<string, number>): void {
  const now = new Map<string, number>()
  for (const pid of jobProcesses(mark)) {
    const target = targetOf(pid)
    if (target !== undefined) now.set(target, (now.get(target) ?? 0) + 1)
  }
  for (const [target, count] of now) most.set(target, Math.max(most.get(target) ?? 0, count))
}

/** The target of a guest; `undefined` for what runs at home, and for the helpers around a guest. */
function targetOf(pid: number): string | undefined {
  try {
    if (readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')[2] !== SCRIPT) return undefined
    return /(?:^|\0)KAPPA_TARGET=([^\0]*)/.exec(readFileSync(`/proc/${pid}/environ`, 'latin1'))?.[1]
  } catch {
    return undefined
  }
}

async function guestsOf(target: TestPeer): Promise<JobResult[]> {
  const lines = (await target.ok(['ps', '--guests', '--json'])).split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line))
}

/** The largest number of jobs that were there at one time, by when they started and ended. */
function mostAtOnce(jobs: JobResult[]): number {
  const changes = jobs.flatMap(({ startedAt, endedAt }) => [
    { at: startedAt, by: 1 },
    { at: endedAt!, by: -1 }
  ])
  // At one and the same millisecond an end comes first: its slot is what the start got.
  changes.sort((a, b) => a.at - b.at || a.by - b.by)
  let now = 0
  let most = 0
  for (const { by } of changes) {
    now += by
    most = Math.max(most, now)
  }
  return most
}
