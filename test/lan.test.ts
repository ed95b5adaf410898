import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Lan, lanAvailable } from './lan.ts'
import { needs } from './require.ts'

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) tests()

/** Listens on TCP port 7000 of a host and answers with its name. */
async function serve(lan: Lan, host: number): Promise<ChildProcess> {
  const server = lan.spawn(host, [
    'node',
    '-e',
    `require('node:net').createServer((socket) => socket.on('error', () => {}).end('${lan.hostName(host)}')).listen(7000, () => console.log('listening'))`
  ])
  await once(server.stdout!, 'data')
  return server
}

/** What a server answers to a host; empty when nothing does within a second. */
async function ask(lan: Lan, host: number, server: string): Promise<string> {
  const { stdout } = await lan.run(host, ['timeout', '1', 'bash', '-c', `exec 3<>/dev/tcp/${server}/7000 && cat <&3`])
  return stdout
}

/** Processes whose command lines contain a text. */
function processesWith(text: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(text)
    } catch {
      return false
    }
  })
}

async function until(condition: () => boolean): Promise<void> {
  for (const deadlineMs = Date.now() + 20_000; !condition(); await delay(10)) {
    if (Date.now() > deadlineMs) throw new Error('it did not come about')
  }
}

function tests(): void {
  t.test('every host has its own name, identity, files and processes', async (t) => {
    await using lan = await Lan.create({ hosts: 2 })
    const script =
      'hostname; cat /etc/hostname; cat /etc/machine-id; pwd; echo $HOME; ls /tmp /root /run /var/tmp /dev/shm | wc -w; echo x >/tmp/x; ls /proc | grep -c "^[0-9]"'
    const results = await Promise.all([0, 1].map((host) => lan.run(host, ['sh', '-c', script])))
    const lines = results.map(({ stdout }) => stdout.split('\n'))
    for (const [host, line] of lines.entries()) {
      t.strictSame([line[0], line[1], line[3], line[4]], [`h${host}`, `h${host}`, '/root', '/root'])
      t.match(line[2], /^[0-9a-f]{32}$/)
      t.ok(Number(line.at(-2)) <= 6, 'no processes but its own')
      t.equal(readFileSync(lan.outside(host, '/tmp/x'), 'utf8'), 'x\n')
    }
    t.not(lines[0]![2], lines[1]![2])
    t.equal(
      (await lan.run(0, ['node', '-e', 'console.log(process.version)'])).stdout,
      `${process.version}\n`,
      'Node of the repository'
    )
  })

  t.test('exit status, signals, standard streams, environment and directory', async (t) => {
    await using lan = await Lan.create({ hosts: 1 })
    t.match(await lan.run(0, ['sh', '-c', 'exit 7']), { code: 7, signal: null })
    t.match(await lan.run(0, ['sh', '-c', 'kill -SEGV $$']), { code: null, signal: 'SIGSEGV' })
    t.match(
      await lan.run(0, ['sh', '-c', 'cat; echo "$A b" >&2; pwd'], { input: 'in', env: { A: 'a' }, cwd: '/tmp' }),
      {
        code: 0,
        stdout: 'in/tmp\n',
        stderr: 'a b\n'
      }
    )
    t.match(await lan.run(0, ['nothing-of-that-name']), { code: 127 })
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    t.ok((await lan.run(0, ['cat'], { input: bytes })).bytes.equals(bytes))
    await t.rejects(
      lan.run(0, ['sh', '-c', 'echo begun; sleep 1000'], { timeoutMs: 500 }),
      /took too long; so far: begun/
    )
  })

  t.test('kill reaches the program, which may catch it', async (t) => {
    await using lan = await Lan.create({ hosts: 1 })
    const child = lan.spawn(0, ['bash', '-c', 'trap "exit 9" TERM; echo ready; while :; do read -t 0.01 <> <(:); done'])
    await once(child.stdout!, 'data')
    t.ok(child.kill())
    t.strictSame(await once(child, 'exit'), [9, null])
    t.notOk(child.kill(), 'gone')
    const other = lan.spawn(0, ['sh', '-c', 'echo ready; sleep 1000'])
    await once(other.stdout!, 'data')
    other.kill('SIGKILL')
    t.strictSame(await once(other, 'exit'), [null, 'SIGKILL'])
  })

  for (const delayUs of [0, 500]) {
    t.test(delayUs === 0 ? 'a kernel bridge' : 'a switch with delay', async (t) => {
      const reason = lanAvailable({ delay: delayUs > 0 })
      if (!needs(t, reason === undefined, reason ?? '')) return
      await using lan = await Lan.create({ hosts: 3, delayUs, rateMbit: 1000 })
      await Promise.all([serve(lan, 1), serve(lan, 2)])

      t.equal(await ask(lan, 0, lan.address(1)), 'h1', 'by address')
      t.equal(await ask(lan, 1, 'h2'), 'h2', 'by name')

      for (const how of ['unplug', 'drop'] as const) {
        await lan.cut(1, how)
        const link = (await lan.run(1, ['ip', 'link', 'show', 'eth0'])).stdout
        t.equal(/LOWER_UP/.test(link), how === 'drop', `${how}: ${link}`)
        t.equal(await ask(lan, 0, 'h1'), '', how)
        t.equal(await ask(lan, 1, 'h2'), '', `${how}, the other way`)
        t.equal(await ask(lan, 0, 'h2'), 'h2', 'the others still talk')
        await lan.mend(1)
        let answer = ''
        for (let tries = 0; answer === '' && tries < 20; tries++) answer = await ask(lan, 0, 'h1')
        t.equal(answer, 'h1', `mended after ${how}`)
      }

      await lan.readdress(1, '10.77.0.77')
      t.equal(lan.address(1), '10.77.0.77')
      t.equal(await ask(lan, 0, '10.77.0.77'), 'h1')
      t.equal(await ask(lan, 0, 'h1'), 'h1', 'names follow')
      t.equal(await ask(lan, 0, '10.77.0.11'), '', 'nobody has the old address')
    })
  }

  t.test('multicast arrives at every host', async (t) => {
    await using lan = await Lan.create({ hosts: 3 })
    const listen = `const socket = require('node:dgram').createSocket({ type: 'udp4', reuseAddr: true })
      socket.on('message', (text) => { console.log(String(text)); socket.close() })
      socket.bind(5353, () => { socket.addMembership('224.0.0.251'); console.log('listening') })`
    const listeners = [1, 2].map((host) => lan.spawn(host, ['node', '-e', listen]))
    await Promise.all(listeners.map((listener) => once(listener.stdout!, 'data')))
    const heard = listeners.map((listener) => once(listener.stdout!, 'data'))
    const send = `const socket = require('node:dgram').createSocket('udp4')
      socket.send('hello', 5353, '224.0.0.251', () => socket.close())`
    await lan.run(0, ['node', '-e', send])
    t.strictSame((await Promise.all(heard)).map(String), ['hello\n', 'hello\n'])
  })

  t.test('CPU quotas: what the sampler on a host sees, and what it may use', async (t) => {
    await using lan = await Lan.create({ hosts: 2, cores: [0.25] })
    const sampler = new URL('../src/machine/sampler.ts', import.meta.url).href
    const script = `import { MachineSampler } from '${sampler}'; console.log(new MachineSampler().sample(0, []).cores)`
    const cores = async (host: number) =>
      Number((await lan.run(host, ['node', '--input-type=module', '-e', script])).stdout)
    t.equal(await cores(0), 0.25)
    t.ok((await cores(1)) >= 1, 'no quota')
    lan.setCores(0, 0.5)
    t.equal(await cores(0), 0.5)
    const before = lan.cpuMs(0)
    await lan.run(0, ['timeout', '1', 'sh', '-c', 'while :; do :; done'])
    const used = lan.cpuMs(0) - before
    t.ok(used > 0 && used < 800, `${used} ms in one second of half a core`)
    lan.setCores(0, undefined)
    t.ok((await cores(0)) >= 1)
  })

  t.test(
    'a host that is bound to a CPU is a machine of its own: it sees what it uses, and nothing of others',
    async (t) => {
      await using lan = await Lan.create({ hosts: 2, cores: [0.5, 0.5], bound: [0, 0] })
      const sampler = new URL('../src/machine/sampler.ts', import.meta.url).href
      const script = `import { MachineSampler } from '${sampler}'
      const sampler = new MachineSampler()
      sampler.sample(0, [])
      setTimeout(() => console.log(JSON.stringify(sampler.sample(1000, []))), 1000)`
      const sample = async (host: number) =>
        JSON.parse((await lan.run(host, ['node', '--input-type=module', '-e', script])).stdout)
      const busy = lan.spawn(0, ['sh', '-c', 'while :; do :; done'], { stdio: 'ignore' })
      const [own, other] = await Promise.all([sample(0), sample(1)])
      busy.kill('SIGKILL')
      t.equal(own.cores, 0.5)
      t.ok(own.idleCores < 0.25, `${own.idleCores} of its own are idle`)
      t.ok(other.idleCores > 0.25, `${other.idleCores} of the other's`)
      t.equal((await lan.run(0, ['grep', '-c', '^cpu[0-9]', '/proc/stat'])).stdout, '1\n')
      t.equal((await lan.run(1, ['grep', 'Cpus_allowed_list', '/proc/self/status'])).stdout.split(/\s+/)[1], '0')
      const nested = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--mount-proc', 'true']
      t.match(await lan.run(1, nested), { code: 0 }, 'sandboxes have their own /proc')
    }
  )

  t.test('two LANs at once, and nothing stays of either', async (t) => {
    const lans = await Promise.all([Lan.create({ hosts: 2, cores: [0.5] }), Lan.create({ hosts: 2 })])
    const mark = `mark-${process.pid}`
    for (const lan of lans) {
      await serve(lan, 1)
      t.equal(await ask(lan, 0, 'h1'), 'h1')
      const { code } = await lan.run(0, [
        'sh',
        '-c',
        `setsid sleep 12345 ${mark} >/dev/null 2>&1 & setsid sh -c "sleep 1000; : ${mark}" >/dev/null 2>&1 &`
      ])
      t.equal(code, 0)
    }
    const directories = lans.map((lan) => lan.outside(0, '/'))
    t.ok(directories.every((directory) => existsSync(directory)))
    await Promise.all(lans.map((lan) => lan.close()))
    t.strictSame(processesWith(mark), [])
    t.notOk(directories.some((directory) => existsSync(directory)))
    await t.rejects(lans[0]!.run(0, ['true']), /no host 0/)
    await lans[0]!.close()
  })

  t.test('a LAN ends with the process that made it, even by kill -9', async (t) => {
    const mark = `orphan-${process.pid}`
    const script = `import { Lan } from '${new URL('./lan.ts', import.meta.url).href}'
      const lan = await Lan.create({ hosts: 1 })
      await lan.run(0, ['sh', '-c', 'setsid sh -c "sleep 1000; : ${mark}" >/dev/null 2>&1 &'])
      console.log(lan.outside(0, '/'))
      if (process.argv[1] === 'exit') process.exit()
      setInterval(() => {}, 1000)`
    for (const way of ['exit', 'kill']) {
      const maker = spawn(process.execPath, ['--input-type=module', '-e', script, way], {
        stdio: ['ignore', 'pipe', 'inherit']
      })
      const [directory] = await once(maker.stdout!, 'data')
      const ended = once(maker, 'exit')
      if (way === 'kill') maker.kill('SIGKILL')
      await ended
      await until(() => processesWith(mark).length === 0)
      if (way === 'exit') t.notOk(existsSync(String(directory).trim()), 'its directory too')
      else {
        const next = await Lan.create({ hosts: 1 })
        await next.close()
        t.notOk(existsSync(String(directory).trim()), 'what a killed process left is removed by the next LAN')
      }
    }
    t.notOk(readdirSync(tmpdir()).some((name) => name.startsWith(`kappa-lan-${process.pid}-`)))
  })

  t.test('a LAN that fails to start leaves nothing', async (t) => {
    await t.rejects(Lan.create({ hosts: 0 }), RangeError)
    await t.rejects(Lan.create({ hosts: 65 }), RangeError)
    await t.rejects(Lan.create({ hosts: 1, rateMbit: Number.NaN, cores: [Number.NaN] }))
    t.notOk(readdirSync(tmpdir()).some((name) => name.startsWith(`kappa-lan-${process.pid}-`)))
  })
}
