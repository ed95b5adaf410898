/** Builds of programs that others wrote, natively and on another machine that sees home's files: file by file the same? */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Ended, pair, TestPeer } from '../end-to-end/peers.ts'
import { Lan } from '../lan.ts'

const HOME = 0
const TARGET = 1
const PROJECT = '/root/project'
const NATIVE = '/root/native'
const BUILD_MS = 1_800_000
/** Both hosts' name: some programs keep it. */
const HOST = 'builder'
/** Of the builds, for what keeps a time. */
const EPOCH = '1700000000'

/** Debian's source packages, and what builds them. */
const PACKAGES = {
  lua: { package: 'lua5.4', script: 'make -C src -j2 linux' },
  zstd: { package: 'libzstd', script: 'make -C lib -j2 libzstd.a libzstd && make -C programs -j2 zstd' },
  redis: { package: 'redis', script: 'make -j2 MALLOC=libc' },
  sqlite: { package: 'sqlite3', script: './configure --disable-tcl >/dev/null && make -j2 sqlite3 libsqlite3.la' }
} as const

export type Built = keyof typeof PACKAGES
export const BUILT = Object.keys(PACKAGES) as Built[]

/** They tell how long things took, or who asked: not a part of what was built. */
const DIARIES = ['config.log', '.make-prerequisites']

export interface Compared {
  what: string
  /** That the native build left. */
  files: number
  /** One line for each that is not the same. */
  different: string[]
  nativeMs: number
  thereMs: number
}

export class BuildComparison {
  readonly #lan: Lan
  readonly #home: TestPeer
  readonly #target: TestPeer
  readonly #sources: string

  private constructor(lan: Lan, home: TestPeer, target: TestPeer, sources: string) {
    this.#lan = lan
    this.#home = home
    this.#target = target
    this.#sources = sources
  }

  static async start(t: Pick<Test, 'teardown'>): Promise<BuildComparison> {
    const given = process.env.KAPPA_BENCHMARK_SOURCES
    const sources = given ?? mkdtempSync(join(tmpdir(), 'kappa-source-'))
    if (given === undefined) t.teardown(() => rmSync(sources, { recursive: true, force: true }))
    const lan = await Lan.create({ hosts: 2 })
    t.teardown(() => lan.close())
    for (const host of [HOME, TARGET]) {
      const { code, stderr } = await lan.run(host, ['sh', '-c', `echo ${HOST} >/proc/sys/kernel/hostname`])
      if (code !== 0) throw new Error(`the host can't be named: ${stderr}`)
    }
    const [home, target] = (await Promise.all(
      ['home', 'target'].map((name, host) => TestPeer.start(t as Test, { name, lan, host }))
    )) as [TestPeer, TestPeer]
    await pair(home, target)
    return new BuildComparison(lan, home, target, sources)
  }

  async compare(name: Built): Promise<Compared> {
    const { script } = PACKAGES[name]
    const source = this.#sourceOf(name)
    const argv = ['sh', '-ec', `export SOURCE_DATE_EPOCH=${EPOCH} LC_ALL=C; ${script}`]
    const here = () => this.#lan.run(HOME, argv, { cwd: PROJECT, timeoutMs: BUILD_MS })
    const nativeMs = await this.#built(source, here)
    await this.#here(`rm -rf ${NATIVE}; mv ${PROJECT} ${NATIVE}`)
    const there = () => this.#home.there(this.#target, argv, { cwd: PROJECT, options: ['--files'] })
    const thereMs = await this.#built(source, there)
    const [before, after] = [await this.#sums(NATIVE), await this.#sums(PROJECT)]
    const names = [...new Set([...before.keys(), ...after.keys()])].sort()
    const different = names.flatMap((file) => {
      if (before.get(file) === after.get(file)) return []
      return [`${file} is ${after.has(file) ? (before.has(file) ? 'another' : 'too much') : 'missing'}`]
    })
    return { what: source.slice(source.lastIndexOf('/') + 1), files: before.size, different, nativeMs, thereMs }
  }

  /** From the beginning; ms that it took. */
  async #built(source: string, build: () => Promise<Pick<Ended, 'code' | 'stdout' | 'stderr'>>): Promise<number> {
    await this.#here(`rm -rf ${PROJECT}`)
    execFileSync('cp', ['-a', source, this.#lan.outside(HOME, PROJECT)])
    await this.#here(`chown -R 0:0 ${PROJECT}`)
    const from = performance.now()
    const { code, stdout, stderr } = await build()
    if (code !== 0) throw new Error(`${source} can't be built: ${code} ${stdout.slice(-2000)}${stderr.slice(-2000)}`)
    return performance.now() - from
  }

  async #here(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.#lan.run(HOME, ['sh', '-c', script], { timeoutMs: BUILD_MS })
    if (code !== 0) throw new Error(`${script}: ${stderr}`)
    return stdout
  }

  /** What each file holds, may, and each link leads to. */
  async #sums(directory: string): Promise<Map<string, string>> {
    const prunes = DIARIES.map((name) => `! -name ${name}`).join(' ')
    const script = `cd ${directory}; find . -type f ${prunes} -printf '%m ' -exec sha256sum {} \\;; find . -type l -printf '- %l  %p\\n'`
    const lines = (await this.#here(script)).split('\n').filter((line) => line !== '')
    return new Map(
      lines.map((line) => {
        const at = line.indexOf('  ')
        return [line.slice(at + 2), line.slice(0, at)]
      })
    )
  }

  #sourceOf(name: Built): string {
    const wanted = PACKAGES[name].package
    const find = () => {
      const found = existsSync(this.#sources)
        ? readdirSync(this.#sources, { withFileTypes: true }).find(
            (entry) => entry.isDirectory() && [wanted, name].some((prefix) => entry.name.startsWith(`${prefix}-`))
          )
        : undefined
      return found && join(this.#sources, found.name)
    }
    const there = find()
    if (there !== undefined) return there
    execFileSync('apt-get', ['source', wanted], { cwd: this.#sources, stdio: 'ignore' })
    const fetched = find()
    if (fetched === undefined) throw new Error(`apt-get source ${wanted} brought nothing`)
    return fetched
  }
}
