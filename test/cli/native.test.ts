/** The native client alone: what it leaves to the Node client, and what it does with a daemon that says what is wrong. */

import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FRAME, jsonFrame, type RunParams, withLength } from '../../src/daemon/control-codec.ts'
import { dataHeader, eofFrame, frameHeader } from '../../src/protocols/exec/frames.ts'
import { VERSION } from '../../src/version.ts'
import { fakeDaemon, finished, kappaDir, launcherIn, NATIVE, NATIVE_CLIENT } from './fake-daemon.ts'

const { kappa, command, environment } = NATIVE_CLIENT

/** Something that listens where the daemon would, and says these bytes to each client when it has asked. */
async function saying(t: Test, bytes: Buffer): Promise<string> {
  const directory = kappaDir(t)
  mkdirSync(join(directory, 'run'), { mode: 0o700 })
  const server = createServer((socket) => {
    socket.on('error', () => undefined).once('data', () => socket.end(bytes))
  })
  await new Promise<void>((resolve) => server.listen(join(directory, 'run/socket'), resolve))
  t.teardown(() => server.close())
  return directory
}

t.test('what is unusual is left to the Node client, untouched', async (t) => {
  const asked: unknown[] = []
  const directory = await fakeDaemon(t, { run: (_, params) => void asked.push(params) })
  const cases: [string[], Record<string, string>?][] = [
    [[]],
    [['--help']],
    [['-h']],
    [['-x', 'true']],
    [['--']],
    [['--local', '--remote', 'true']],
    [['--local=yes', 'true']],
    [['--bogus', 'x', 'true']],
    [['--in', 'file', 'true']],
    [['--out=file', 'true']],
    [['--out-always', 'true']],
    [['--detach', 'true']],
    [['--on']],
    [['--on=', 'true']],
    [['--tool', '', 'true']],
    ...['0', '0.0', '-1', '1025', '1024.5', '01', '1e1', '0x2', ' 1', '1.', '2,5', ''].map((cores): [string[]] => [
      ['--cores', cores, 'true']
    ]),
    ...['', 'M', '1.5G', '1X', '1GiX', '1bb', '99999999999999999999', '9000000000000T', '1k ', '-1'].map(
      (memory): [string[]] => [['--memory', memory, 'true']]
    ),
    [[...Array.from({ length: 65 }, () => '--tool=x'), 'true']],
    [['true'], { KAPPA_CORES: 'many' }],
    [['true'], { KAPPA_LOCAL: '1', KAPPA_REMOTE: '1' }],
    [['true'], { KAPPA_DIR: '/nowhere' }],
    [['true'], { KAPPA_DIR: `${directory}/.` }],
    [['true'], { KAPPA_DIR: `${directory}//` }],
    [['true'], { KAPPA_DIR: 'relative' }],
    [['true'], { KAPPA_DIR: `/${'x'.repeat(120)}` }]
  ]
  await Promise.all(
    cases.map(async ([args, environment]) => {
      const { code, stdout } = await kappa(directory, ['run', ...args], '', { KAPPA_LAUNCHER: 'x', ...environment })
      const expected = `left to Node: ${['run', ...args].join(' ')}\nKAPPA_LAUNCHER=x\nKAPPA_LAUNCH=node\n`
      t.match(
        { code, stdout },
        { code: 99, stdout: expected },
        `${args.join(' ')} ${JSON.stringify(environment ?? {})}`
      )
    })
  )
  chmodSync(join(directory, 'run'), 0o750)
  t.match(await kappa(directory, ['run', 'true']), { code: 99 }, 'a socket that others may reach')
  t.strictSame(asked, [], 'and nothing was asked of the daemon')
})

t.test('the Node client gets descriptors and signals as they came', async (t) => {
  const directory = kappaDir(t)
  const launcher = join(directory, 'launcher')
  writeFileSync(
    launcher,
    '#!/bin/sh\ncat <&3; grep SigIgn /proc/self/status; [ -e /proc/self/fd/0 ] || echo closed\n',
    {
      mode: 0o755
    }
  )
  const script = `trap '' HUP; echo third >"$1.3"; exec "$0" "$1" run true 3<"$1.3" <&-`
  const child = spawn('sh', ['-c', script, NATIVE, launcher], { env: environment(directory) })
  t.match(await finished(child), { stdout: /^third\nSigIgn:\s+0{15}1\nclosed\n$/, stderr: '' })
})

t.test('without its launcher it says so; by hand it says what to use', async (t) => {
  const env = { PATH: process.env.PATH, KAPPA_DIR: '/nowhere' }
  const lost = spawnSync(NATIVE, ['/no/launcher', 'run', 'true'], { env, encoding: 'utf8' })
  t.match(lost, { status: 125, stderr: "kappa: /no/launcher can't be started: no such file or directory\n" })
  for (const args of [[], ['run'], ['x', 'status']]) {
    const { status, stderr } = spawnSync(NATIVE, args, { env, encoding: 'utf8' })
    t.match({ status, stderr }, { status: 125, stderr: 'kappa: this program is for kappa itself; use: kappa run\n' })
  }
})

