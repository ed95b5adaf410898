/**
 * What makes files mode fast, each by a name by which it can be left out to measure what it brings: KAPPA_FILES_WITHOUT of
 * the target's daemon holds names with commas between them; for one that there is not, nothing is served. Each is asked for at
 * one place.
 */

/** What each does. */
export const TECHNIQUES = {
  'whole-directories': 'who looks for one name gets all of the directory: what is not in it need not be asked for',
  'small-files': 'small files come whole: with the answer that opens them, or when they are first read',
  'system-mount': 'programs and libraries are never opened or flushed, and believed until news come',
  'local-answers': 'files that are known are opened for reading without asking home',
  'pipelined-writes': 'writes are waited for when the file is closed or synced, not one by one',
  drafts: 'what is in a small file that is made there is known there, and goes home in few pieces',
  'own-files': 'system files that this machine has too are read from its own disk',
  'kept-contents': "contents of home's files are kept on this machine's disk for the next jobs",
  'read-ahead': 'large files come in blocks, the next ones before they are asked for',
  replay: 'system directories that the last jobs listed are listed when the first job begins',
  news: 'home tells what changes, so that what it has told is believed until then'
} as const

export type Technique = keyof typeof TECHNIQUES

const left = (process.env.KAPPA_FILES_WITHOUT ?? '').split(',').filter((name) => name !== '')
for (const name of left) {
  if (Object.hasOwn(TECHNIQUES, name)) continue
  console.error(`KAPPA_FILES_WITHOUT names ${name}; there are: ${Object.keys(TECHNIQUES).join(', ')}`)
  process.exit(1)
}

/** Unless it is left out. */
export function uses(technique: Technique): boolean {
  return !left.includes(technique)
}
