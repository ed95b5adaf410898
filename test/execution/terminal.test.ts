/** Jobs on a terminal: in the sandbox and without one. */

import { createHash, randomBytes } from 'node:crypto'
import { chmodSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Executor, type Job, type JobSpec } from '../../src/execution/job.ts'
import { collect, place, sandboxed, specOf, until } from './executing.ts'

const ALL = { descriptors: 7, rows: 24, columns: 80, modes: [] }

/** What a job on a terminal has shown so far, all of it. */
class Watched {
  readonly job: Job
  readonly stopped: number[] = []
  text = ''

  constructor(job: Job) {
    this.job = job
    job.onStopped = (signal) => this.stopped.push(signal)
    job.terminal!.screen.on('data', (bytes: Buffer) => {
      this.text += bytes.toString('latin1')
    })
    job.start()
  }

  type(text: string): void {
    this.job.terminal!.keys.write(text)
  }

  shows(t: Test, text: string): Promise<void> {
    return until(t, JSON.stringify(text), () => this.text.includes(text))
  }
}

function both(name: string, test: (t: Test, begin: (spec: JobSpec) => Promise<Job>) => Promise<unknown>): void {
  t.test(`${name} (in the sandbox)`, async (t) => {
    const executor = await sandboxed(t, { nice: 0 })
    if (executor) await test(t, beginning(t, executor))
  })
  t.test(`${name} (without one)`, async (t) => {
    const directory = place(t)
    chmodSync(directory, 0o711)
    const executor = await Executor.open({ scratchDirectory: `${directory}/scratch`, unsandboxed: true, nice: 0 })
    t.teardown(() => executor.close())
    await test(t, beginning(t, executor))
  })
}

function beginning(t: Test, executor: Executor): (spec: JobSpec) => Promise<Job> {
  return async (spec) => {
    const job = await executor.begin(spec)
    t.teardown(() => job.close())
    return job
  }
}

function sh(script: string, more: Partial<JobSpec> = {}): JobSpec {
  return specOf(['sh', '-c', script], { terminal: ALL, ...more })
}

t.test('a machine with a sandbox has terminals', async (t) => {
  const executor = await sandboxed(t, { nice: 0 })
  if (executor) t.strictSame(await executor.available(), { ok: true })
})

both('the terminal is a real one, the job its foreground', async (t, begin) => {
  const script = 'tty && stty size && echo to /dev/tty >/dev/tty; echo /proc/self/fd/[3-9]; ps -o tpgid= $$; echo $$'
  const job = await begin(sh(script))
  const watched = new Watched(job)
  t.strictSame(await job.ended, { exitCode: 0, signal: null })
  await until(t, 'the end of the screen', () => job.terminal!.screen.readableEnded)
  const [tty, size, said, open, group, own] = watched.text.split('\r\n')
  t.match(tty, /^\/dev\/pts\/\d+$/)
  t.equal(size, '24 80')
  t.equal(said, 'to /dev/tty')
  // The shell has the directory open that it lists.
  t.equal(open, '/proc/self/fd/3', 'nothing else is open')
  t.equal(group?.trim(), own)
})

both('descriptors that are no terminal are as they would be without one', async (t, begin) => {
  const script = 'for i in 0 1 2; do [ -t $i ] && echo terminal $i >/dev/tty; done; cat; echo err >&2; exit 3'
  for (const descriptors of [1, 2, 4, 6, 3, 5]) {
    const job = await begin(sh(script, { terminal: { ...ALL, descriptors } }))
    const outputs = Promise.all([job.stdout, job.stderr, job.terminal!.screen].map((stream) => collect(stream)))
    job.start()
    const fed = descriptors & 1 ? job.terminal!.keys : job.stdin
    fed.end('fed\n')
    t.strictSame(await job.ended, { exitCode: 3, signal: null })
    const [out, err, screen] = (await outputs).map(String) as [string, string, string]
    t.equal(out, descriptors & 2 ? '' : 'fed\n')
    t.equal(err, descriptors & 4 ? '' : 'err\n')
    const names = [0, 1, 2].filter((fd) => descriptors & (1 << fd)).map((fd) => `terminal ${fd}\r\n`)
    const echo = descriptors & 1 ? 'fed\r\n' : ''
    const shown = names.join('') + echo + (descriptors & 2 ? 'fed\r\n' : '') + (descriptors & 4 ? 'err\r\n' : '')
    // The echo may come before the names.
    t.equal([...screen].sort().join(''), [...shown].sort().join(''), `${descriptors}: ${JSON.stringify(screen)}`)
  }
})

