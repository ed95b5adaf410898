/**
 * Builds on another machine that sees home's files, each with something that goes wrong in the middle of it, by a seed. A
 * build is right, or fails with a clear word in time; after that make finishes it, and every byte is as it is natively: so no
 * half-written object was taken for done. Nothing of it stays on the target.
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { between, integer, pick, type Random, randomFrom, seedFor } from '../../src/simulator/random.ts'
import { type Ended, gather, pair, sees, TestPeer, until } from '../end-to-end/peers.ts'
import { Lan } from '../lan.ts'

const HOME = 0
const TARGET = 1
const PROJECT = '/root/project'
const PROJECT_SIZE = '64m'
const FILES = 24
/** Of data in each object, bytes: it takes some writes. */
const BLOB = 200_000
const JOBS = 3

/** Lease, time to kill and a reserve for a machine that is busy, ms. */
const ENDS_WITHIN_MS = 40_000
/** That home keeps for the next job, and one that is in use. */
const TREES_MAX = 5
/** Nothing stays beyond lease and time to kill, and as much again. */
const NOTHING_LEFT_MS = 30_000

/** What can go wrong; those of a cable, for so many ms. */
const FAULTS = [
  'unplug home',
  'unplug target',
  'drop home',
  'drop target',
  'freeze home',
  'freeze target',
  'kill daemon of home',
  'kill daemon of target',
  'kill server',
  'stop server',
  'kill client',
  'power off target',
  'full disk'
] as const
type Fault = (typeof FAULTS)[number]

interface Plan {
  fault: Fault
  /** Of the time that a build takes. */
  at: number
  lastsMs: number
  /** Make goes on at home, or on the target again. */
  isFinishedHere: boolean
}

export function planOfBuild(seed: number): Plan {
  const random = randomFrom(seedFor(seed, 'builds'))
  return {
    // All in turn, so that some tens of builds meet each of them.
    fault: FAULTS[seed % FAULTS.length]!,
    at: between(random, 0, 0.95),
    lastsMs: lasting(random),
    isFinishedHere: integer(random, 0, 2) === 0
  }
}

/** Within the lease, around it, and beyond it with the time to kill. */
function lasting(random: Random): number {
  return pick(random, [
    () => between(random, 200, 2_000),
    () => between(random, 2_000, 8_000),
    () => between(random, 8_000, 20_000)
  ])()
}

export interface BuildVerdict {
  plan: Plan
  /** Of the build with the fault; null and its signal. */
  ended: Ended
  tookMs: number
  breaches: string[]
}

export class BuildHousehold {
  readonly #lan: Lan
  readonly #home: TestPeer
  readonly #target: TestPeer
  #expected = ''
  /** ms of a build in which nothing goes wrong. */
  #buildMs = 0

  private constructor(lan: Lan, home: TestPeer, target: TestPeer) {
    this.#lan = lan
    this.#home = home
    this.#target = target
  }

  static async start(t: Pick<Test, 'teardown'>): Promise<BuildHousehold> {
    const lan = await Lan.create({ hosts: 2 })
    t.teardown(() => lan.close())
    const mount = `mkdir ${PROJECT} && mount -t tmpfs -o size=${PROJECT_SIZE} none ${PROJECT}`
    await lan.run(HOME, ['sh', '-c', mount])
    const [home, target] = (await Promise.all(
      ['home', 'target'].map((name, host) => TestPeer.start(t as Test, { name, lan, host }))
    )) as [TestPeer, TestPeer]
    const household = new BuildHousehold(lan, home, target)
    await pair(home, target)
    await household.#prepare()
    return household
  }

