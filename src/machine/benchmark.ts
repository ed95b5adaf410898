import { execFile } from 'node:child_process'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { z } from 'zod'
import { KappaError, messageOf } from '../errors.ts'
import { BENCHMARK_VERSION, speedOf } from './benchmark-programs.ts'
import { parseCpuModel } from './proc-parse.ts'
import { ProcReader } from './proc-reader.ts'

/** How well the speed is known: not at all, from a quick estimate, from a full run, from full runs of which one was on an idle machine. */
export type Confidence = 'none' | 'estimated' | 'measured' | 'confirmed'

export interface StaticScore {
  /** Static score relative to the reference machine, higher is faster, > 0; 1 while nothing is known. */
  speed: number
  /** Scores of different versions don't compare. */
  benchmarkVersion: number
  confidence: Confidence
}

export interface BenchmarkInit {
  /** Where the score is kept from start to start. A missing, foreign or garbled file is no score. */
  cacheFile: string
  /** A score that another version measured isn't used. */
  kappaVersion: string
  /** Script of the child process; default: the one beside this file. A bundle gives its own. */
  workerFile?: URL | string
  /** Default /proc. */
  procRoot?: string
  /** Ends the child process. Nothing is measured after it. */
  signal: AbortSignal
  /** Told of runs in the background that failed. */
  onError: (error: KappaError) => void
}

/** A full run takes 6 s of CPU time here and at most 10 elsewhere; at the lowest priority that may take a while. */
const RUN_TIMEOUT_MS = 300_000

/** The machine must have been idle that long before the score is measured again. */
const IDLE_MS = 30_000

/** The part of the cores that an idle machine leaves idle. */
const IDLE_PART = 0.9

const resultsSchema = z
  .array(z.object({ name: z.string(), ms: z.number().positive() }))
  .min(1)
  .max(16)
const cacheSchema = z.object({
  key: z.string(),
  speed: z.number().positive(),
  confidence: z.enum(['measured', 'confirmed'])
})

const run = promisify(execFile)

/**
 * The static score of this machine: equations (1) and (2) of the paper, inverted so that higher is faster. Measured by a child
 * process at the lowest priority, once per boot, CPU model and version, and once more when the machine is idle, the
 * higher value being kept: a busy machine measures low, never high.
 */
export class Benchmark {
  readonly #init: BenchmarkInit
  readonly #key: string
  #score: StaticScore = { speed: 1, benchmarkVersion: BENCHMARK_VERSION, confidence: 'none' }
  #running: Promise<void> | undefined
  #child: number | undefined
  #idleSinceMs: number | undefined

  constructor(init: BenchmarkInit) {
    this.#init = init
    const proc = new ProcReader(init.procRoot ?? '/proc')
    const bootId = proc.text('sys/kernel/random/boot_id')?.trim() ?? 'unknown'
    const cpuModel = parseCpuModel(proc.text('cpuinfo') ?? '')
    this.#key = [bootId, cpuModel, init.kappaVersion, BENCHMARK_VERSION].join('\n')
  }

  /** The best that is known now. */
  get score(): StaticScore {
    return this.#score
  }

  /** Process number of the child while it measures: kappa's own work, which isn't load. */
  get child(): number | undefined {
    return this.#child
  }

  /** Resolves as soon as a score is known, from the cache or from a quick estimate (≤ 0.3 s of CPU time); in the latter case a full run goes on in the background. Failures are told to `onError`. */
  async start(): Promise<void> {
    const cached = await this.#readCache()
    if (cached !== undefined) {
      this.#score = cached
      return
    }
    try {
      this.#score = {
        speed: await this.#measure('quick'),
        benchmarkVersion: BENCHMARK_VERSION,
        confidence: 'estimated'
      }
    } catch (error) {
      this.#report(error)
    }
    this.#runInBackground('measured')
  }

  /**
   * Tells of a new sample of the load. When the machine has been idle for half a minute, the score is measured
   * again, once.
   *
   * @param busy - whether kappa runs jobs here
   */
  observe(load: { cores: number; idleCores: number }, busy: boolean, nowMs: number): void {
    if (this.#score.confidence === 'confirmed' || this.#running !== undefined) return
    if (busy || load.idleCores < IDLE_PART * load.cores) this.#idleSinceMs = undefined
    else if (nowMs - (this.#idleSinceMs ??= nowMs) >= IDLE_MS) {
      this.#idleSinceMs = undefined // after a failure, wait as long again
      this.#runInBackground('confirmed')
    }
  }

  /** Resolves when nothing is being measured. */
  async settled(): Promise<void> {
    await this.#running
  }

  #runInBackground(confidence: 'measured' | 'confirmed'): void {
    if (this.#init.signal.aborted) return
    this.#running = this.#runFull(confidence)
      .catch((error) => this.#report(error))
      .finally(() => {
        this.#running = undefined
      })
  }

  async #runFull(confidence: 'measured' | 'confirmed'): Promise<void> {
    const measured = await this.#measure('full')
    const known = this.#score.confidence === 'measured' ? this.#score.speed : 0 // an estimate may be too high
    this.#score = { speed: Math.max(measured, known), benchmarkVersion: BENCHMARK_VERSION, confidence }
    await this.#writeCache({ key: this.#key, speed: this.#score.speed, confidence })
  }

  /** @throws KappaError DaemonError when the child fails, a checksum is wrong or it takes over 5 minutes; AbortError */
  async #measure(mode: 'quick' | 'full'): Promise<number> {
    const worker = this.#init.workerFile ?? new URL('./benchmark-worker.ts', import.meta.url)
    const file = worker instanceof URL ? fileURLToPath(worker) : worker
    const { signal } = this.#init
    // With one thread for everything the collector's work is in the programs' time.
    const running = run(process.execPath, ['--single-threaded-gc', file, String(process.pid), mode], {
      signal,
      timeout: RUN_TIMEOUT_MS,
      killSignal: 'SIGKILL',
      env: {}
    })
    this.#child = running.child.pid
    try {
      const speed = speedOf(resultsSchema.parse(JSON.parse((await running).stdout)))
      if (!(speed > 0)) throw new Error('no program of it is known')
      return speed
    } catch (error) {
      signal.throwIfAborted()
      const reason = String((error as { stderr?: unknown }).stderr ?? '').trim() || messageOf(error)
      throw new KappaError('DaemonError', `benchmark: the static score could not be measured: ${reason}`, {
        cause: error
      })
    } finally {
      this.#child = undefined
    }
  }

  #report(error: unknown): void {
    if (this.#init.signal.aborted) return
    this.#init.onError(
      error instanceof KappaError ? error : new KappaError('DaemonError', `benchmark: ${messageOf(error)}`)
    )
  }

  async #readCache(): Promise<StaticScore | undefined> {
    try {
      const { key, speed, confidence } = cacheSchema.parse(JSON.parse(await readFile(this.#init.cacheFile, 'utf8')))
      return key === this.#key ? { speed, benchmarkVersion: BENCHMARK_VERSION, confidence } : undefined
    } catch {
      return undefined
    }
  }

  async #writeCache(content: z.infer<typeof cacheSchema>): Promise<void> {
    const { cacheFile } = this.#init
    try {
      await mkdir(dirname(cacheFile), { recursive: true, mode: 0o700 })
      const file = await open(`${cacheFile}.new`, 'w', 0o600)
      try {
        await file.writeFile(JSON.stringify(content))
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(`${cacheFile}.new`, cacheFile)
    } catch (error) {
      throw new KappaError('StateError', `benchmark: the static score can't be kept: ${messageOf(error)}`, {
        cause: error
      })
    }
  }
}