both('keys have their meaning there: end of file, interrupt, quit, suspend', async (t, begin) => {
  const cat = new Watched(await begin(sh('cat; echo $?')))
  cat.type('line\n')
  await cat.shows(t, 'line\r\nline\r\n')
  cat.type('\u0004')
  t.strictSame(await cat.job.ended, { exitCode: 0, signal: null })
  for (const [key, signal] of [
    ['\u0003', 'SIGINT'],
    ['\u001c', 'SIGQUIT']
  ] as const) {
    const asleep = new Watched(await begin(sh('echo up; exec sleep 100')))
    await asleep.shows(t, 'up')
    asleep.type(key)
    t.strictSame(await asleep.job.ended, { exitCode: null, signal })
  }
  // It forks nothing meanwhile: a shell that waits in vfork for a stopped child can't be stopped.
  const stopped = new Watched(await begin(sh('trap "echo back; exit 6" CONT; echo up; read line')))
  await stopped.shows(t, 'up')
  stopped.type('\u001a')
  await until(t, 'it is stopped', () => stopped.stopped.length > 0)
  t.strictSame(stopped.stopped, [20])
  stopped.job.signal(18)
  t.strictSame(await stopped.job.ended, { exitCode: 6, signal: null })
})

both('the end of what is typed is an end of file', async (t, begin) => {
  for (const text of ['', 'a line\n', 'an open line']) {
    const cat = new Watched(await begin(sh('stty -echo; echo up; cat; echo "<$?"')))
    await cat.shows(t, 'up\r\n')
    cat.job.terminal!.keys.end(text)
    t.strictSame(await cat.job.ended, { exitCode: 0, signal: null })
    await until(t, 'all of it', () => cat.text.endsWith('<0\r\n'))
    t.equal(cat.text.slice(4), `${text.replace('\n', '\r\n')}<0\r\n`)
  }
})

both('signals reach the command, stops are told as often as they happen', async (t, begin) => {
  const job = new Watched(await begin(sh('trap "echo usr1; exec cat" USR1; echo up; while :; do sleep 0.01; done')))
  await job.shows(t, 'up')
  job.job.signal(10)
  await job.shows(t, 'usr1')
  // More than what is kept of what a seat says.
  for (let round = 1; round <= 400; round++) {
    job.job.signal(20)
    await until(t, 'stopped', () => job.stopped.length === round)
    job.job.signal(18)
  }
  job.job.signal(1)
  t.strictSame(await job.job.ended, { exitCode: null, signal: 'SIGHUP' })
  const killed = new Watched(await begin(sh('trap "" HUP TERM INT; echo up; while :; do sleep 0.01; done')))
  await killed.shows(t, 'up')
  for (const signal of [1, 15, 2, 19, 9]) killed.job.signal(signal)
  t.strictSame(await killed.job.ended, { exitCode: null, signal: 'SIGKILL' })
})

both('a new size is seen, and signalled', async (t, begin) => {
  const job = new Watched(await begin(sh('trap "stty size" WINCH; stty size; while :; do sleep 0.01; done')))
  await job.shows(t, '24 80\r\n')
  job.job.terminal!.resize(50, 132)
  await job.shows(t, '50 132\r\n')
  job.job.terminal!.resize(0, 65_535)
  await job.shows(t, '0 65535\r\n')
})

