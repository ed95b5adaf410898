/** `kappa top` on a terminal: carries keys, sizes and news to the state, and out of it what is to be done. */

import { constants } from 'node:os'
import type { WhyResult } from '../../daemon/control-results.ts'
import { isKappaError } from '../../errors.ts'
import { inAscii } from '../cells.ts'
import { unstyled } from '../output.ts'
import { leave } from '../run-streams.ts'
import { whyText } from '../why.ts'
import { type Feed, whyAway } from './feed.ts'
import { frameOf, type Paint } from './frame.ts'
import { Keys } from './keys.ts'
import type { News } from './rows.ts'
import type { Screen } from './screen.ts'
import { beginning, type Effect, type Event, handle, outcome, type State } from './state.ts'

/** ms after which an ESC with nothing behind it was a key. */
const ESCAPE_MS = 50

/** Signals that end this program: the terminal is given back before. */
const DEADLY: NodeJS.Signals[] = [
  ...(['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGALRM', 'SIGVTALRM', 'SIGXCPU', 'SIGUSR2'] as const),
  ...(['SIGIO', 'SIGPWR', 'SIGSTKFLT'] as const)
]

export interface Look {
  paint: Paint
  /** The terminal shows nothing but ASCII. */
  ascii: boolean
}

export class Top {
  readonly #screen: Screen
  readonly #feed: Feed
  readonly #everyMs: number
  readonly #look: Look
  readonly #state: State
  readonly #keys = new Keys()
  #escape: NodeJS.Timeout | undefined
  #next: NodeJS.Timeout | undefined
  /** News are on their way. */
  #asking = false
  #over = false
  #end: (error?: unknown) => void = () => undefined

  constructor(screen: Screen, feed: Feed, everyMs: number, look: Look) {
    this.#screen = screen
    this.#feed = feed
    this.#everyMs = everyMs
    this.#look = look
    const { rows, columns } = screen.size()
    this.#state = beginning(rows, columns)
  }

  /** Until its user leaves it. Rejects with what is a bug; the terminal is as it was in any case. */
  async run(first: News): Promise<void> {
    const ended = new Promise<void>((resolve, reject) => {
      this.#end = (error) => (error === undefined ? resolve() : reject(error))
    })
    this.#screen.listen({
      onBytes: (bytes) => this.#typed(bytes),
      onGone: () => this.#die('SIGHUP'),
      onSize: () => this.#handle({ type: 'size', ...this.#screen.size() })
    })
    for (const signal of DEADLY) process.on(signal, () => this.#die(signal))
    process.on('SIGTSTP', this.#onStop)
    process.on('SIGCONT', () => this.#wake())
    try {
      this.#handle({ type: 'news', news: first })
      this.#wake()
      await ended
    } finally {
      this.#over = true
      clearTimeout(this.#next)
      clearTimeout(this.#escape)
      this.#screen.close()
      this.#feed.close()
    }
  }

  /** Whatever happened: the next screen follows from it. */
  #handle(event: Event): void {
    if (this.#over) return
    try {
      const effect = handle(this.#state, event)
      if (effect !== undefined) this.#perform(effect)
      this.#draw()
    } catch (error) {
      this.#end(error)
    }
  }

  #draw(): void {
    if (!this.#screen.entered) return
    const lines = frameOf(this.#state, this.#look.paint)
    this.#screen.draw(this.#look.ascii ? lines.map(inAscii) : lines)
  }

  #typed(bytes: Buffer): void {
    clearTimeout(this.#escape)
    for (const key of this.#keys.push(bytes)) this.#handle({ type: 'key', key })
    if (!this.#keys.waits) return
    this.#escape = setTimeout(() => {
      for (const key of this.#keys.flush()) this.#handle({ type: 'key', key })
    }, ESCAPE_MS)
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'quit':
        this.#end()
        break
      case 'stop':
        // Whoever is in this group: as the terminal itself would do it.
        process.kill(0, 'SIGTSTP')
        break
      case 'redraw':
        this.#screen.forget()
        break
      case 'look':
        this.#lookNow()
        break
      case 'why':
        void this.#why(effect.job)
        break
      default:
        void this.#ask(effect)
    }
  }

  async #why(job: string): Promise<void> {
    try {
      const why = (await this.#feed.ask('why', { job })) as WhyResult
      this.#handle({ type: 'page', title: `why ${job}`, text: unstyled(whyText(why)) })
    } catch (error) {
      this.#complain(error)
    }
  }

  async #ask(effect: Extract<Effect, { type: 'kill' | 'pause' | 'resume' }>): Promise<void> {
    try {
      const result = await this.#feed.ask(effect.type, 'params' in effect ? effect.params : {})
      this.#handle({ type: 'said', text: outcome(effect, result), at: Date.now() })
    } catch (error) {
      this.#complain(error)
    }
  }

  #complain(error: unknown): void {
    if (isKappaError(error)) this.#handle({ type: 'said', text: whyAway(error), at: Date.now() })
    else this.#end(error)
  }

  // ----------------------------------------------------------------------------------------------------------- news

  #lookNow(): void {
    clearTimeout(this.#next)
    if (!this.#asking) void this.#lookAgain()
  }

  /** Asks for news, and again when it is time; one question at a time. */
  async #lookAgain(): Promise<void> {
    const startedAt = performance.now()
    this.#asking = true
    const event = await this.#feed.news(this.#state.span).then(
      (news): Event => ({ type: 'news', news }),
      (error): Event => ({ type: 'away', why: whyAway(error), at: Date.now() })
    )
    this.#asking = false
    if (this.#over) return
    if (!this.#screen.entered) this.#enter()
    this.#handle(event)
    clearTimeout(this.#next)
    this.#next = setTimeout(() => this.#lookNow(), Math.max(0, this.#everyMs - (performance.now() - startedAt)))
  }

  // ------------------------------------------------------------------------------------------- stops and other ends

  /** By Ctrl-Z or from outside: the terminal is given back, then this process stops as any other does. */
  readonly #onStop = (): void => {
    this.#screen.leave()
    process.off('SIGTSTP', this.#onStop)
    process.kill(process.pid, 'SIGTSTP')
    // Where nobody could wake it the kernel doesn't stop it: the next look goes on.
    process.on('SIGTSTP', this.#onStop)
  }

  /** At the beginning, and after a stop. */
  #wake(): void {
    // Its size may have changed meanwhile, unheard.
    this.#enter()
    this.#handle({ type: 'size', ...this.#screen.size() })
    this.#lookNow()
  }

  /** In the background a program that writes to its terminal is stopped until it is brought to the fore. */
  #enter(): void {
    if (!this.#screen.enter()) process.kill(process.pid, 'SIGTTOU')
  }

  #die(signal: NodeJS.Signals): void {
    this.#screen.leave()
    leave(null, signal, constants.signals[signal])
  }
}
