/** Programs of ours, in C, that jobs begin with: copied to where a seat can run them. */

import { closeSync, fchmodSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Their names there: what makes a job's terminal, and what enters home's tree. */
export const PROGRAMS = { terminal: 'terminal', enter: 'enter' } as const

/** Throws when one isn't there. */
export function installPrograms(directory: string): void {
  for (const name of Object.values(PROGRAMS)) installProgram(name, `${directory}/${name}`)
}

/** Built for this machine. Throws when it isn't there. */
export function installProgram(name: keyof typeof PROGRAMS, to: string): void {
  const file = `kappa-${name}-linux-${process.arch}`
  const beside = import.meta.url.endsWith('.ts') ? `./native/prebuilt/${file}` : `./${file}`
  const program = readFileSync(fileURLToPath(new URL(beside, import.meta.url)))
  // Never through a link that a guest put there.
  const fd = openSync(to, 'wx')
  try {
    writeFileSync(fd, program)
    fchmodSync(fd, 0o755)
  } finally {
    closeSync(fd)
  }
}