both('a shell in it has job control', async (t, begin) => {
  const env = ['PS1=$ ', 'TERM=dumb', 'HISTFILE='].map((entry) => Buffer.from(entry))
  const job = await begin(specOf(['bash', '--norc', '--noprofile', '--noediting', '-i'], { terminal: ALL, env }))
  const shell = new Watched(job)
  await shell.shows(t, '$ ')
  t.notMatch(shell.text, /no job control/)
  shell.type(`sh -c 'echo u"p"; exec sleep 100'\r`)
  await shell.shows(t, '\r\nup\r\n')
  shell.type('\u001a')
  await shell.shows(t, 'Stopped')
  t.strictSame(shell.stopped, [], 'the shell itself was not')
  shell.type('fg\r')
  await until(t, 'the job is back', () => /fg\r\nsh -c .*\r\n$/.test(shell.text))
  shell.type('\u0003')
  await until(t, 'the prompt', () => shell.text.endsWith('$ '))
  shell.type('exit 7\r')
  t.strictSame(await job.ended, { exitCode: 7, signal: null })
})

both('modes come along', async (t, begin) => {
  const modes = [0x4500, 0x5, 0x8a2b, 3, 28, 8, 21, 4, 0, 1, 0, 17, 19, 26]
  const job = await begin(sh('stty -a', { terminal: { ...ALL, modes } }))
  const screen = collect(job.terminal!.screen)
  job.start()
  await job.ended
  t.match(String(await screen), /erase = \^H[\s\S]* iutf8[\s\S]* -echoe /)
})

both('bytes are exact in raw mode, both ways, with a limit of few open files', async (t, begin) => {
  const bytes = randomBytes(4 * 1024 * 1024)
  const terminal = { ...ALL, descriptors: 3 }
  const job = await begin(
    sh(`stty raw -echo; printf up; head -c ${bytes.length}; ulimit -n`, {
      terminal,
      limits: [{ name: 'nofile', soft: 6 }]
    })
  )
  const chunks: Buffer[] = []
  job.terminal!.screen.on('data', (chunk: Buffer) => {
    // Not before the mode is set.
    if (chunks.length === 0) job.terminal!.keys.write(bytes)
    chunks.push(chunk)
  })
  job.start()
  t.strictSame(await job.ended, { exitCode: 0, signal: null })
  await until(t, 'the end of the screen', () => job.terminal!.screen.readableEnded)
  const got = Buffer.concat(chunks)
  t.equal(got.subarray(0, 2).toString(), 'up')
  const sum = (part: Buffer) => createHash('sha256').update(part).digest('hex')
  t.equal(sum(got.subarray(2, 2 + bytes.length)), sum(bytes))
  t.equal(got.subarray(2 + bytes.length).toString(), '6\n')
})

both('what is written last is not lost, however soon it ends', async (t, begin) => {
  for (let round = 0; round < 30; round++) {
    const job = await begin(sh(`seq ${round * 100}; printf last`))
    const screen = collect(job.terminal!.screen)
    job.start()
    t.strictSame(await job.ended, { exitCode: 0, signal: null })
    const expected = Array.from({ length: round * 100 }, (_, index) => `${index + 1}\r\n`).join('')
    t.ok(String(await screen) === `${expected}last`, `${round}`)
    await job.close()
  }
})

both('what goes on behind its back does not hold its end', async (t, begin) => {
  const job = await begin(sh('trap "" HUP; yes & sleep 0.1; exit 4'))
  job.terminal!.screen.resume()
  job.start()
  t.strictSame(await job.ended, { exitCode: 4, signal: null })
})

both('a command that is not there is told as ever', async (t, begin) => {
  const job = await begin(specOf(['no-such-command'], { terminal: ALL }))
  job.start()
  t.match(await job.ended, { exitCode: 127, error: { name: 'CommandNotFoundError' } })
})
