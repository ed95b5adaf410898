import type { Log } from '../../src/daemon/log.ts'

/** A log that keeps its lines for the test to look at. */
export function logLines(): Log & { lines: string[] } {
  const lines: string[] = []
  const write =
    (level: string) =>
    (message: string, ...more: unknown[]) =>
      void lines.push([level, message, ...more.map((value) => JSON.stringify(value))].join(' '))
  return { lines, info: write('info'), warn: write('warn'), error: write('error') }
}
