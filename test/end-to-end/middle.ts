/** Home, a peer of the test's own that leads on, and a target, each on a host of an emulated LAN. */

import type { ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Lan } from '../lan.ts'
import { type Ended, emulatedLan, firstLine, sees, Talk, TestPeer } from './peers.ts'

const PROGRAM = fileURLToPath(new URL('middle-peer.ts', import.meta.url))

/** Before the probe is sent on, before the reply with the ticket is, and just after that. */
export type Moment = 'probe' | 'reply' | 'replied'
/** `hold`: keep the message until told to go on. */
export type MiddleAction = 'SIGSTOP' | 'SIGKILL' | 'hold'
export type MiddleCommand = { pair: string } | { at: Moment; action: MiddleAction } | { go: true; addresses?: string[] }
export type MiddleEvent = { event: 'obeyed' } | { event: 'there' }

export class Middle {
  readonly child: ChildProcess
  readonly #talk: Talk
  /** What was said already is passed over. */
  #heard = 0

  private constructor(child: ChildProcess) {
    this.child = child
    this.#talk = new Talk(child)
  }

  static async start(t: Test, lan: Lan, host: number): Promise<Middle> {
    const child = lan.spawn(host, [process.execPath, PROGRAM])
    t.teardown(() => void child.kill('SIGKILL'))
    const middle = new Middle(child)
    await middle.#next('obeyed')
    return middle
  }

  async pairWith(peer: TestPeer): Promise<void> {
    const invitation = peer.spawn(['pair', '--invite', '--own'])
    const done = new Promise<number | null>((resolve) => invitation.once('exit', resolve))
    await this.#tell({ pair: await firstLine(invitation) })
    const code = await done
    if (code !== 0) throw new Error(`the invitation ended with ${code}`)
  }

  /** What it does when that moment comes. */
  async arm(at: Moment, action: MiddleAction): Promise<void> {
    await this.#tell({ at, action })
  }

  /** Whether the moment that it was last armed for has come. */
  get happened(): boolean {
    return this.#talk.stdout.includes('"there"', this.#heard)
  }

  /** Sends what it held; with other addresses, if given. */
  async go(addresses?: string[]): Promise<void> {
    await this.#tell({ go: true, ...(addresses === undefined ? {} : { addresses }) })
  }

  /** After SIGSTOP. */
  resume(): void {
    this.child.kill('SIGCONT')
  }

  async #tell(command: MiddleCommand): Promise<void> {
    this.#heard = this.#talk.stdout.length
    this.#talk.say(JSON.stringify(command))
    await this.#next('obeyed')
  }

  async #next(event: MiddleEvent['event']): Promise<void> {
    const told = new RegExp(`^[^]{${this.#heard}}[^]*?"${event}".*\\n`)
    const [text] = (await this.#talk.hears(told)) as [string]
    this.#heard = text.length
  }
}

const MiB = 1024 * 1024

/** From the next start of its daemon on a machine has so little memory that any other is better; jobs can still run there. */
export async function starve(lan: Lan, host: number): Promise<void> {
  const kilobytes = (bytes: number) => `${bytes / 1024} kB`
  const text = `MemTotal: ${kilobytes(512 * MiB)}\nMemFree: ${kilobytes(64 * MiB)}\nMemAvailable: ${kilobytes(64 * MiB)}\n`
  writeFileSync(lan.outside(host, '/tmp/meminfo'), text)
  const { code, stderr } = await lan.run(host, ['mount', '--bind', '/tmp/meminfo', '/proc/meminfo'])
  if (code !== 0) throw new Error(`no other memory: ${stderr}`)
}

export interface Through {
  lan: Lan
  home: TestPeer
  middle: Middle
  target: TestPeer
}

export const [HOME, MIDDLE, TARGET] = [0, 1, 2]

/** All of them paired, home with the middle and the middle with the target, and so poor that its jobs go to the target. */
export async function through(t: Test): Promise<Through> {
  const lan = (await emulatedLan(t, { hosts: 3 }))!
  await starve(lan, HOME)
  const [home, target, middle] = await Promise.all([
    TestPeer.start(t, { name: 'home', lan, host: HOME }),
    TestPeer.start(t, { name: 'target', lan, host: TARGET }),
    Middle.start(t, lan, MIDDLE)
  ])
  await middle.pairWith(home)
  await middle.pairWith(target)
  await sees(home, target)
  return { lan, home, middle, target }
}

/** A job that says where it ran, and ends well. */
export const WHERE = ['sh', '-c', 'echo "ran on $' + '{KAPPA_TARGET:-home}"']

/** Placing may take 400 ms, of a machine that all hosts share with whatever else runs there. */
export const PLACED_WITHIN_MS = 3_000

export interface Told {
  reason: string
  refusals: { name: string; code: string; reason: string; hops?: string[] }[]
  candidates: { name: string }[]
  timesMs: { placed: number }
}

/** What `why` says of the newest job of home. */
export async function why(home: TestPeer): Promise<Told> {
  const [job] = (await home.jobs()) as [{ id: string }]
  return JSON.parse(await home.ok(['why', '--json', job.id]))
}

/** The newest job of home ran here, once, and was there without much delay. */
export async function stayed(t: Test, home: TestPeer, others: TestPeer[], ended: Ended): Promise<Told> {
  t.match(ended, { code: 0, stdout: 'ran on home\n', stderr: '' })
  t.same(await ranOn(home, others), [home.name], 'once')
  const told = await why(home)
  t.ok(told.timesMs.placed < PLACED_WITHIN_MS, `soon: ${told.timesMs.placed}`)
  return told
}

/**
 * Asks for a job again and again until the moment comes for which the middle is armed: on a busy machine a job may be
 * placed at home before it. What happened until the job ended; `then` follows the moment at once.
 */
export async function provoked(
  { home, middle, target }: Through,
  at: Moment,
  action: MiddleAction,
  then: () => Promise<void> | void = () => undefined
): Promise<Ended> {
  for (let tries = 0; tries < 20; tries++) {
    await sees(home, target)
    await middle.arm(at, action)
    const run = new Talk(home.spawn(['run', '--plain', ...WHERE]))
    run.child.stdin!.end()
    let over = false
    void run.ended.then(() => (over = true))
    while (!over && !middle.happened) await new Promise((resolve) => setTimeout(resolve, 2))
    if (middle.happened) {
      await then()
      return run.ended
    }
    await run.ended
  }
  throw new Error(`no job came so far as ${at}`)
}

/** A connection with the target is kept from now on. */
export async function warmUp({ home, target }: Through): Promise<void> {
  await sees(home, target)
  await home.there(target, ['true'])
}

/** The peers on which the newest job of home was started, home's own name for home itself. */
export async function ranOn(home: TestPeer, others: TestPeer[]): Promise<string[]> {
  const [job] = (await home.jobs()) as [{ id: string; target: string }]
  const here = job.target === home.name ? [home.name] : []
  const there = await Promise.all(
    others.map(async (peer) => {
      const lines = (await peer.ok(['ps', '--guests', '--json'])).split('\n').filter((line) => line !== '')
      return lines.filter((line) => JSON.parse(line).id === job.id).map(() => peer.name)
    })
  )
  return [...here, ...there.flat()]
}
