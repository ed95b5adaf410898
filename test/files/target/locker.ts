/** A program that locks files as it is told, line by line: at home, or where a tree is mounted. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { TreeMount } from './tree-mount.ts'

export const hasPython = spawnSync('python3', ['--version']).status === 0

const PROGRAM = `
import errno, fcntl, os, struct, sys
files = {}
def ranged(fd, how, type, start, length):
    lock = struct.pack('hhqqi', type, 0, start, length, 0)
    return struct.unpack('hhqqi', fcntl.fcntl(fd, how, lock))
for line in sys.stdin:
    words = line.split()
    try:
        what, name = words[:2]
        if what == 'open': files[name] = os.open(words[2], int(words[3])); said = 'done'
        elif what == 'close': os.close(files.pop(name)); said = 'done'
        elif what == 'fork':
            ours, theirs = os.pipe()
            if os.fork() == 0: os.close(theirs); os.read(ours, 1); os._exit(0)
            said = 'done'
        elif what in ('lock', 'wait', 'shared', 'none', 'test'):
            type = {'shared': fcntl.F_RDLCK, 'none': fcntl.F_UNLCK}.get(what, fcntl.F_WRLCK)
            how = {'wait': fcntl.F_SETLKW, 'test': fcntl.F_GETLK}.get(what, fcntl.F_SETLK)
            got = ranged(files[name], how, type, int(words[2]), int(words[3]))
            said = 'done' if what != 'test' else 'free' if got[0] == fcntl.F_UNLCK else '%d %d %d' % (got[0], got[2], got[3])
        elif what == 'write': said = os.pwrite(files[name], words[3].encode(), int(words[2]))
        elif what == 'read': said = os.pread(files[name], int(words[3]), int(words[2])).decode()
        else:
            flags = {'flock': fcntl.LOCK_EX | fcntl.LOCK_NB, 'flock-shared': fcntl.LOCK_SH | fcntl.LOCK_NB,
                     'flock-wait': fcntl.LOCK_EX, 'flock-none': fcntl.LOCK_UN}
            fcntl.flock(files[name], flags[what]); said = 'done'
    except OSError as error: said = errno.errorcode[error.errno]
    print(said, flush=True)
`

export class Locker implements AsyncDisposable {
  readonly child: ChildProcess
  readonly #answers: ((said: string) => void)[] = []
  readonly #ended: Promise<void>

  /** Working in a directory of home: there, or as the mount shows it. */
  constructor(directory: string, mount?: TreeMount) {
    const argv = ['python3', '-SE', '-c', PROGRAM]
    this.child =
      mount?.spawn(directory, argv) ?? spawn(argv[0]!, argv.slice(1), { cwd: directory, stdio: ['pipe', 'pipe', 2] })
    this.child.stdin?.on('error', () => {})
    createInterface({ input: this.child.stdout! }).on('line', (line) => this.#answers.shift()?.(line))
    this.#ended = new Promise((resolve) =>
      this.child.on('close', () => {
        for (const answer of this.#answers.splice(0)) answer('ended')
        resolve()
      })
    )
  }

  /** A command and its words; `done`, or the name of the errno. */
  ask(command: string): Promise<string> {
    if (this.child.exitCode !== null) return Promise.resolve('ended')
    this.child.stdin?.write(`${command}\n`)
    return new Promise((resolve) => this.#answers.push(resolve))
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.child.kill(signal)
    await this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.stdin?.end()
    await this.#ended
  }
}
