import { readSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { isatty } from 'node:tty'
import type { PairingKind } from '../core/types.ts'
import type { NearbyResult, PairEvent, PairResult, StatusResult } from '../daemon/control-results.ts'
import { KappaError } from '../errors.ts'
import { printable } from '../printable.ts'
import { readArguments, usageError } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { lacks, nearbyLine, otherVersions, TRY, untilReboot } from './first-steps.ts'
import { duration, print, styled } from './output.ts'
import { Prompt } from './prompt.ts'

const HELP = `Usage: kappa pair [OPTIONS]             wait here for another machine, and compare numbers
       kappa pair [OPTIONS] PEER        pair with the machine that waits: its name, HOST[:PORT] or a multiaddr
       kappa pair --invite [OPTIONS]    print an invitation, and wait until it is used (10 minutes)
       kappa pair [OPTIONS] LINK        accept an invitation; "-" reads it from a line of stdin

Pairs this machine with another one, so that each may run the other's jobs. Each side says for itself what it shows
and lends to the other:

  --own      it is another machine of mine
  --friend   it is somebody else's (the default): its jobs have no network here, and it learns less of mine
  --yes      ask nothing; with an invitation only

Examples:
  desktop$ kappa pair                       nas$ kappa pair desktop
  ssh nas kappa pair --invite --own | kappa pair --yes --own -`

const STDIN = 0
const STDERR = 2
/** A new neighbour has said what it has by then, and is asked about so often. */
const NEIGHBOUR_MS = 3_000
const LOOK_MS = 100
const LINK_BYTES_MAX = 4_096
const LINK_START = 'kappa:'

const TAKES = {
  options: {
    own: { type: 'boolean' },
    friend: { type: 'boolean' },
    invite: { type: 'boolean' },
    yes: { type: 'boolean', short: 'y' }
  },
  arguments: { min: 0, max: 1, what: 'one PEER or LINK' }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa pair', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { own, friend, invite, yes } = parsed.values
    const [target] = parsed.positionals
    if (own && friend) throw usageError('kappa pair', '--own and --friend exclude each other')
    const kind = own ? 'own' : friend ? 'friend' : undefined
    if (invite) {
      if (target !== undefined) throw usageError('kappa pair', '--invite takes no PEER')
      return await invitation(kind ?? 'friend')
    }
    const link = target === '-' ? lineOfStdin() : target
    if (target === '-' || link?.startsWith(LINK_START))
      return await accept(link ?? '', kind, yes ?? false, target === '-')
    if (yes) throw usageError('kappa pair', '--yes needs an invitation: numbers are for people to compare')
    return await byNumbers(link, kind)
  }
}

/** The link is alone on the first line, since scripts read it. */
async function invitation(kind: PairingKind): Promise<number> {
  const paired = await request('pair-invite', { kind }, (event) => {
    const { link } = event as { link?: string }
    if (link === undefined) return
    print(link)
    tell(
      `On the other machine, within 10 minutes: kappa pair LINK (once; Ctrl-C revokes it). It becomes ${called(kind)}.`
    )
  })
  return await done(paired)
}

async function accept(link: string, kind: PairingKind | undefined, yes: boolean, fromStdin: boolean): Promise<number> {
  let chosen = kind
  if (chosen === undefined && !yes) {
    if (fromStdin || !isatty(STDIN)) {
      throw usageError(
        'kappa pair',
        'there is nobody to ask what the other machine is: say --own or --friend, or --yes'
      )
    }
    chosen = await withPrompt((prompt) => askKind(prompt, 'the machine that made the invitation'))
  }
  return await done(await request('pair-accept', { link, kind: chosen ?? 'friend' }))
}

async function byNumbers(target: string | undefined, kind: PairingKind | undefined): Promise<number> {
  return await withPrompt(async (prompt) => {
    const other = target === undefined ? 'the other machine' : printable(target)
    const chosen = kind ?? (isatty(STDIN) ? await askKind(prompt, other) : 'friend')
    const conversation = new Conversation(prompt)
    const [name, params] =
      target === undefined ? ['pair-wait', { kind: chosen }] : ['pair-join', { target, kind: chosen }]
    const paired = request(name as string, params as object, (event) => conversation.handle(event as PairEvent))
    return await done(await paired.finally(() => conversation.end()), true)
  })
}

/** Shows what happens, and answers for the person. */
class Conversation {
  readonly #prompt: Prompt
  /** Takes back the question whose try has failed meanwhile. */
  #question = new AbortController()
  #isOver = false

  constructor(prompt: Prompt) {
    this.#prompt = prompt
  }

