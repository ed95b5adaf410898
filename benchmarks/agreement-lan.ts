/** Plays a trace by the real client and daemons in an emulated LAN. */

import { setTimeout as delay } from 'node:timers/promises'
import type { WhyResult } from '../src/daemon/control-results.ts'
import type { Costs } from '../src/simulator/machine.ts'
import { meanOf } from '../src/simulator/statistics.ts'
import { sees } from '../test/end-to-end/peers.ts'
import type { Place, Played, TracedJob } from './agreement-trace.ts'
import { DELAY_US, Household } from './household.ts'

/** Guests that each host takes at once. */
export const SLOTS = 4
export const DELAY_MS = DELAY_US / 1_000

/** While hosts are set up and asked what was, they have so many cores: that is not what is measured. */
const CORES_ASIDE = 0.5
/** Nothing happens for so long before anything is measured: what is sampled is a second old. */
const SETTLE_MS = 1_500
/** From the start of the players to the first job. */
const LEAD_MS = 1_000
const PLAY_TIMEOUT_MS = 90_000
/** What kappa costs is measured by so many jobs of each kind, one after the other, which burn so much, ms. */
const COST_JOBS = 10
const COST_JOB_MS = 30
const COST_JOBS_APART_MS = 400
const COST_SLEEP_S = 4

const MEMORY = ['--memory', '16m']

/** Burns CPU time by its own CPU clock. $1: seconds; $2 tells jobs apart. */
const BURN = 'use Time::HiRes "clock"; my $seconds = shift; 1 until clock >= $seconds'

/**
 * Starts commands when they are due, and prints the number of each, ms from when it was due to its end, and its status.
 * Arguments: kappa, its options in one word, BURN, when the trace begins on the monotonic clock; then for each job ms from there,
 * its number, seconds of CPU time.
 */
const PLAYER = `
use strict;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC sleep);
use POSIX ':sys_wait_h';
$| = 1;
my ($kappa, $options, $burn, $begin) = splice @ARGV, 0, 4;
my %open;
sub now { (clock_gettime(CLOCK_MONOTONIC) - $begin) * 1000 }
$SIG{CHLD} = sub {};
while (@ARGV || %open) {
  while ((my $pid = waitpid -1, WNOHANG) > 0) {
    my ($due, $job) = @{delete $open{$pid}};
    printf "%d %.3f %d\\n", $job, now() - $due, $?;
  }
  if (@ARGV && $ARGV[0] <= now()) {
    my ($due, $job, $seconds) = splice @ARGV, 0, 3;
    my $pid = fork // die $!;
    if ($pid == 0) { exec $kappa, 'run', '--plain', split(' ', $options), 'perl', '-e', $burn, $seconds, $job; exit 127 }
    $open{$pid} = [$due, $job];
  } elsif (@ARGV || %open) {
    my $wait = @ARGV ? ($ARGV[0] - now()) / 1000 : 1;
    sleep($wait < 1 ? $wait : 1) if $wait > 0;
  }
}
`

/** Tells why each of the newest jobs ran where it ran, one line of JSON each. $1: kappa, $2: how many. */
const WHY = `"$1" ps --json | head -n "$2" | while read -r row; do
  id=\${row#*'"id":"'}
  "$1" why --json "\${id%%'"'*}"
done`

export class AgreementLan {
  readonly #place: Place
  readonly #household: Household

  private constructor(place: Place, household: Household) {
    this.#place = place
    this.#household = household
  }

  static async make(place: Place): Promise<AgreementLan> {
    const { topology, cores, bound } = place
    const household = await Household.make(cores.length, {
      pairs: topology,
      cores: cores.map(() => CORES_ASIDE),
      bound,
      // The simulator that it is compared with learns nothing either.
      config: `slots = ${SLOTS}\nlearn = false`
    })
    const { peers } = household
    try {
      for (const home of peers) {
        for (const target of peers.filter((peer) => peer !== home)) {
          await sees(home, target)
          // The first job of a home makes what later ones find.
          await home.there(target, ['true'])
        }
      }
    } catch (error) {
      await household.close()
      throw error
    }
    return new AgreementLan(place, household)
  }

