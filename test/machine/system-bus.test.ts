import { spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { callOfBus, listenOnSystemBus, parseMessage, socketPathOf } from '../../src/machine/system-bus.ts'
import { until } from '../execution/executing.ts'
import { Logind, logindAvailable } from '../logind.ts'

const SIGNAL = {
  sender: 'org.freedesktop.login1',
  path: '/org/freedesktop/login1',
  interface: 'org.freedesktop.login1.Manager',
  member: 'PrepareForSleep'
}

function listen(t: Test, address: string) {
  process.env.DBUS_SYSTEM_BUS_ADDRESS = address
  const heard: (boolean | string)[] = []
  const stop = listenOnSystemBus(SIGNAL, {
    onReady: () => heard.push('ready'),
    onSignal: (argument) => heard.push(argument),
    onClose: () => heard.push('closed')
  })
  t.teardown(stop)
  return { heard, stop }
}

t.test('addresses', async (t) => {
  t.equal(socketPathOf('unix:path=/run/dbus/system_bus_socket'), '/run/dbus/system_bus_socket')
  t.equal(socketPathOf('unix:guid=1,path=/a%20b,x=y'), '/a b')
  t.equal(socketPathOf('tcp:host=a,port=1;unix:abstract=/tmp/x'), '\0/tmp/x')
  t.equal(socketPathOf('unix:path=/a%b%2'), '/a%b%2')
  t.equal(socketPathOf('tcp:host=a,port=1'), undefined)
  t.equal(socketPathOf(''), undefined)
})

t.test('without a bus that is said, and nothing else', async (t) => {
  for (const address of ['unix:path=/nowhere', 'tcp:host=a,port=1', `unix:path=/${'x'.repeat(200)}`, 'unix:path=']) {
    const { heard } = listen(t, address)
    await until(t, 'it is said', () => heard.length > 0)
    t.same(heard, ['closed'])
  }
})

t.test('what is no bus is left', async (t) => {
  for (const words of ['REJECTED EXTERNAL\r\n', 'x'.repeat(2_000), 'OK 1\r\n'.concat('\x01'.repeat(16)), 'OK 1\r\n']) {
    const path = `${t.testdir()}/bus`
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.write(words)
      // A message of 4 GiB.
      if (words === 'OK 1\r\n') socket.write(Buffer.concat([Buffer.from('l\x04\0\x01'), Buffer.alloc(12, 0xff)]))
    }).listen(path)
    const { heard } = listen(t, `unix:path=${path}`)
    await until(t, 'it is said', () => heard.length > 0)
    t.same(heard, ['closed'])
    server.close()
  }
})

t.test('messages come in pieces, in either byte order', async (t) => {
  const call = callOfBus(7, 'AddMatch', "type='signal'")
  const parts = Array.from(call, (_, length) => parseMessage(call.subarray(0, length)))
  t.ok(parts.every((message) => message === undefined))
  const message = parseMessage(Buffer.concat([call, Buffer.from('l')]))
  t.match(message, { bytes: call.length, type: 1 })
  t.equal(message?.texts.get(3), 'AddMatch')
  const big = Buffer.from('42040001000000040000000100000007080167000162000000000001', 'hex')
  t.match(parseMessage(big), { bytes: 28, type: 4, boolean: true })
})

t.test('a real bus', async (t) => {
  if (!logindAvailable(t)) return
  const logind = await Logind.start(t)
  const { heard, stop } = listen(t, logind.address)
  await until(t, 'it is ready', () => heard.includes('ready'))
  logind.announce('sleep')
  logind.announce('wake')
  await until(t, 'both came', () => heard.length === 3)
  t.same(heard, ['ready', true, false])

  await t.test('the same signal of somebody else is none', async (t) => {
    const names = spawnSync('busctl', ['list', '--unique', '--no-legend', `--address=${logind.address}`])
    const clients = names.stdout
      .toString()
      .split('\n')
      .map((line) => line.split(/\s+/))
    const own = clients.flatMap(([name, pid]) => (pid === String(process.pid) ? [name!] : []))
    t.ok(own.length > 0, 'we are on the bus')
    for (const to of [[], ...own.map((name) => [`--destination=${name}`])]) {
      const { path, interface: of, member } = SIGNAL
      const options = [`--address=${logind.address}`, ...to, path, of, member, 'b', 'true']
      t.equal(spawnSync('busctl', ['emit', ...options]).status, 0)
    }
    logind.announce('sleep')
    await until(t, 'that of logind came', () => heard.length > 3)
    t.same(heard.slice(3), [true])
  })

  stop()
  const other = listen(t, logind.address)
  await until(t, 'it is ready', () => other.heard.includes('ready'))
  logind.bus.kill('SIGKILL')
  await until(t, 'the end of the bus is told', () => other.heard.length > 1)
  t.same(other.heard, ['ready', 'closed'])
  t.equal(heard.length, 4, 'who stopped is told nothing more')
})
