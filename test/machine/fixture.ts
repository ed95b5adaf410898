import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'

/** A machine's /proc and /sys/fs/cgroup, written out below a directory of the test. */
export interface Fixture {
  procRoot: string
  cgroupRoot: string
  /** Writes a file; undefined removes it, a directory too. */
  set(path: string, content: string | undefined): void
  /** Writes what changes until that moment. */
  advanceTo(atMs: number): void
}

/**
 * Unpacks `fixtures/NAME.txt`. Its form: `=== MS` begins what is written at that time, `--- PATH` a file whose lines follow,
 * `--- PATH link TARGET` a symbolic link, `--- PATH hex BYTES` a binary file.
 */
export function openFixture(t: Test, name: string): Fixture {
  const text = readFileSync(new URL(`./fixtures/${name}.txt`, import.meta.url), 'utf8')
  const stages = text.split(/^=== /m).slice(1)
  const fixture = emptyFixture(t)
  const advanceTo = (atMs: number) => {
    const stage = stages.find((candidate) => Number(candidate.slice(0, candidate.indexOf('\n'))) === atMs)
    if (stage === undefined) throw new Error(`${name} has no moment ${atMs}`)
    for (const part of stage.split(/^--- /m).slice(1)) {
      const end = part.indexOf('\n')
      const [path, kind, value] = part.slice(0, end).split(' ')
      const file = join(fixture.procRoot, '..', path!)
      mkdirSync(dirname(file), { recursive: true })
      if (kind === 'link') symlinkSync(value!, file)
      else writeFileSync(file, kind === 'hex' ? Buffer.from(value!, 'hex') : part.slice(end + 1))
    }
  }
  advanceTo(0)
  return { ...fixture, advanceTo }
}

/** A machine of which nothing can be read. */
export function emptyFixture(t: Test): Fixture {
  const root = t.testdir({ proc: {}, cgroup: {} })
  return {
    procRoot: join(root, 'proc'),
    cgroupRoot: join(root, 'cgroup'),
    set(path, content) {
      const file = join(root, path)
      if (content === undefined) return rmSync(file, { recursive: true, force: true })
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, content)
    },
    advanceTo() {}
  }
}

/** A line of /proc/PID/stat. */
export function taskStat(task: {
  pid: number
  parent: number
  state?: string
  ticks?: number
  reaped?: number
  threads?: number
  start?: number
}): string {
  const { pid, parent, state = 'S', ticks = 0, reaped = 0, threads = 1, start = 5000 } = task
  return `${pid} (a (b) c) ${state} ${parent} ${pid} ${pid} 0 -1 4194304 9 0 0 0 ${ticks} 0 ${reaped} 0 20 0 ${threads} 0 ${start} 1 1 1\n`
}