  /** Static score of the hosts' cores, as a daemon says. */
  async speed(): Promise<number> {
    return (await this.#household.home.status()).static!
  }

  /** What kappa itself takes: while a job sleeps far away, and by jobs of h0 that do little, there and at h1. */
  async costs(): Promise<Costs> {
    const household = this.#household
    const { home, peers } = household
    const away = ['--on', peers[1]!.name]
    await this.#slowDown()
    const asleep = await household.cpuOf([...peers.keys()], () =>
      home.ok(['run', '--plain', ...MEMORY, ...away, 'sleep', String(COST_SLEEP_S)])
    )
    const daemon = meanOf(asleep.cpuMs) / asleep.wallMs
    const eachOf = async (options: string[]) => {
      const jobs = Array.from({ length: COST_JOBS }, (_, index) => ({
        at: index * COST_JOBS_APART_MS,
        home: 0,
        cpuMs: COST_JOB_MS
      }))
      const { cpuMs, wallMs } = await household.cpuOf([0, 1], () => this.#run(jobs, options))
      return cpuMs.map((ms) => (ms - daemon * wallMs) / COST_JOBS)
    }
    const [here] = await eachOf(['--local'])
    const [from, to] = await eachOf(away)
    const placed = Math.max(0, here! - COST_JOB_MS)
    return { daemon, placed, shipped: Math.max(0, from! - placed), guest: Math.max(0, to! - COST_JOB_MS) }
  }

  /**
   * One by one what became of the jobs; which part of their cores the hosts got while they had jobs, for what else runs on this
   * machine may have taken some; and CPU time that went to kappa itself, ms. Throws when a job fails.
   */
  async play(jobs: readonly TracedJob[]): Promise<{ played: Played[]; got: number; ownMs: number }> {
    await this.#slowDown()
    const hosts = [...this.#place.cores.keys()]
    const { result: responses, cpuMs } = await this.#household.cpuOf(hosts, () => this.#run(jobs))
    for (const host of this.#place.cores.keys()) this.#household.lan.setCores(host, CORES_ASIDE)
    const reasons = (await Promise.all(this.#place.cores.map((_, host) => this.#reasons(jobs, host)))).flat()
    const names = this.#household.peers.map(({ name }) => name)
    const played = jobs.map((_, index): Played => {
      const why = reasons.find(({ argv }) => argv.at(-1) === String(index))
      const responseMs = responses.get(index)
      if (why?.target == null || responseMs === undefined) throw new Error(`nothing is known of job ${index}`)
      const metrics = names.map((name) => why.candidates.find((candidate) => candidate.name === name)?.metric)
      return { target: names.indexOf(why.target), responseMs, metrics }
    })
    const due = this.#place.cores.map((cores, host) => cores * busyMs(host, jobs, played))
    return { played, got: sumOf(cpuMs) / sumOf(due), ownMs: sumOf(cpuMs) - sumOf(jobs.map((job) => job.cpuMs)) }
  }

  async close(): Promise<void> {
    await this.#household.close()
  }

  async #slowDown(): Promise<void> {
    for (const [host, cores] of this.#place.cores.entries()) this.#household.lan.setCores(host, cores)
    await delay(SETTLE_MS)
  }

  /** Response times, ms, by the jobs' numbers. */
  async #run(jobs: readonly TracedJob[], options: string[] = []): Promise<Map<number, number>> {
    const { lan, peers } = this.#household
    const [kappa] = this.#household.kappa()
    const begin = (Number(process.hrtime.bigint() / 1_000n) / 1e6 + LEAD_MS / 1_000).toFixed(6)
    const responses = new Map<number, number>()
    const playAt = async (host: number) => {
      const own = jobs.flatMap(({ at, home, cpuMs }, index) =>
        home === host ? [at.toFixed(3), String(index), (cpuMs / 1_000).toFixed(4)] : []
      )
      if (own.length === 0) return
      const argv = ['perl', '-e', PLAYER, kappa!, [...MEMORY, ...options].join(' '), BURN, begin, ...own]
      const env = this.#household.environment(host)
      const { code, stdout, stderr } = await lan.run(host, argv, { env, timeoutMs: PLAY_TIMEOUT_MS })
      for (const line of stdout.trim().split('\n')) {
        const [job, ms, status] = line.split(' ').map(Number)
        if (code !== 0 || status !== 0) throw new Error(`job ${job} of h${host} ended with ${status}: ${stderr}`)
        responses.set(job!, ms!)
      }
    }
    await Promise.all([...peers.keys()].map(playAt))
    return responses
  }

  async #reasons(jobs: readonly TracedJob[], host: number): Promise<WhyResult[]> {
    const count = jobs.filter(({ home }) => home === host).length
    const [kappa] = this.#household.kappa()
    const env = this.#household.environment(host)
    const argv = ['sh', '-c', WHY, 'sh', kappa!, String(count)]
    const { stdout } = await this.#household.lan.run(host, argv, { env })
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
  }
}

/** ms during which a host had any of the jobs. */
function busyMs(host: number, jobs: readonly TracedJob[], played: readonly Played[]): number {
  let total = 0
  let until = 0
  for (const [index, { at }] of jobs.entries()) {
    const { target, responseMs } = played[index]!
    if (target !== host) continue
    total += Math.max(0, at + responseMs - Math.max(at, until))
    until = Math.max(until, at + responseMs)
  }
  return total
}

function sumOf(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}
