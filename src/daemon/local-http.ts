/**
 * HTTP for programs and browsers on this machine alone. Every web page in the world can make a browser ask here, and every
 * user of this machine can connect: so the name that was asked for must be the one that is listened on (a page whose name
 * was turned to this address has another), and whatever is not public must ask for more than that.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { KappaError, messageOf } from '../errors.ts'
import type { Log } from './log.ts'

/** Connections at once. */
const CONNECTIONS_MAX = 64
const HEADER_BYTES_MAX = 8 * 1024
const REQUEST_TIMEOUT_MS = 10_000

/** For every answer, whatever it is. */
const HEADERS = {
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin'
}

export type LocalHandler = (request: IncomingMessage, response: ServerResponse, path: string) => void | Promise<void>

export class LocalServer {
  readonly #server: Server
  readonly #host: string
  readonly #log: Log
  readonly #handle: LocalHandler

  private constructor(host: string, handle: LocalHandler, log: Log) {
    this.#host = host
    this.#handle = handle
    this.#log = log
    const options = { maxHeaderSize: HEADER_BYTES_MAX, requestTimeout: REQUEST_TIMEOUT_MS, insecureHTTPParser: false }
    this.#server = createServer(options, (request, response) => void this.#serve(request, response))
    this.#server.maxConnections = CONNECTIONS_MAX
  }

  /** Listens on a loopback address; port 0 is any. Throws NetworkError. */
  static async listen(host: '127.0.0.1' | '::1', port: number, handle: LocalHandler, log: Log): Promise<LocalServer> {
    const local = new LocalServer(host, handle, log)
    await new Promise<void>((resolve, reject) => {
      local.#server.once('error', (error) =>
        reject(new KappaError('NetworkError', `can't listen on ${host} port ${port}: ${error.message}`))
      )
      local.#server.listen({ host, port, exclusive: true }, resolve)
    })
    return local
  }

  /** What a browser calls it: `127.0.0.1:4711`. */
  get authority(): string {
    const { port } = this.#server.address() as AddressInfo
    return `${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${port}`
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
    response.on('error', () => undefined)
    try {
      if (request.headers.host !== this.authority) {
        refuse(response, 421, 'this server has another name')
        return
      }
      await this.#handle(request, response, (request.url ?? '/').split('?')[0]!)
    } catch (error) {
      this.#log.error('a request of a browser failed', error)
      if (response.headersSent) response.destroy()
      else refuse(response, 500, messageOf(error))
    }
  }
}

/** Answers with a line of text. */
export function refuse(response: ServerResponse, status: number, why: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', Connection: 'close' })
  response.end(`${why}\n`)
}
