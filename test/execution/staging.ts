/** Trees for the staging tests. */

import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { PairingKind } from '../../src/core/types.ts'
import { packOuts, prepareIns, receiveOuts, unpackIns } from '../../src/execution/staging.ts'

/** Everything below a directory, as text: mode, kind, content or target; times in ms. */
export function listing(directory: string, times = true): Record<string, string> {
  const all: Record<string, string> = {}
  const visit = (path: Buffer, name: string) => {
    const stats = lstatSync(path)
    const time = times && !stats.isSymbolicLink() ? ` ${Math.round(stats.mtimeMs)}` : ''
    const mode = (stats.mode & 0o7777).toString(8)
    if (stats.isSymbolicLink()) all[name] = `link ${readlinkSync(path, 'latin1')}`
    else if (stats.isDirectory()) {
      if (name !== '') all[name] = `directory ${mode}${time}`
      for (const child of readdirSync(path, { encoding: 'buffer' })) {
        const text = child.toString('latin1')
        visit(Buffer.concat([path, Buffer.from('/'), child]), name === '' ? text : `${name}/${text}`)
      }
    } else if (!stats.isFile()) all[name] = 'other'
    else all[name] = `file ${mode}${time} ${readFileSync(path, 'latin1')}`
  }
  visit(Buffer.from(directory), '')
  return all
}

const SELF = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

export async function stageIn(names: string[], from: string, to: string): Promise<void> {
  await unpackIns((await prepareIns(names, from)).pack(), { directory: to, ...SELF })
}

export async function stageOut(
  names: string[],
  from: string,
  to: string,
  kind: PairingKind = 'friend',
  partly = false
): Promise<void> {
  const received = await receiveOuts(packOuts(names, { directory: from, ...SELF }), { names, directory: to, kind })
  await received.commit({ partly })
}

/** Cuts a stream into pieces of other sizes. */
export async function* cut(source: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    for (let offset = 0; offset < piece.length; offset += size) yield piece.subarray(offset, offset + size)
  }
}
