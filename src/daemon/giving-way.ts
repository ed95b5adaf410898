/** How a daemon ends that another program takes over from: as soon as no job needs it. */

import { readFileSync } from 'node:fs'
import type { Log } from './log.ts'

/** What is installed is looked at this often, ms. */
const LOOK_MS = 2_000
/** ms without guests, while old jobs go on: then they are taken again. */
const REFUSE_MS_MAX = 3_600_000

/** Jobs that end with this daemon. */
export interface Needing {
  /** Of this home. */
  homes: number
  /** Of others, which run here. */
  guests: number
  /** Of others, which are over and whose homes haven't fetched all. */
  unfetched: number
}

export interface GivingWayInit {
  log: Log
  needing(): Needing
  /** Takes guests no more, for this reason; undefined: takes them again. */
  refuse(reason: string | undefined): void
  /** No job needs this daemon: it ends, and the program of that launcher takes its place, if there is one. */
  onIdle(launcher: string | undefined): void
  /** Where the version is that is installed where this program came from, and its launcher; absent: nobody replaces it. */
  installed?: { versionFile: string | URL; launcher: string }
}

export class GivingWay {
  readonly #init: GivingWayInit
  #to: { launcher: string | undefined } | undefined
  /** What the version's file said at the start, and at the last look: it is believed when it says so twice. */
  readonly #first: string | undefined
  #seen: string | undefined
  readonly #look: NodeJS.Timeout | undefined
  #again: NodeJS.Timeout | undefined

  constructor(init: GivingWayInit) {
    this.#init = init
    const { installed } = init
    this.#first = this.#seen = installed && textOf(installed.versionFile)
    if (installed) this.#look = setInterval(() => this.#lookAt(installed), LOOK_MS).unref()
  }

  /** A newer program was started that is installed elsewhere; this one's own files are as they were. */
  to(launcher: string, version: string): void {
    if (this.#to) return
    this.#to = { launcher }
    this.#init.log.info('a newer version is installed; it takes over when no job lives', { version })
  }

  /** The same program, for what is only looked at when it starts. */
  anew(launcher: string): void {
    if (this.#to) return
    this.#to = { launcher }
    this.#init.log.info('started anew when no job lives, for something is otherwise than at the start')
  }

  /** Ends, with nobody in its place. */
  leave(): void {
    this.#to = { launcher: undefined }
    this.#refuse('its daemon is about to be started anew')
  }

  /** Called whenever the last job may have ended. */
  check(): void {
    const { homes, guests, unfetched } = this.#init.needing()
    if (this.#to === undefined || homes + guests + unfetched > 0) return
    const { launcher } = this.#to
    this.stop()
    this.#init.onIdle(launcher)
  }

  stop(): void {
    this.#to = undefined
    clearInterval(this.#look)
    clearTimeout(this.#again)
  }

  /** Parts of this program that are not loaded yet are those of another: the fewer jobs begin with it the better. */
  #lookAt({ versionFile, launcher }: NonNullable<GivingWayInit['installed']>): void {
    const version = textOf(versionFile)
    const isSettled = version === this.#seen
    this.#seen = version
    if (version === undefined || version === this.#first || !isSettled) return
    clearInterval(this.#look)
    this.#to = { launcher }
    this.#init.log.info('another version was installed here; it takes over when no job lives', { version })
    this.#refuse(`kappa ${version} was installed there, and starts when the jobs there are over`)
    this.check()
  }

  #refuse(reason: string): void {
    this.#init.refuse(reason)
    this.#again = setTimeout(() => this.#init.refuse(undefined), REFUSE_MS_MAX).unref()
  }
}

function textOf(file: string | URL): string | undefined {
  try {
    return readFileSync(file, 'utf8')
      .trim()
      .replaceAll(/[^\w.+-]/g, '')
      .slice(0, 32)
  } catch {
    // It is being replaced, or was taken away.
    return undefined
  }
}
