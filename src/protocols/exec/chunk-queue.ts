/** Bytes pushed by frames and pulled by an unpacker; bounded by the stream's window. */
export class ChunkQueue {
  #chunks: Uint8Array[] = []
  #ended = false
  #error: Error | undefined
  #wake: () => void = () => undefined

  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes)
    this.#wake()
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  fail(error: Error): void {
    this.#error = error
    this.#wake()
  }

  async *read(consumed: (bytes: number) => void): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#error) throw this.#error
      const bytes = this.#chunks.shift()
      if (bytes) {
        yield bytes
        consumed(bytes.length)
      } else if (this.#ended) return
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
  }
}