  handle(event: PairEvent): Promise<object> | undefined {
    if ('need' in event) return this.#answer(event)
    switch (event.type) {
      case 'waiting':
        tell(
          `Waiting for ${duration(event.forMs)}. On the other machine: ${styled('bold', `kappa pair ${shown(event.name)}`)}`
        )
        void this.#tellWhoIsThere()
        break
      case 'try':
        tell(`${shown(event.name)} wants to pair as ${called(event.kind)} (try ${event.number}; ${event.left} left).`)
        break
      case 'found':
        tell(`Found ${shown(event.name)}.`)
        break
      case 'digits':
        tell(`Type these digits on ${shown(event.name)}: ${styled('bold', event.digits.replace(/^(...)/, '$1 '))}`)
        break
      case 'matched':
        tell(`The digits match; confirm it on ${shown(event.name)}.`)
        break
      case 'failed':
        this.#question.abort()
        tell(`That try failed: ${printable(event.reason, 300)}. ${event.left} left.`)
        break
    }
    return undefined
  }

  end(): void {
    this.#isOver = true
  }

  /** Beside the waiting, and not worth a word when it fails. */
  async #tellWhoIsThere(): Promise<void> {
    const found = await request('nearby', {}).catch(() => ({ names: [] }))
    if (!this.#isOver) for (const line of nearbyLine((found as NearbyResult).names)) tell(line)
  }

  async #answer(event: Extract<PairEvent, { need: string }>): Promise<object> {
    this.#question = new AbortController()
    const { signal } = this.#question
    const name = shown(event.name)
    if (event.need === 'digits') {
      const digits = await this.#prompt.ask(`Digits shown on ${name}: `, signal)
      if (digits === undefined && !signal.aborted)
        throw new KappaError(
          'PairingError',
          'stdin ended before the digits were typed; without a terminal use an invitation: kappa pair --invite'
        )
      return { digits: digits ?? '' }
    }
    return { confirm: await this.#prompt.confirm(`Does ${name} say that the digits match?`, signal) }
  }
}

async function askKind(prompt: Prompt, other: string): Promise<PairingKind> {
  return (await prompt.confirm(`Is ${other} your own?`)) ? 'own' : 'friend'
}

async function withPrompt<T>(use: (prompt: Prompt) => Promise<T>): Promise<T> {
  const prompt = new Prompt()
  try {
    return await use(prompt)
  } finally {
    prompt.close()
  }
}

/** With `advise`, for people: what to try next, and what is missing for that. */
async function done(result: unknown, advise = isatty(STDERR)): Promise<number> {
  const { peerId, name, kind } = result as PairResult
  tell(`Paired with ${shown(name)}, ${called(kind)}.`)
  for (const line of advise ? await advice(peerId) : ['Try: kappa status']) tell(line)
  return 0
}

/** Waits a moment for what the new neighbour says of itself. */
async function advice(peerId: string): Promise<string[]> {
  try {
    for (const deadline = Date.now() + NEIGHBOUR_MS; ; await delay(LOOK_MS)) {
      const status = (await request('status', {})) as StatusResult
      const found = status.neighbours.filter((neighbour) => neighbour.peerId === peerId)
      const isKnown = found.some(
        ({ metric, version, connected }) => metric !== null || (version !== null && !connected)
      )
      if (isKnown || Date.now() > deadline)
        return [...lacks(status, found), ...otherVersions(status, found), TRY, ...untilReboot()]
    }
  } catch {
    // It is paired, and that is what was asked for.
    return [TRY]
  }
}

function called(kind: PairingKind): string {
  return kind === 'own' ? 'a machine of your own' : "a friend's machine"
}

function shown(name: string): string {
  return printable(name)
}

/** For people: stdout is for the link alone. */
function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** One line, without waiting for the end of stdin: whoever writes it may wait for us. */
function lineOfStdin(): string {
  const buffer = Buffer.alloc(LINK_BYTES_MAX)
  let length = 0
  while (length < buffer.length && !buffer.subarray(0, length).includes('\n')) {
    const count = readSome(buffer, length)
    if (count === 0) break
    length += count
  }
  const line = buffer.subarray(0, length).toString().split('\n')[0]!.trim()
  if (line === '')
    throw new KappaError('InvitationError', 'stdin holds no invitation; make one with: kappa pair --invite')
  return line
}

function readSome(buffer: Buffer, offset: number): number {
  for (;;) {
    try {
      return readSync(STDIN, buffer, offset, buffer.length - offset, null)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EOF') return 0
      if (code !== 'EAGAIN') throw new KappaError('InvitationError', `stdin can't be read: ${(error as Error).message}`)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    }
  }
}
