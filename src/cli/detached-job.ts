/**
 * Runs a detached job on this machine, as a process of its own that nobody waits for: writes what the job writes into the
 * job's directory, and its end. Started by `kappa run --detach`, not by people; the daemon only looks (detached-here.ts).
 */

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { JobEnd } from '../core/types.ts'
import { HERE_LOCK, type HereNews, newsFile } from '../daemon/here-news.ts'
import { takeLock } from '../daemon/lock.ts'
import type { StateFile } from '../daemon/state-file.ts'
import { EXIT, KappaError, messageOf } from '../errors.ts'
import { JobOutput, RecordingRoom } from '../execution/recording.ts'
import type { Command } from './command.ts'
import { environmentOf, whyNot, wrapped } from './run-local.ts'
import { launchState, rawArguments } from './run-options.ts'
import { TimeLimit } from './time-limit.ts'

/** What others of the job still hold open after its end is waited for so long. */
const DRAIN_MS = 1_000
/** A full disk: the end is written down when there is room. */
const AGAIN_MS = 5_000
const PASSED_ON: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']

export const command: Command = {
  help: `Usage: kappa detached-job DIRECTORY TIMEOUT_MS CMD [ARG...]

What kappa run --detach becomes on this machine; it is not for people.

Example:
  kappa run --detach --local make`,
  takes: { options: {} },
  async execute(args) {
    const [directory, timeout] = args
    const argv = rawArguments(args.length - 2)
    if (directory === undefined || timeout === undefined || argv.length === 0) {
      throw new KappaError('UsageError', 'kappa detached-job is what kappa run --detach becomes; see: kappa run --help')
    }
    await new HereJob(directory, Number(timeout)).run(argv)
    return 0
  }
}

class HereJob {
  readonly #directory: string
  /** 0: it may run for ever. */
  readonly #timeoutMs: number
  readonly #output: JobOutput
  readonly #file: StateFile<HereNews>
  #news: HereNews = { child: null, unkept: null, end: null }

  constructor(directory: string, timeoutMs: number) {
    this.#directory = directory
    this.#timeoutMs = timeoutMs
    this.#file = newsFile(directory)
    // What all jobs have together is the daemon's to see to.
    this.#output = new JobOutput(directory, new RecordingRoom(Number.POSITIVE_INFINITY, () => ''))
  }

  async run(argv: Buffer[]): Promise<void> {
    const lock = takeLock(join(this.#directory, HERE_LOCK))
    const problem = whyNot(argv[0]!.toString())
    const end = problem ? failed(problem.exitCode!, problem.message!) : await this.#execute(argv)
    await this.#output.close().catch(() => undefined)
    while (!(await this.#tell({ end }))) await delay(AGAIN_MS)
    lock.release()
  }

  async #execute(argv: Buffer[]): Promise<JobEnd> {
    const launch = launchState()
    const [file, words] = wrapped(argv, launch, {})
    const child = spawn(file, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, for `kappa kill`.
      detached: true,
      env: environmentOf(launch, {})
    })
    for (const signal of PASSED_ON) process.on(signal, () => child.kill(signal))
    const { stdout, stderr } = this.#output
    const outputs = [this.#keep(child.stdout, stdout), this.#keep(child.stderr, stderr)]
    const ended = new Promise<JobEnd>((resolve) => {
      child.once('error', (error) => resolve(failed(EXIT.notExecutable, messageOf(error))))
      child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }))
    })
    await this.#tell({ child: child.pid ?? null })
    const limit = child.pid && this.#timeoutMs > 0 ? new TimeLimit(child.pid, this.#timeoutMs) : undefined
    const end = await ended
    limit?.stop()
    await Promise.race([Promise.all(outputs), delay(DRAIN_MS)])
    child.stdout.destroy()
    child.stderr.destroy()
    if (!limit?.over) return end
    const message = `the job was ended: it ran for ${this.#timeoutMs / 1_000} s, its --timeout`
    return { ...end, error: { name: 'TimeoutError', message } }
  }

  /** The job waits for the disk, and for nobody else. */
  async #keep(source: Readable, recording: JobOutput['stdout']): Promise<void> {
    let over = false
    try {
      for await (const bytes of source) {
        const { kept, why }: { kept: number; why?: string } = over ? { kept: 0 } : await recording.append(bytes)
        over ||= why !== undefined
        if (kept < bytes.length) await this.#lose(bytes.length - kept, why)
      }
    } catch {
      // It was closed, since somebody held it open behind the job's end.
    }
  }

  /** Told at once when it begins; how much it is, with the end. */
  async #lose(bytes: number, why: string | undefined): Promise<void> {
    const { unkept } = this.#news
    this.#news.unkept = { bytes: (unkept?.bytes ?? 0) + bytes, reason: unkept?.reason ?? why ?? '' }
    if (unkept === null) await this.#tell({})
  }

  async #tell(change: Partial<HereNews>): Promise<boolean> {
    this.#news = { ...this.#news, ...change }
    return this.#file.write(this.#news).then(
      () => true,
      () => false
    )
  }
}

function failed(exitCode: number, message: string): JobEnd {
  const name = exitCode === EXIT.notFound ? 'CommandNotFoundError' : 'NotExecutableError'
  return { exitCode, signal: null, error: { name, message } }
}
