/** Streams of a job that runs elsewhere: large ones, slow readers, signals in between. */

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { ControlConnection } from '../../src/daemon/control.ts'
import { FRAME, jsonOf } from '../../src/daemon/control-codec.ts'
import { ackFrame, closeFrame, dataHeader, eofFrame, type Frame } from '../../src/protocols/exec/frames.ts'
import { fakeDaemon, finished, NATIVE_CLIENT, testClients } from './fake-daemon.ts'

const CHUNK = randomBytes(65_536)
const WINDOW = 1024 * 1024

/** A daemon whose job runs elsewhere and does what the script says with each frame of the client. */
function running(t: Test, begin: (connection: ControlConnection) => void): Promise<string> {
  return fakeDaemon(t, {
    run: (connection) => {
      connection.tell(FRAME.started, { kind: 'own' })
      begin(connection)
    }
  })
}

function end(connection: ControlConnection): void {
  connection.tell(FRAME.end, { exitCode: 0, signal: null })
}

/** Sends so many bytes on a stream, as far ahead of the acknowledgements as a window allows; `done` gets their hash. */
function produce(connection: ControlConnection, stream: number, total: number, done: (digest: string) => void) {
  const hash = createHash('sha256')
  let sent = 0
  let acknowledged = 0
  const go = () => {
    while (sent < total && sent + CHUNK.length - acknowledged <= WINDOW) {
      const bytes = CHUNK.subarray(0, Math.min(CHUNK.length, total - sent))
      hash.update(bytes)
      connection.send(dataHeader(0, stream, sent), bytes)
      sent += bytes.length
      if (sent < total) continue
      connection.send(eofFrame(0, stream, sent))
      done(hash.digest('hex'))
    }
  }
  const onFrame = (frame: Frame) => {
    if (frame.type !== FRAME.ack || !('received' in frame) || frame.stream !== stream) return
    if (frame.received > sent) throw new Error('acknowledged before it was sent')
    // The Node client may tell of two writes in the other order.
    acknowledged = Math.max(acknowledged, frame.received)
    go()
  }
  return { go, onFrame }
}

/** The most memory that a process had in use, in KiB; 0 when it has ended. */
function peakKiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0)
}

testClients('both outputs come whole, however slow their readers are', async (t, { startKappa, name }) => {
  const total = 72 * 1024 * 1024 + 12_345
  const sums: string[] = []
  const directory = await running(t, (connection) => {
    let left = 2
    const streams = [1, 2].map((stream) =>
      produce(connection, stream, total, (digest) => {
        sums[stream - 1] = digest
        if (--left === 0) end(connection)
      })
    )
    connection.onFrame((frame) => {
      for (const stream of streams) stream.onFrame(frame)
    })
    for (const stream of streams) stream.go()
  })
  const child = startKappa(directory, ['run', 'x'])
  let peak = 0
  const read = async (stream: NodeJS.ReadableStream, restEvery: number) => {
    const hash = createHash('sha256')
    let bytes = 0
    for await (const chunk of stream) {
      hash.update(chunk)
      const before = bytes
      bytes += chunk.length
      if (Math.floor(before / restEvery) === Math.floor(bytes / restEvery)) continue
      peak = Math.max(peak, peakKiB(child.pid!))
      await sleep(1)
    }
    return hash.digest('hex')
  }
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  const got = await Promise.all([read(child.stdout!, 1_000_000), read(child.stderr!, 250_000)])
  t.strictSame(await exited, { code: 0, signal: null })
  t.strictSame(got, sums)
  if (name === 'native') t.ok(peak < 4 * 1024, `${peak} KiB at most`)
})

testClients('stdin goes whole to a job that takes it slowly', async (t, { startKappa, name }) => {
  const total = 70 * 1024 * 1024 + 54_321
  const hash = createHash('sha256')
  let peak = 0
  const directory = await running(t, (connection) => {
    let received = 0
    let limit = 256 * 1024
    connection.onFrame((frame) => {
      if (frame.type === FRAME.eof) end(connection)
      if (frame.type !== FRAME.data || !('bytes' in frame)) return
      if (frame.offset !== received || frame.offset + frame.bytes.length > limit) throw new Error('out of bounds')
      received += frame.bytes.length
      hash.update(frame.bytes)
      if (received !== limit) return
      peak = Math.max(peak, peakKiB(child.pid!))
      limit += 999_999
      setImmediate(() => connection.send(ackFrame(0, 0, received, limit)))
    })
  })
  const child = startKappa(directory, ['run', 'x'])
  const sent = createHash('sha256')
  const feed = async () => {
    for (let left = total; left > 0; left -= CHUNK.length) {
      const bytes = CHUNK.subarray(0, Math.min(left, CHUNK.length))
      sent.update(bytes)
      if (!child.stdin!.write(bytes)) await new Promise((resolve) => child.stdin!.once('drain', resolve))
    }
    child.stdin!.end()
  }
  const [ended] = await Promise.all([finished(child), feed()])
  t.match(ended, { code: 0, stderr: '' })
  t.equal(hash.digest('hex'), sent.digest('hex'))
  if (name === 'native') t.ok(peak < 4 * 1024, `${peak} KiB at most`)
})