t.test('everything that was asked reaches the daemon', async (t) => {
  const params: RunParams[] = []
  const directory = await fakeDaemon(t, {
    run: (connection, asked) => {
      params.push(asked as RunParams)
      connection.tell(FRAME.end, { exitCode: 0, signal: null })
    }
  })
  const options = '--plain --remote --wait --no-env -v --on a,b --on=c --not d --cores 0.5 --memory 3GiB --tool cc'
  const args = ['run', ...options.split(' '), '--need=gpu "x"', '--env', 'A=\u00fc', '--', '-x', '\u0001"\\\u007f']
  t.match(await kappa(directory, args, '', { KAPPA_NOT: 'e,,f' }), { code: 0, stderr: '' })
  t.match(params[0], {
    argv: ['-x', '\u0001"\\\u007f'],
    cwd: process.cwd(),
    umask: process.umask(),
    nice: getPriority(),
    options: {
      plain: true,
      remote: true,
      wait: true,
      noEnv: true,
      verbose: true,
      on: ['a', 'b', 'c'],
      not: ['e', '', 'f', 'd'],
      cores: 0.5,
      memoryBytes: 3 * 2 ** 30,
      tools: ['cc'],
      needs: ['gpu "x"'],
      env: ['A=\u00c3\u00bc']
    },
    ins: false,
    outs: [],
    outAlways: false,
    terminal: false
  })
  t.strictSame(params[0]!.limits.map(({ name }) => name).toSorted(), [
    'as',
    'core',
    'cpu',
    'data',
    'fsize',
    'memlock',
    'nofile',
    'nproc',
    'stack'
  ])
})

t.test('the request says which version it is and how it was started', async (t) => {
  const directory = kappaDir(t)
  mkdirSync(join(directory, 'run'), { mode: 0o700 })
  const request = new Promise<Buffer>((resolve) => {
    const server = createServer((socket) => socket.on('error', () => undefined).once('data', resolve))
    server.listen(join(directory, 'run/socket'))
    t.teardown(() => server.close())
  })
  const child = NATIVE_CLIENT.startKappa(directory, ['run', 'true'])
  const text = (await request).toString()
  child.kill('SIGKILL')
  t.ok(text.endsWith(`"version":${JSON.stringify(VERSION)},"launcher":${JSON.stringify(launcherIn(directory))}}`))
})

t.test('megabytes of odd words', async (t) => {
  const params: RunParams[] = []
  const directory = await fakeDaemon(t, {
    run: (connection, asked) => {
      params.push(asked as RunParams)
      connection.tell(FRAME.local, {})
    }
  })
  // 1.5 MB, which JSON makes 9 MB.
  const words = Array.from({ length: 15 }, () => `$(head -c 100000 /dev/zero | tr '\\0' '\\001')`)
  const script = `exec "$@" run sh -c 'printf "%s" "$@" | sha256sum' sh ${words.map((word) => `"${word}"`).join(' ')}`
  const child = spawn('sh', ['-c', script, 'sh', ...command(directory)], { env: environment(directory) })
  const { code, stdout } = await finished(child)
  const bytes = Buffer.alloc(1_500_000, 1)
  t.equal(code, 0)
  t.equal(stdout.slice(0, 64), createHash('sha256').update(bytes).digest('hex'))
  t.ok(params[0]!.argv.slice(4).join('') === bytes.toString('latin1'))
})

