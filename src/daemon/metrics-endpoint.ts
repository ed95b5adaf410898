/** Where Prometheus fetches figures, when the owner wants that: on this machine alone, for all of its users. */

import { messageOf } from '../errors.ts'
import { LocalServer, refuse } from './local-http.ts'
import type { Log } from './log.ts'

export class MetricsEndpoint {
  readonly #text: () => string
  readonly #log: Log
  #address: string | undefined
  /** What was asked for last comes last. */
  #changing: Promise<void> = Promise.resolve()
  #server: LocalServer | undefined

  constructor(text: () => string, log: Log) {
    this.#text = text
    this.#log = log
  }

  /** `127.0.0.1:PORT`, `[::1]:PORT`, or undefined for none. What goes wrong is logged. */
  configure(address: string | undefined): Promise<void> {
    if (address === this.#address) return this.#changing
    this.#address = address
    this.#changing = this.#changing.then(() => this.#change(address))
    return this.#changing
  }

  close(): Promise<void> {
    return this.configure(undefined)
  }

  async #change(address: string | undefined): Promise<void> {
    await this.#server?.close()
    this.#server = undefined
    if (address === undefined) return
    const colon = address.lastIndexOf(':')
    const host = address.startsWith('[') ? '::1' : '127.0.0.1'
    try {
      this.#server = await LocalServer.listen(
        host,
        Number(address.slice(colon + 1)),
        (request, response, path) => {
          if (path !== '/metrics') refuse(response, 404, 'the figures are at /metrics')
          else if (request.method !== 'GET') refuse(response, 405, 'they can only be read')
          else response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' }).end(this.#text())
        },
        this.#log
      )
    } catch (error) {
      this.#log.warn('no figures can be fetched', { address, why: messageOf(error) })
    }
  }
}
