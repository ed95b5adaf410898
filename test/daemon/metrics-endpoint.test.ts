import { get } from 'node:http'
import { connect, createServer } from 'node:net'
import t from 'tap'
import { MetricsEndpoint } from '../../src/daemon/metrics-endpoint.ts'

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

function ask(port: number, path: string, headers: Record<string, string> = {}, method = 'GET') {
  return new Promise<{ status: number; type: string | undefined; text: string }>((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, headers, method, agent: false }, (response) => {
      let text = ''
      response.on('data', (chunk) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode!, type: response.headers['content-type'], text }))
    }).on('error', reject)
  })
}

t.test('figures are fetched where the owner said, by that name alone', async (t) => {
  const [port, other] = [await freePort(), await freePort()]
  const endpoint = new MetricsEndpoint(() => 'k 1\n', quiet)
  t.teardown(() => endpoint.close())
  await endpoint.configure(`127.0.0.1:${port}`)
  t.match(await ask(port, '/metrics'), { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', text: 'k 1\n' })
  t.match(await ask(port, '/metrics?x'), { status: 200 })
  t.match(await ask(port, '/'), { status: 404 })
  t.match(await ask(port, '/metrics', {}, 'POST'), { status: 405 })
  t.match(await ask(port, '/metrics', { host: 'evil.example' }), { status: 421, text: /another name/ })
  t.match(await ask(port, '/metrics', { host: `localhost:${port}` }), { status: 421 })
  await endpoint.configure(`127.0.0.1:${other}`)
  await t.rejects(ask(port, '/metrics'), { code: 'ECONNREFUSED' })
  t.match(await ask(other, '/metrics'), { status: 200 })
  await endpoint.configure(undefined)
  await t.rejects(ask(other, '/metrics'), { code: 'ECONNREFUSED' })
})

t.test('a port that is taken is told of, and no reason to stop', async (t) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const warnings: object[] = []
  const endpoint = new MetricsEndpoint(() => '', {
    ...quiet,
    warn: (message, fields) => warnings.push({ message, ...fields })
  })
  await endpoint.configure(`127.0.0.1:${port}`)
  t.match(warnings, [{ message: 'no figures can be fetched', address: `127.0.0.1:${port}`, why: /EADDRINUSE/ }])
  await endpoint.close()
})

t.test('headers that never end are not waited for', async (t) => {
  const port = await freePort()
  const endpoint = new MetricsEndpoint(() => '', quiet)
  await endpoint.configure(`127.0.0.1:${port}`)
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /metrics HTTP/1.1\r\nx: ${'y'.repeat(20_000)}`)
  const answer = await new Promise<string>((resolve) => socket.once('data', (bytes) => resolve(String(bytes))))
  t.match(answer, /^HTTP\/1\.1 431 /)
  socket.destroy()
  await endpoint.close()
})