testClients('a stream that nobody reads does not hold up the other', async (t, { startKappa }) => {
  const directory = await running(t, (connection) => {
    let offset = 0
    for (; offset < WINDOW; offset += CHUNK.length) connection.send(dataHeader(0, 1, offset), CHUNK)
    connection.send(dataHeader(0, 2, 0), Buffer.from('heard'))
  })
  const child = startKappa(directory, ['run', 'x'])
  const [heard] = await new Promise<[Buffer]>((resolve) => child.stderr!.once('data', (bytes) => resolve([bytes])))
  t.equal(heard.toString(), 'heard')
  child.kill('SIGKILL')
})

testClients('signals between the bytes cost neither', async (t, { startKappa }) => {
  const numbers = new Set<number>()
  let count = 0
  let sum = ''
  const directory = await running(t, (connection) => {
    let received = 0
    let left = 2
    const partDone = () => --left === 0 && end(connection)
    const stream = produce(connection, 1, 64 * 1024 * 1024, (digest) => {
      sum = digest
      partDone()
    })
    connection.onFrame((frame) => {
      stream.onFrame(frame)
      if (frame.type === FRAME.signal) {
        count++
        numbers.add((jsonOf(frame) as { number: number }).number)
      } else if (frame.type === FRAME.data && 'bytes' in frame) {
        received += frame.bytes.length
        connection.send(ackFrame(0, 0, received, received + 256 * 1024))
      } else if (frame.type === FRAME.eof) partDone()
    })
    stream.go()
  })
  const child = startKappa(directory, ['run', 'x'])
  child.stdin!.on('error', () => undefined)
  const hash = createHash('sha256')
  const storm = ['SIGUSR1', 'SIGUSR2', 'SIGHUP', 'SIGINT', 'SIGCONT'] as const
  let turn = 0
  let bytes = 0
  for await (const chunk of child.stdout!) {
    hash.update(chunk)
    bytes += chunk.length
    // After the end of the job they would be for the client.
    if (bytes > 60 * 1024 * 1024) {
      child.stdin!.end()
      continue
    }
    child.stdin!.write('some input')
    for (const signal of storm.slice(0, (turn++ % 5) + 1)) child.kill(signal)
  }
  t.equal(hash.digest('hex'), sum)
  t.strictSame(
    [...numbers].toSorted((a, b) => a - b),
    [1, 2, 10, 12, 18]
  )
  t.ok(count >= 100, `${count} signals came`)
})

testClients('Ctrl-Z stops the job and the client, and both go on', async (t, { startKappa }) => {
  const numbers: number[] = []
  let child!: ReturnType<typeof startKappa>
  const directory = await running(t, (connection) => {
    connection.send(dataHeader(0, 2, 0), Buffer.from('up'))
    connection.onFrame((frame) => {
      if (frame.type !== FRAME.signal) return
      numbers.push((jsonOf(frame) as { number: number }).number)
      if (numbers.at(-1) === 18) end(connection)
      else void stopped(child.pid!).then(() => child.kill('SIGCONT'))
    })
  })
  child = startKappa(directory, ['run', 'x'])
  child.stderr!.once('data', () => child.kill('SIGTSTP'))
  t.match(await finished(child), { code: 0 })
  t.strictSame(numbers, [20, 18])
})

async function stopped(pid: number): Promise<void> {
  while (!/^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) await sleep(1)
}

testClients('what was ignored from the start is not passed on', async (t, { command, environment }) => {
  const numbers: number[] = []
  const directory = await running(t, (connection) => {
    connection.send(dataHeader(0, 2, 0), Buffer.from('up'))
    connection.onFrame((frame) => {
      if (frame.type !== FRAME.signal) return
      numbers.push((jsonOf(frame) as { number: number }).number)
      end(connection)
    })
  })
  const script = `trap '' HUP INT TSTP; exec "$@"`
  const env = environment(directory)
  const child = spawn('sh', ['-c', script, 'sh', ...command(directory), 'run', 'x'], { env })
  child.stderr!.once('data', () => {
    for (const signal of ['SIGHUP', 'SIGINT', 'SIGTSTP', 'SIGTERM'] as const) child.kill(signal)
  })
  t.match(await finished(child), { code: 0 })
  t.strictSame(numbers, [15])
})

