/** Counts what the kernel asks the servers of some FUSE mounts, by its own trace events. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** KiB for each CPU: 150,000 requests and more. */
const BUFFER = 16_384

/** Requests by their names. */
export type Requests = Map<string, number>

export class RequestTrace {
  readonly #mount = mkdtempSync(join(tmpdir(), 'kappa-trace-'))
  readonly #instance = join(this.#mount, 'instances', `kappa-${process.pid}`)

  private constructor() {
    execFileSync('mount', ['-t', 'tracefs', 'none', this.#mount])
  }

  /** Undefined where the kernel has no such events. */
  static start(): RequestTrace | undefined {
    let trace: RequestTrace | undefined
    try {
      trace = new RequestTrace()
      if (existsSync(join(trace.#mount, 'events/fuse/fuse_request_send'))) {
        mkdirSync(trace.#instance)
        writeFileSync(join(trace.#instance, 'buffer_size_kb'), String(BUFFER))
        return trace
      }
    } catch {}
    trace?.close()
    return undefined
  }

  /** `devices`: numbers of the mounts, as `stat -c %Ld` says them. */
  async count<T>(devices: readonly string[], work: () => Promise<T>): Promise<[T, Requests]> {
    const event = join(this.#instance, 'events/fuse/fuse_request_send')
    writeFileSync(join(this.#instance, 'trace'), '')
    writeFileSync(join(event, 'filter'), devices.map((device) => `connection == ${device}`).join(' || '))
    writeFileSync(join(event, 'enable'), '1')
    try {
      const result = await work()
      const requests: Requests = new Map()
      for (const [, name] of readFileSync(join(this.#instance, 'trace'), 'latin1').matchAll(/\(FUSE_([A-Z_0-9]+)\)/g)) {
        const kind = name!.toLowerCase()
        requests.set(kind, (requests.get(kind) ?? 0) + 1)
      }
      return [result, requests]
    } finally {
      writeFileSync(join(event, 'enable'), '0')
    }
  }

  close(): void {
    try {
      rmdirSync(this.#instance)
    } catch {}
    try {
      execFileSync('umount', [this.#mount], { stdio: 'ignore' })
    } catch {}
    rmdirSync(this.#mount)
  }
}

/** `open 12, read 3`, the most frequent first. */
export function counts(requests: Requests): string {
  const all = [...requests].toSorted(([, a], [, b]) => b - a)
  return all.map(([kind, count]) => `${kind} ${count}`).join(', ')
}
