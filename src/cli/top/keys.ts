/** What a terminal sends for keys: characters, and sequences for all that is no character. */

/** Sequences behind ESC, as all terminals of today send them. */
const SEQUENCES: Record<string, string> = {
  '[A': 'up',
  OA: 'up',
  '[B': 'down',
  OB: 'down',
  '[5~': 'page up',
  '[6~': 'page down',
  '[H': 'home',
  OH: 'home',
  '[1~': 'home',
  '[7~': 'home',
  '[F': 'end',
  OF: 'end',
  '[4~': 'end',
  '[8~': 'end',
  '[Z': 'back tab'
}

const CONTROLS: Record<string, string> = {
  '\x03': 'ctrl c',
  '\t': 'tab',
  '\f': 'ctrl l',
  '\r': 'enter',
  '\n': 'enter',
  '\x1a': 'ctrl z',
  '\x1c': 'ctrl \\'
}

/** What is pasted is not meant as keys: some of them end jobs. */
const PASTE_BEGINS = '[200~'
const PASTE_ENDS = '\x1b[201~'

/** The longest sequence that is waited for; what is longer is none. */
const SEQUENCE_LENGTH_MAX = 32

export class Keys {
  /** The beginning of a sequence; at most SEQUENCE_LENGTH_MAX characters, or the end of what is pasted so far. */
  #held = ''
  #pasting = false

  /** A sequence has begun: unless more comes soon, `flush` says that ESC was pressed. */
  get waits(): boolean {
    return this.#held !== '' && !this.#pasting
  }

  /** The keys that these bytes complete; characters beyond ASCII are none. */
  push(bytes: Buffer): string[] {
    this.#held += bytes.toString('latin1')
    const keys: string[] = []
    for (let taken = this.#next(keys); taken > 0; taken = this.#next(keys)) this.#held = this.#held.slice(taken)
    return keys
  }

  /** Nothing followed what has begun. */
  flush(): string[] {
    if (!this.waits) return []
    this.#held = ''
    return ['escape']
  }

  /** Takes one key, or a part of what is pasted, from the front; 0 when there is too little. */
  #next(keys: string[]): number {
    if (this.#held === '') return 0
    if (this.#pasting) {
      const end = this.#held.indexOf(PASTE_ENDS)
      if (end < 0) return Math.max(0, this.#held.length - PASTE_ENDS.length + 1)
      this.#pasting = false
      return end + PASTE_ENDS.length
    }
    const first = this.#held[0]!
    if (first !== '\x1b') {
      const key = CONTROLS[first] ?? (first >= ' ' && first <= '~' ? first : undefined)
      if (key !== undefined) keys.push(key)
      return 1
    }
    return this.#sequence(keys)
  }

  #sequence(keys: string[]): number {
    const behind = this.#held.slice(1, SEQUENCE_LENGTH_MAX)
    // No sequence begins so: ESC was pressed, and something else after it.
    if (/^[^[O]/s.test(behind)) {
      keys.push('escape')
      return 1
    }
    const [sequence] = /^(?:\[[0-?]*[ -/]*[@-~]|O.)/s.exec(behind) ?? []
    // A character that can't be in it has cut it short.
    const [broken] = /^\[[ -?]*(?=[^ -~])/.exec(behind) ?? []
    if (sequence === undefined && broken !== undefined) return broken.length + 1
    if (sequence === undefined) return behind.length + 1 < SEQUENCE_LENGTH_MAX ? 0 : this.#held.length
    if (sequence === PASTE_BEGINS) this.#pasting = true
    const key = SEQUENCES[sequence]
    if (key !== undefined) keys.push(key)
    return sequence.length + 1
  }
}
