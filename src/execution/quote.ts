/**
 * Bytes for `sh`. Scripts are built as latin1 strings, one character per byte, because arguments and environments are
 * bytes: Node's own `spawn` would turn 0xFF into UTF-8.
 */

/** One byte per character; the inverse of `Buffer.from(text, 'latin1')`. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

/** The UTF-8 bytes of a JavaScript string, as one character per byte. */
export function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** Quotes one word (one character per byte, no NUL) for any POSIX shell. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}

/** The same as people would write it: plain where a shell takes nothing apart. */
export function quoteForPeople(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : quote(word)
}
