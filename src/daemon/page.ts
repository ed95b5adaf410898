/**
 * The web page of `kappa ui`: served on this machine alone, from when it is asked for until nobody has it open any more.
 *
 * Whoever gets in may do what the user may, so three things must fit. The name that was asked for is the address that is
 * listened on (LocalServer), which keeps out pages of others whose name was turned here. A session begins with a token that
 * `kappa ui` made, good once and for minutes, which comes in the address' fragment and so is in no request's line, log or
 * Referer; other users of this machine can't know it. After that every request shows two secrets: a cookie that scripts
 * can't read, and a key that the page keeps. Cookies go to every port of this address, other users' servers included, and
 * are sent by whatever page has the browser ask; the key is of this origin's own, and nothing sends it by itself.
 */

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'
import { isKappaError, KappaError, messageOf } from '../errors.ts'
import type { PairEvent, PairResult, UiResult } from './control-results.ts'
import { LocalServer, refuse } from './local-http.ts'
import type { Log } from './log.ts'

const TOKEN_MS = 5 * 60_000
/** Tokens that nobody has used, and pages; of more the oldest go. */
const TOKENS_MAX = 4
const SESSIONS_MAX = 8
/** Pages that are told what happens, at once. */
const WATCHING_MAX = 8
/** Without a page that watches the server ends after so long; how often it looks. */
const UNUSED_MS = 10 * 60_000
const LOOK_MS = 15_000
const BODY_BYTES_MAX = 4_096
/** A page that does not read gets nothing new while so much waits for it. */
const UNREAD_BYTES_MAX = 1024 * 1024
const EVERY_MS = 1_000
const SECRET_BYTES = 32
const COOKIE = 'kappa-ui'

/** Nothing from elsewhere, nothing in line, no frames, no forms. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
].join('; ')

const HEADERS = {
  'Content-Security-Policy': POLICY,
  'X-Frame-Options': 'DENY',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()'
}

/** Read when the page is first asked for. */
const FILES: Record<string, { file: string; type: string }> = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/page.js': { file: 'page.js', type: 'text/javascript; charset=utf-8' },
  '/page.css': { file: 'page.css', type: 'text/css; charset=utf-8' },
  '/icon.svg': { file: 'icon.svg', type: 'image/svg+xml' }
}
const DIRECTORY = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../dist/page/' : './page/', import.meta.url)
)

/** What the page may ask for, as the control socket answers it. */
const READS = new Set(['figures', 'why'])
const ACTS = new Set(['kill', 'pause', 'resume', 'unpair'])

/** The two sides of pairing by numbers as the page sees them. */
export interface PairingTalk {
  tell(event: PairEvent): void
  ask(event: PairEvent): Promise<Record<string, unknown>>
  readonly signal: AbortSignal
}

export interface PageInit {
  /** Answers a command; its parameters are checked. */
  answer(command: string, params: unknown): unknown
  /** Waits for another machine, or joins the one that waits. */
  pair(params: Record<string, unknown>, talk: PairingTalk): Promise<PairResult>
  log: Log
  /** ms; default: `performance.now`. */
  now?(): number
}

export class Page {
  readonly #init: PageInit
  readonly #now: () => number
  #server: LocalServer | undefined
  #starting: Promise<LocalServer> | undefined
  #timer: NodeJS.Timeout | undefined
  #usedAt = 0
  /** Those that may be used, with when they end; at most TOKENS_MAX. */
  readonly #tokens = new Map<string, number>()
  /** Keys by their cookies; at most SESSIONS_MAX. */
  readonly #sessions = new Map<string, string>()
  /** At most WATCHING_MAX. */
  readonly #watching = new Set<ServerResponse>()
  #ticker: NodeJS.Timeout | undefined
  /** Takes the page's answer to what pairing asked it. */
  #answered: ((answer: Record<string, unknown>) => void) | undefined
  #isPairing = false

  constructor(init: PageInit) {
    this.#init = init
    this.#now = init.now ?? (() => performance.now())
  }