  /** What it should be, natively in the same place; and a first build there, by which the others are timed. */
  async #prepare(): Promise<void> {
    await this.#write()
    await this.#here(`make -C ${PROJECT} -j${JOBS}`)
    this.#expected = await this.#outputs()
    await this.#here(`make -C ${PROJECT} clean`)
    const from = performance.now()
    const first = await this.#finish(false)
    this.#buildMs = performance.now() - from
    if (first.code !== 0) throw new Error(`a build in which nothing is broken fails: ${first.stderr}`)
  }

  async #write(): Promise<void> {
    const write = (name: string, text: string) => this.#here(`cat >${PROJECT}/${name}`, text)
    await this.#here(`mkdir -p ${PROJECT}/.git ${PROJECT}/src`)
    const numbers = Array.from({ length: FILES }, (_, index) => index)
    for (const number of numbers) await write(`src/f${number}.c`, sourceOf(number))
    const main = `${numbers.map((number) => `int f${number}(void);`).join('\n')}\nint main(void) { return ${numbers.map((number) => `f${number}()`).join(' + ')} == 0; }\n`
    await write('src/main.c', main)
    const objects = `O := ${numbers.map((number) => `src/f${number}.o`).join(' ')} src/main.o`
    const rules = `program: $(O)\n\t$(CC) -o $@ $(O)\n%.o: %.c\n\t$(CC) -O1 -c $< -o $@\nclean:\n\trm -f $(O) program\n`
    await write('Makefile', `${objects}\n${rules}`)
  }

  async #here(script: string, input = ''): Promise<string> {
    const child = this.#lan.spawn(HOME, ['sh', '-c', script])
    child.stdin!.on('error', () => undefined)
    child.stdin!.end(input)
    const { code, stdout, stderr } = await gather(child)
    if (code !== 0) throw new Error(`at home: ${script}: ${stderr}`)
    return stdout
  }

  /** Of every object, and of the program. */
  #outputs(): Promise<string> {
    return this.#here(`cd ${PROJECT} && sha256sum src/*.o program`)
  }

  async play(seed: number): Promise<BuildVerdict> {
    const plan = planOfBuild(seed)
    const breaches: string[] = []
    await this.#here(`make -C ${PROJECT} clean`)
    const from = performance.now()
    const build = this.#home.spawn(['run', '--on', 'target', '--files', '--', 'make', `-j${JOBS}`], { cwd: PROJECT })
    build.stdin!.end()
    const over = gather(build)
    await delay(plan.at * this.#buildMs)
    const suffered = this.#suffer(plan, () => build.kill('SIGKILL'))
    const limit = ENDS_WITHIN_MS + plan.lastsMs
    const ended = await Promise.race([over, delay(limit, undefined, { ref: false })])
    const tookMs = performance.now() - from
    if (ended === undefined) {
      breaches.push(`it did not end in ${limit} ms`)
      build.kill('SIGKILL')
    }
    const end = ended ?? (await over)
    await suffered
    breaches.push(...(await this.#judge(end, plan)), ...(await this.#afterwards(plan)))
    return { plan, ended: end, tookMs, breaches }
  }

  async #judge({ code, signal, stderr }: Ended, { fault }: Plan): Promise<string[]> {
    if (code === 0) return (await this.#outputs()) === this.#expected ? [] : ['it ended well, with other bytes']
    if (signal === 'SIGKILL') return []
    // A program may have been ended in the middle of a line of its own.
    const isClear = /kappa: /.test(stderr) || (code === 2 && /\*\*\*/.test(stderr))
    if (fault === 'full disk' && !/No space left/.test(stderr)) return ['it did not hear that the disk is full']
    return isClear ? [] : [`it ended with ${code ?? signal} and no clear word`]
  }

  /** All is mended: nothing is left there, and make finishes what is left to do here. */
  async #afterwards({ isFinishedHere }: Plan): Promise<string[]> {
    const breaches: string[] = []
    try {
      await until('nothing of the build is left on the target', () => this.#left() === '', NOTHING_LEFT_MS)
    } catch {
      breaches.push(`left on the target: ${this.#left()}`)
    }
    await Promise.all([sees(this.#home, this.#target), sees(this.#target, this.#home)])
    const journals = Number(await this.#here(`ls ${this.#home.inside}/state/unfinished | wc -l`))
    if (journals > TREES_MAX) breaches.push(`${journals} journals of trees are left at home`)
    const { code, stderr } = await this.#finish(isFinishedHere)
    if (code !== 0) breaches.push(`make does not finish it ${isFinishedHere ? 'here' : 'there'}: ${code} ${stderr}`)
    else if ((await this.#outputs()) !== this.#expected) breaches.push('make took something for done that is not')
    return breaches
  }

  async #finish(isHere: boolean): Promise<Ended> {
    if (!isHere) return this.#home.there(this.#target, ['make', `-j${JOBS}`], { cwd: PROJECT, options: ['--files'] })
    const child = this.#lan.spawn(HOME, ['make', `-j${JOBS}`], { cwd: PROJECT })
    child.stdin!.end()
    return gather(child)
  }

  /** Programs of a build that live on the target: they have home's project as their working directory. */
  #left(): string {
    const living = this.#processes(TARGET).filter(({ words }) =>
      /^(make|gcc|cc|sh|as|\S*\/(cc1|as|ld|collect2))\0.*(-O1|-j|program)/s.test(words)
    )
    return living
      .map(({ pid, state, words }) => `${pid} ${state} ${words.replaceAll('\0', ' ').slice(0, 60)}`)
      .join('; ')
  }

  /** All of a host, by the numbers of this machine: those of its cgroup. */
  #processes(host: number): { pid: number; state: string; words: string }[] {
    return this.#lan.pids(host).flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
        return [{ pid, words, state: stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) }]
      } catch {
        return []
      }
    })
  }

  #servers(): number[] {
    return this.#processes(TARGET)
      .filter(({ words }) => words.includes('\0--input-type=module\0'))
      .map(({ pid }) => pid)
  }

  async #daemon(host: number): Promise<number | undefined> {
    const daemons = this.#processes(host).filter(({ words }) => words.startsWith('kappa daemon'))
    return daemons[0]?.pid
  }

  async #signal(host: number, signal: NodeJS.Signals): Promise<number | undefined> {
    const pid = await this.#daemon(host)
    if (pid !== undefined) process.kill(pid, signal)
    return pid
  }

  async #suffer({ fault, lastsMs }: Plan, killClient: () => void): Promise<void> {
    const host = fault.endsWith('home') ? HOME : TARGET
    const peer = host === HOME ? this.#home : this.#target
    if (fault.startsWith('unplug') || fault.startsWith('drop')) {
      await this.#lan.cut(host, fault.startsWith('unplug') ? 'unplug' : 'drop')
      await delay(lastsMs)
      await this.#lan.mend(host)
    } else if (fault.startsWith('freeze')) {
      const frozen = await this.#signal(host, 'SIGSTOP')
      await delay(lastsMs)
      if (frozen !== undefined) process.kill(frozen, 'SIGCONT')
    } else if (fault.startsWith('kill daemon')) {
      await this.#signal(host, 'SIGKILL')
      await delay(lastsMs)
      await peer.startDaemon()
    } else if (fault === 'power off target') {
      await this.#lan.cut(TARGET, 'drop')
      await this.#lan.run(TARGET, ['sh', '-c', 'kill -9 -1'])
      await delay(lastsMs)
      await this.#lan.mend(TARGET)
      await peer.startDaemon()
    } else if (fault === 'full disk') {
      await this.#here(`cat /dev/zero >${PROJECT}/filler 2>/dev/null; :`)
      await delay(lastsMs)
      await this.#here(`rm ${PROJECT}/filler`)
    } else if (fault === 'kill client') killClient()
    else await this.#strike(fault, lastsMs)
  }

  async #strike(fault: Fault, lastsMs: number): Promise<void> {
    const servers = this.#servers()
    for (const pid of servers) process.kill(pid, fault === 'kill server' ? 'SIGKILL' : 'SIGSTOP')
    if (fault === 'kill server') return
    await delay(lastsMs)
    // Those that were given up have ended.
    for (const pid of this.#servers()) if (servers.includes(pid)) process.kill(pid, 'SIGCONT')
  }

  logs(): string[] {
    return [this.#home.log(), this.#target.log()]
  }
}

/** Its object is large, and no two are alike. */
function sourceOf(number: number): string {
  let text = ''
  for (let block = 0; text.length < BLOB; block++)
    text += createHash('sha256').update(`${number} ${block}`).digest('hex')
  const lines = text.match(/.{1,1000}/g)!.map((line) => `"${line}"`)
  const headers = ['stdio', 'stdlib', 'string', 'unistd', 'errno', 'sys/stat'].map((name) => `#include <${name}.h>`)
  return `${headers.join('\n')}\nstatic const char blob[] =\n${lines.join('\n')};\nint f${number}(void) { return blob[rand() % sizeof blob]; }\n`
}