t.test('a message that is wrong ends it in order, whatever it is', async (t) => {
  const started = jsonFrame(FRAME.started, { kind: 'own' })
  const json = (type: number, text: string) =>
    Buffer.concat(withLength(frameHeader(type, 0), Buffer.from(text, 'latin1')))
  const frame = (...parts: Buffer[]) => Buffer.concat(withLength(...parts))
  const wrong: Record<string, Buffer> = {
    'no length': Buffer.from([0, 0]),
    'a length of 0': Buffer.from([0, 0, 0, 0]),
    'too long': Buffer.from([255, 255, 255, 255, 1]),
    'half a frame': started.subarray(0, 8),
    'no JSON': json(FRAME.end, ''),
    'no object': json(FRAME.end, '[]'),
    'half an object': json(FRAME.end, '{"exitCode":0'),
    'more than an object': json(FRAME.end, '{"exitCode":0} {}'),
    'a comma too many': json(FRAME.end, '{"exitCode":0,}'),
    'a text for a number': json(FRAME.end, '{"exitCode":"0"}'),
    'a fraction': json(FRAME.end, '{"exitCode":0.5}'),
    'a zero in front': json(FRAME.end, '{"exitCode":01}'),
    'a huge number': json(FRAME.end, '{"exitCode":99999999999999999999}'),
    'a number for a text': json(FRAME.notice, '{"text":1}'),
    'an open text': json(FRAME.notice, '{"text":"x'),
    'half an escape': json(FRAME.notice, '{"text":"\\u12"}'),
    'a control character': json(FRAME.notice, '{"text":"a\nb"}'),
    'bytes that are no text': json(FRAME.notice, '{"text":"\xff\xfe"}'),
    'an overlong character': json(FRAME.notice, '{"text":"\xc0\x80"}'),
    'an open character': json(FRAME.notice, '{"text":"\xe2\x82'),
    'too deep': json(FRAME.notice, `{"x":${'['.repeat(100_000)}`),
    'an error without words': json(FRAME.failure, '{"name":"StateError"}'),
    'data too early': frame(dataHeader(0, 1, 0), Buffer.from('x')),
    'data for stdin': Buffer.concat([started, frame(dataHeader(0, 0, 0), Buffer.from('x'))]),
    'data of no stream': Buffer.concat([started, frame(dataHeader(0, 9, 0), Buffer.from('x'))]),
    'too much data': Buffer.concat([started, frame(dataHeader(0, 1, 0), Buffer.alloc(65_537))]),
    'a gap': Buffer.concat([started, frame(dataHeader(0, 1, 5), Buffer.from('x'))]),
    'a short header': Buffer.concat([started, frame(dataHeader(0, 1, 0).subarray(0, 9))]),
    'a short acknowledgement': Buffer.concat([started, frame(Buffer.from([17, 0, 0, 0, 0, 0, 1]))])
  }
  await Promise.all(
    Object.entries(wrong).map(async ([what, bytes]) => {
      const run = await kappa(await saying(t, bytes), ['run', 'cat'])
      t.match(
        run,
        { code: 123, signal: null, stdout: '', stderr: /^kappa: .*; whether the job ran isn't known \(kappa ps\)\n$/ },
        what
      )
    })
  )
})

t.test('a message may have more in it, and be written in any way', async (t) => {
  const json = (type: number, text: string) => Buffer.concat(withLength(frameHeader(type, 0), Buffer.from(text)))
  const more = '"more":[1,-2.5e+3,{"a":{"b":null}},"\\u00e9",true,false,[]],"long name of a member \\ud83d":{}'
  const text = 'a\\"\\\\\\/\\t\\u00e9\\ud83d\\ude00\\ud83dx\\udc00é😀\\u0000\\ud83d\\u0041'
  const directory = await saying(
    t,
    Buffer.concat([
      json(250, 'nobody knows this'),
      jsonFrame(FRAME.started, { kind: 'own' }),
      json(FRAME.notice, ` { ${more} , "text" : "${text}" } `),
      json(FRAME.notice, '{"text":null}'),
      json(FRAME.end, `{"signal":null,"message":null,${more},"exitCode":-0,"exitCode":7}`)
    ])
  )
  t.match(await kappa(directory, ['run', 'x']), {
    code: 7,
    stderr: `kappa: a"\\/\t\u00e9\u{1f600}\ufffdx\ufffd\u00e9\u{1f600}\ufffd\ufffdA\n`
  })
  const failing = await saying(t, json(FRAME.failure, '{"name":"LostError","message":"one \\n two\\n\\nthree  four"}'))
  t.match(await kappa(failing, ['run', 'x']), { code: 123, stderr: 'kappa: one two three  four\n' })
  const refusing = await saying(t, json(FRAME.failure, '{"name":"UnknownPeerError","message":"who?"}'))
  t.match(await kappa(refusing, ['run', 'x']), { code: 125, stderr: 'kappa: who?\n' })
})

t.test('a conversation with bytes changed ends, one way or the other', async (t) => {
  const whole = Buffer.concat([
    jsonFrame(FRAME.notice, { text: 'waiting' }),
    jsonFrame(FRAME.started, { kind: 'own' }),
    ...withLength(dataHeader(0, 1, 0), Buffer.from('some output')),
    ...withLength(dataHeader(0, 2, 0), Buffer.from('some error')),
    ...withLength(eofFrame(0, 1, 11)),
    jsonFrame(FRAME.end, { exitCode: 3, signal: null, message: 'over', status: 4 })
  ])
  // Always the same sequence, so that what fails fails again.
  let state = 1
  const next = (below: number) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 25 }, async () => {
        const bytes = Buffer.from(whole)
        for (let changes = 1 + next(4); changes > 0; changes--) bytes[next(bytes.length)] = next(256)
        const cut = next(4) === 0 ? bytes.subarray(0, next(bytes.length)) : bytes
        const { code, signal } = await kappa(await saying(t, cut), ['run', 'true'])
        if (signal !== null || ![0, 3, 4, 123, 125].includes(code!)) t.comment(bytes.toString('hex'))
        t.ok(signal === null && code !== null, `${code} ${signal}`)
      })
    )
  }
})