  /** Starts to serve unless it does already; an address that is good for one page. Throws NetworkError. */
  async open(): Promise<UiResult> {
    this.#starting ??= this.#start()
    const server = await this.#starting
    this.#usedAt = this.#now()
    const token = secret()
    this.#tokens.set(token, this.#now() + TOKEN_MS)
    dropOldest(this.#tokens, TOKENS_MAX)
    return { url: `http://${server.authority}/#${token}`, forMs: TOKEN_MS }
  }

  get isServing(): boolean {
    return this.#server !== undefined
  }

  /** Every page is on its own from now on. */
  async close(): Promise<void> {
    const server = this.#server ?? (await this.#starting?.catch(() => undefined))
    this.#server = this.#starting = undefined
    clearInterval(this.#timer)
    clearInterval(this.#ticker)
    this.#ticker = undefined
    this.#tokens.clear()
    this.#sessions.clear()
    await server?.close()
  }

  async #start(): Promise<LocalServer> {
    try {
      const handle = (request: IncomingMessage, response: ServerResponse, path: string) =>
        this.#handle(request, response, path)
      this.#server = await LocalServer.listen('127.0.0.1', 0, handle, this.#init.log)
    } catch (error) {
      this.#starting = undefined
      throw error
    }
    this.#timer = setInterval(() => this.closeIfUnused(), LOOK_MS).unref()
    return this.#server
  }

  /** Called now and then. */
  closeIfUnused(): void {
    if (this.#watching.size > 0) this.#usedAt = this.#now()
    if (this.#now() - this.#usedAt >= UNUSED_MS) void this.close()
  }

  // ----------------------------------------------------------------------------------------------------- requests

  async #handle(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
    const { method } = request
    if (method !== 'GET' && method !== 'POST') refuse(response, 405, 'only GET and POST')
    else if (!path.startsWith('/api/')) this.#serveFile(request, response, path)
    else if (!this.#isOurs(request)) refuse(response, 403, 'only the page itself may ask this')
    else if (path !== '/api/session' && !this.#isKnown(request))
      refuse(response, 401, 'no session; open the page with: kappa ui')
    else {
      try {
        await this.#serveApi(request, response, path.slice('/api/'.length))
      } catch (error) {
        if (!isKappaError(error)) throw error
        answerJson(response, { error: { name: error.name, message: error.message } }, 400)
      }
    }
  }

  #serveFile({ method }: IncomingMessage, response: ServerResponse, path: string): void {
    const found = Object.hasOwn(FILES, path) ? FILES[path] : undefined
    if (found === undefined) refuse(response, 404, 'there is nothing here')
    else if (method !== 'GET') refuse(response, 405, 'it can only be read')
    else response.writeHead(200, { 'Content-Type': found.type }).end(readFileSync(DIRECTORY + found.file))
  }

  /** A browser says for what page it asks: whatever changes something must say so. */
  #isOurs({ method, headers }: IncomingMessage): boolean {
    const { origin } = headers
    const site = headers['sec-fetch-site']
    if (site !== undefined && site !== 'same-origin') return false
    if (origin === undefined) return method === 'GET'
    return origin === `http://${this.#server?.authority}`
  }

  #isKnown({ headers }: IncomingMessage): boolean {
    const cookies = (headers.cookie ?? '').split(/; */).filter((cookie) => cookie.startsWith(`${COOKIE}=`))
    const [, key = ''] = /^Bearer ([\w-]+)$/.exec(headers.authorization ?? '') ?? []
    return cookies.some((cookie) => {
      const wanted = this.#sessions.get(cookie.slice(COOKIE.length + 1))
      return wanted !== undefined && isSame(key, wanted)
    })
  }

  #beginSession({ token }: Record<string, unknown>, response: ServerResponse): void {
    const now = this.#now()
    for (const [known, until] of this.#tokens) if (until <= now) this.#tokens.delete(known)
    const found = [...this.#tokens.keys()].find((known) => typeof token === 'string' && isSame(token, known))
    if (found === undefined) {
      refuse(response, 401, 'this address was used already, or is too old; get another with: kappa ui')
      return
    }
    this.#tokens.delete(found)
    const [cookie, key] = [secret(), secret()]
    this.#sessions.set(cookie, key)
    dropOldest(this.#sessions, SESSIONS_MAX)
    response.setHeader('Set-Cookie', `${COOKIE}=${cookie}; Path=/api/; HttpOnly; SameSite=Strict`)
    answerJson(response, { key })
  }

  async #serveApi(request: IncomingMessage, response: ServerResponse, command: string): Promise<void> {
    const isGet = request.method === 'GET'
    if (isGet && command === 'events') this.#watch(response)
    else if (isGet && READS.has(command)) {
      const { searchParams } = new URL(request.url ?? '', 'http://localhost')
      answerJson(response, await this.#init.answer(command, Object.fromEntries(searchParams)))
    } else if (isGet) refuse(response, 404, 'there is nothing here')
    else if (command === 'session') this.#beginSession(await bodyOf(request), response)
    else if (command === 'pair') await this.#pair(await bodyOf(request), response)
    else if (command === 'answer') this.#takeAnswer(await bodyOf(request), response)
    else if (ACTS.has(command)) {
      answerJson(response, await this.#init.answer(command, await bodyOf(request)))
      // Whoever did it sees at once what came of it.
      this.#tick()
    } else refuse(response, 404, 'there is nothing here')
  }

  // ------------------------------------------------------------------------------------------------------- events

  /** What holds, each second, as lines of JSON. */
  #watch(response: ServerResponse): void {
    if (this.#watching.size >= WATCHING_MAX) {
      refuse(response, 429, `${WATCHING_MAX} pages are open already; close one`)
      return
    }
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson; charset=utf-8' })
    this.#watching.add(response)
    response.once('close', () => {
      this.#watching.delete(response)
      this.#usedAt = this.#now()
      if (this.#watching.size > 0) return
      clearInterval(this.#ticker)
      this.#ticker = undefined
    })
    response.write(this.#snapshot())
    this.#ticker ??= setInterval(() => this.#tick(), EVERY_MS)
  }

  #tick(): void {
    if (this.#watching.size === 0) return
    const line = this.#snapshot()
    for (const response of this.#watching) if (response.writableLength < UNREAD_BYTES_MAX) response.write(line)
  }

  #snapshot(): string {
    const { answer } = this.#init
    const held = {
      status: answer('status', {}),
      jobs: answer('ps', {}),
      guests: answer('ps', { guests: true }),
      figures: answer('figures', { last: 1 })
    }
    return `${JSON.stringify(held)}\n`
  }

  // ------------------------------------------------------------------------------------------------------ pairing

  /** Tells as lines of JSON what happens; ends with the result, or with the page. */
  async #pair(params: Record<string, unknown>, response: ServerResponse): Promise<void> {
    if (this.#isPairing) throw new KappaError('PairingError', 'another page is pairing already')
    this.#isPairing = true
    const gone = new AbortController()
    response.once('close', () => gone.abort(new KappaError('PairingError', 'the page was closed')))
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson; charset=utf-8' })
    const tell = (event: object) => void response.write(`${JSON.stringify(event)}\n`)
    const ask = (event: PairEvent) =>
      new Promise<Record<string, unknown>>((resolve, reject) => {
        this.#answered = resolve
        gone.signal.addEventListener('abort', () => reject(gone.signal.reason), { once: true })
        tell(event)
      })
    try {
      const paired = await this.#init.pair(params, { tell, ask, signal: gone.signal })
      tell({ type: 'paired', ...paired })
    } catch (error) {
      if (!isKappaError(error)) this.#init.log.error('pairing by the page failed', error)
      tell({ type: 'error', message: messageOf(error) })
    } finally {
      this.#isPairing = false
      this.#answered = undefined
      response.end()
      this.#tick()
    }
  }

  #takeAnswer(answer: Record<string, unknown>, response: ServerResponse): void {
    const answered = this.#answered
    this.#answered = undefined
    if (answered === undefined) throw new KappaError('PairingError', 'nothing was asked, or that try is over')
    answered(answer)
    answerJson(response, {})
  }
}

function secret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url')
}

/** Without telling by the time it takes how much of it is right. */
function isSame(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function dropOldest(map: Map<string, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return
    map.delete(key)
  }
}

function answerJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' }).end(JSON.stringify(value))
}

/** A JSON object. Forms of other pages can't send that type. Throws ProtocolError. */
async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  if (request.headers['content-type'] !== 'application/json') throw new KappaError('ProtocolError', 'it must be JSON')
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) throw new KappaError('ProtocolError', `it is longer than ${BODY_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString())
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Told below.
  }
  throw new KappaError('ProtocolError', 'it must be a JSON object')
}