testClients('inputs and outputs of every kind', async (t, { command, environment }) => {
  const directory = await running(t, (connection) => {
    let received = 0
    connection.onFrame((frame) => {
      if (frame.type === FRAME.data && 'bytes' in frame) {
        connection.send(dataHeader(0, 1, received), Buffer.from(frame.bytes))
        received += frame.bytes.length
        connection.send(ackFrame(0, 0, received, received + 256 * 1024))
      } else if (frame.type === FRAME.eof) {
        connection.send(dataHeader(0, 1, received), Buffer.from(`of ${received}`))
        connection.send(eofFrame(0, 1, received + `of ${received}`.length))
        end(connection)
      }
    })
  })
  const file = join(directory, 'file')
  writeFileSync(file, 'x'.repeat(300_000))
  const cases: [string, RegExp][] = [
    ['"$@" <"$0"', /^x{300000}of 300000$/],
    ['cat "$0" | "$@" | cat', /^x{300000}of 300000$/],
    ['"$@" </dev/null', /^of 0$/],
    ['"$@" <&-', /^of 0$/],
    ['"$@" <"${0%/*}"', /^of 0$/],
    ['"$@" <"$0" >"$0.out"; cat "$0.out"', /^x{300000}of 300000$/],
    ['echo first >"$0.out"; "$@" </dev/null >>"$0.out"; cat "$0.out"', /^first\nof 0$/],
    ['"$@" <"$0" >/dev/null; echo $?', /^0\n$/],
    ['"$@" <"$0" >&-; echo $?', /^0\n$/],
    ['"$@" <"$0" 2>&- | cat', /^x{300000}of 300000$/],
    // Who shares the pipe is not disturbed: it would fail with EAGAIN.
    ['{ "$@" <"$0"; head -c 300000 /dev/zero; } | { sleep 0.1; wc -c; }', /^600009\n$/]
  ]
  const env = environment(directory)
  for (const [script, expected] of cases) {
    const child = spawn('sh', ['-c', script, file, ...command(directory), 'run', 'x'], { env })
    const { stdout, stderr } = await finished(child)
    t.ok(expected.test(stdout), script)
    t.equal(stderr, '')
  }
})

testClients('a job that closes its stdin ends the feeding, not the client', async (t, { startKappa }) => {
  const directory = await running(t, (connection) => {
    connection.onFrame((frame) => {
      if (frame.type !== FRAME.data) return
      connection.send(closeFrame(0, 0))
      connection.onFrame(() => undefined)
      setImmediate(() => {
        connection.send(dataHeader(0, 1, 0), Buffer.from('on'))
        end(connection)
      })
    })
  })
  const child = startKappa(directory, ['run', 'x'])
  child.stdin!.on('error', () => undefined).write('x'.repeat(500_000))
  t.match(await finished(child), { code: 0, stdout: 'on' })
})

testClients('what was written before the daemon went away still comes out', async (t, { kappa }) => {
  const directory = await running(t, (connection) => {
    for (let offset = 0; offset < 4 * CHUNK.length; offset += CHUNK.length)
      connection.send(dataHeader(0, 1, offset), CHUNK)
    connection.end()
  })
  const { code, stdout, stderr } = await kappa(directory, ['run', 'cat'])
  t.equal(code, 123)
  t.ok(stdout.length > 0)
  t.match(
    stderr,
    /^kappa: the daemon here ended while the job was with it; whether the job ran isn't known \(kappa ps\)\n$/
  )
})

t.test('sockets as streams are not made non-blocking', async (t) => {
  const directory = await running(t, (connection) => {
    let received = 0
    connection.onFrame((frame) => {
      if (frame.type === FRAME.eof) end(connection)
      if (frame.type !== FRAME.data || !('bytes' in frame)) return
      connection.send(dataHeader(0, 1, received), Buffer.from(frame.bytes))
      received += frame.bytes.length
      connection.send(ackFrame(0, 0, received, received + 256 * 1024))
    })
  })
  const [program, ...words] = NATIVE_CLIENT.command(directory)
  // Node's own pipes to children are sockets; the shell sees afterwards whether O_NONBLOCK was left on them.
  const script = '"$@"; grep flags /proc/self/fdinfo/0 /proc/self/fdinfo/1 >&2'
  const env = NATIVE_CLIENT.environment(directory)
  const child = spawn('sh', ['-c', script, 'sh', program!, ...words, 'run', 'x'], { env })
  child.stdin!.end('y'.repeat(400_000))
  const { stdout, stderr } = await finished(child)
  t.equal(stdout.length, 400_000)
  for (const flags of stderr.matchAll(/flags:\s*(\d+)/g)) t.equal(Number.parseInt(flags[1]!, 8) & 0o4000, 0)
})
