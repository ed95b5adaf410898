/** A headless Chromium, driven by its own protocol: as much as the tests of the web page need. */

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Test } from 'tap'

/** What takes so long has failed. */
const PATIENCE_MS = 40_000

/** The browser of this machine, if there is one. */
export function chromium(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome']
  const paths = (process.env.PATH ?? '')
    .split(delimiter)
    .flatMap((directory) => names.map((name) => join(directory, name)))
  return paths.find((path) => existsSync(path))
}

interface Message {
  id?: number
  method?: string
  sessionId?: string
  params?: Record<string, unknown>
  result?: Record<string, unknown>
  error?: { message: string }
}

export class Browser {
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, { resolve(result: Record<string, unknown>): void; reject(error: Error): void }>()
  readonly #listeners = new Map<string, (message: Message) => void>()
  #next = 1

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      const message = JSON.parse(String(data)) as Message
      if (message.id === undefined) this.#listeners.get(message.sessionId ?? '')?.(message)
      else {
        const waiting = this.#waiting.get(message.id)
        this.#waiting.delete(message.id)
        if (message.error) waiting?.reject(new Error(message.error.message))
        else waiting?.resolve(message.result ?? {})
      }
    })
  }

  /** Ends with the test. */
  static async start(t: Test, program: string): Promise<Browser> {
    const profile = mkdtempSync(join(tmpdir(), 'kappa-browser-'))
    const flags = ['--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`, '--no-first-run']
    const more = ['--disable-gpu', '--hide-scrollbars', '--disable-background-networking', '--disable-dev-shm-usage']
    const root = process.getuid?.() === 0 ? ['--no-sandbox'] : []
    const environment = { PATH: process.env.PATH, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile }
    const child = spawn(program, [...flags, ...more, ...root, 'about:blank'], {
      env: environment,
      stdio: ['ignore', 'ignore', 'pipe']
    })
    t.teardown(async () => {
      await ended(child)
      rmSync(profile, { recursive: true, force: true, maxRetries: 10 })
    })
    const url = await new Promise<string>((resolve, reject) => {
      let said = ''
      child.stderr.on('data', (bytes) => {
        said += bytes
        const found = /DevTools listening on (ws:\S+)/.exec(said)
        if (found) resolve(found[1]!)
      })
      child.once('exit', (code) => reject(new Error(`the browser ended with ${code}: ${said}`)))
    })
    const socket = new WebSocket(url)
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve)
      socket.addEventListener('error', () => reject(new Error('the browser does not answer')))
    })
    return new Browser(socket)
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) }))
    })
  }

  /** A tab; `dark`: whether its user wants it so. */
  async open(width: number, height: number, dark = false): Promise<Tab> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const tab = new Tab(this, String(sessionId))
    this.#listeners.set(String(sessionId), (message) => tab.hear(message.method ?? '', message.params ?? {}))
    await tab.send('Page.enable')
    await tab.send('Runtime.enable')
    await tab.send('Log.enable')
    await tab.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 })
    const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]
    await tab.send('Emulation.setEmulatedMedia', { features })
    return tab
  }
}

export class Tab {
  readonly #browser: Browser
  readonly #session: string
  /** What the page, or the browser about it, complained of. */
  readonly complaints: string[] = []
  /** What its dialogs are answered. */
  answer = true

  constructor(browser: Browser, session: string) {
    this.#browser = browser
    this.#session = session
  }

  hear(method: string, params: Record<string, unknown>): void {
    if (method === 'Page.javascriptDialogOpening')
      void this.send('Page.handleJavaScriptDialog', { accept: this.answer })
    if (method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(params))
    if (method === 'Log.entryAdded') {
      const { level, text, url } = params.entry as { level: string; text: string; url?: string }
      if (level === 'error') this.complaints.push(`${text} ${url ?? ''}`)
    }
  }

  send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    return this.#browser.send(method, params, this.#session)
  }

  async goto(url: string): Promise<void> {
    await this.send('Page.navigate', { url })
  }

  /** The value of an expression in the page. */
  async eval<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true
    })
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails))
    return (result as { value: T }).value
  }

  /** Until an expression is true in the page. */
  async until(expression: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    while (!(await this.eval<boolean>(`Boolean(${expression})`))) {
      if (performance.now() > deadline) {
        const text = await this.eval<string>('document.body.innerText')
        throw new Error(`waited in vain until ${expression}; the page says: ${text}; ${this.complaints.join('; ')}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** As soon as it is there. */
  async click(selector: string): Promise<void> {
    await this.until(`document.querySelector(${JSON.stringify(selector)})`)
    await this.eval(`document.querySelector(${JSON.stringify(selector)}).click()`)
  }

  async type(selector: string, text: string): Promise<void> {
    await this.until(`document.querySelector(${JSON.stringify(selector)})`)
    await this.eval(`document.querySelector(${JSON.stringify(selector)}).focus()`)
    await this.send('Input.insertText', { text })
  }

  /** Of the whole page. */
  async screenshot(): Promise<Buffer> {
    const { cssContentSize } = (await this.send('Page.getLayoutMetrics')) as {
      cssContentSize: { width: number; height: number }
    }
    const clip = { x: 0, y: 0, width: cssContentSize.width, height: cssContentSize.height, scale: 1 }
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip })
    return Buffer.from(String(data), 'base64')
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
  await gone
  clearTimeout(timer)
}
