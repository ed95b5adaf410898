import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { Page, type PageInit } from '../../src/daemon/page.ts'
import { KappaError } from '../../src/errors.ts'

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

interface Asked {
  method?: string
  path: string
  headers?: Record<string, string>
  body?: unknown
}

interface Answered {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

/** A page, and what a browser that holds its address would know. */
async function setUp(t: Test, init: Partial<PageInit> = {}) {
  const asked: [string, unknown][] = []
  let now = 0
  const page = new Page({
    answer: (command, params) => {
      asked.push([command, params])
      return { command }
    },
    pair: () => Promise.reject(new KappaError('PairingError', 'nobody is there')),
    log: quiet,
    now: () => now,
    ...init
  })
  t.teardown(() => page.close())
  const { url } = await page.open()
  const { host, origin, port, hash } = new URL(url)
  const ask = ({ method = 'GET', path, headers = {}, body }: Asked) =>
    new Promise<Answered>((resolve, reject) => {
      const json = body === undefined ? {} : { 'content-type': 'application/json' }
      const sent = httpRequest({
        host: '127.0.0.1',
        port,
        method,
        path,
        agent: false,
        headers: { ...json, ...headers }
      })
      sent.on('response', (response) => {
        let text = ''
        response.on('data', (chunk) => (text += chunk))
        response.on('close', () => resolve({ status: response.statusCode!, headers: response.headers, text }))
      })
      sent.on('error', reject)
      sent.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body))
    })
  const begin = async (token = hash.slice(1)) => {
    const { status, headers, text } = await ask({
      method: 'POST',
      path: '/api/session',
      headers: { origin },
      body: { token }
    })
    if (status !== 200) return { status, text, session: {} }
    const cookie = String(headers['set-cookie']).split(';')[0]!
    return {
      status,
      text: String(headers['set-cookie']),
      session: { cookie, authorization: `Bearer ${JSON.parse(text).key}` }
    }
  }
  const pass = (ms: number) => {
    now += ms
    page.closeIfUnused()
  }
  return { page, asked, host, origin, port: Number(port), ask, begin, pass }
}

t.test('the page comes whole, with a policy that lets nothing else in', async (t) => {
  const { ask, host } = await setUp(t)
  t.match(host, /^127\.0\.0\.1:\d+$/, 'on this machine alone')
  for (const path of ['/', '/page.js', '/page.css', '/icon.svg']) {
    const { status, headers, text } = await ask({ path })
    t.equal(status, 200, path)
    const policy = String(headers['content-security-policy'])
    for (const rule of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "frame-ancestors 'none'",
      "base-uri 'none'"
    ]) {
      t.ok(policy.split('; ').includes(rule), rule)
    }
    t.notMatch(policy, /unsafe|https?:|\*/)
    t.match(headers, {
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin'
    })
    t.equal(headers['access-control-allow-origin'], undefined)
    t.notMatch(text, /(?:src|href)="?https?:|@import|url\(/, 'it needs no network')
    t.notMatch(text, /<script>|<style| on\w+="| style="/, 'nothing in line')
  }
  t.match(await ask({ path: '/../package.json' }), { status: 404 })
  t.match(await ask({ path: '/constructor' }), { status: 404 })
  t.match(await ask({ method: 'POST', path: '/', body: {} }), { status: 405 })
  t.match(await ask({ method: 'PUT', path: '/api/kill' }), { status: 405 })
})

t.test('another name than its own is a page that was turned here', async (t) => {
  const { ask, asked, begin, port } = await setUp(t)
  const { session } = await begin()
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    `localhost:${port}`,
    '127.0.0.1',
    `127.0.0.1:${port}.evil.example`,
    `[::1]:${port}`
  ]) {
    t.match(await ask({ path: '/', headers: { host } }), { status: 421 }, host)
    t.match(await ask({ path: '/api/why?job=x', headers: { ...session, host } }), { status: 421 }, host)
  }
  const none = connect(port, '127.0.0.1')
  none.write('GET / HTTP/1.0\r\n\r\n')
  t.match(await new Promise((resolve) => none.once('data', (bytes) => resolve(String(bytes)))), /^HTTP\/1\.1 421/)
  t.same(asked, [])
})

t.test('what other pages have a browser ask is refused, whatever it carries', async (t) => {
  const { ask, asked, begin, origin, host } = await setUp(t)
  const { session } = await begin()
  const body = { job: 'x', signal: 15 }
  const others = [
    {},
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: `https://${host}` },
    { origin: 'http://127.0.0.1:1' },
    { origin: `${origin}.evil.example` },
    { origin, 'sec-fetch-site': 'cross-site' },
    { origin, 'sec-fetch-site': 'same-site' },
    { origin, 'sec-fetch-site': 'none' }
  ]
  for (const headers of others) {
    t.match(
      await ask({ method: 'POST', path: '/api/kill', headers: { ...session, ...headers }, body }),
      { status: 403 },
      JSON.stringify(headers)
    )
  }
  t.match(await ask({ path: '/api/why?job=x', headers: { ...session, origin: 'https://evil.example' } }), {
    status: 403
  })
  t.match(await ask({ path: '/api/why?job=x', headers: { ...session, 'sec-fetch-site': 'cross-site' } }), {
    status: 403
  })
  const form = { ...session, origin, 'content-type': 'application/x-www-form-urlencoded' }
  t.match(await ask({ method: 'POST', path: '/api/kill', headers: form, body: 'job=x' }), {
    status: 400,
    text: /must be JSON/
  })
  t.match(
    await ask({ method: 'GET', path: '/api/kill?job=x', headers: session }),
    { status: 404 },
    'nothing is done by GET'
  )
  t.same(asked, [])
})

t.test('a token is good once, and for minutes; without a session nothing is told', async (t) => {
  const { page, ask, asked, begin, origin, pass } = await setUp(t)
  t.match(await ask({ path: '/api/events' }), { status: 401, text: /kappa ui/ })
  t.match(await begin('x'.repeat(43)), { status: 401 })
  t.match(await begin(''), { status: 401 })
  const { session, text } = await begin()
  t.match(text, /^kappa-ui=[\w-]{43}; Path=\/api\/; HttpOnly; SameSite=Strict$/)
  t.match(await begin(), { status: 401, text: /used already/ })
  t.match(await ask({ path: '/api/figures?span=hours', headers: session }), {
    status: 200,
    text: '{"command":"figures"}'
  })
  t.same(asked.splice(0), [['figures', { span: 'hours' }]])
  const { cookie, authorization } = session as { cookie: string; authorization: string }
  const partial: Record<string, string>[] = [
    { cookie },
    { authorization },
    { cookie, authorization: 'Bearer x' },
    { cookie: `${cookie}x`, authorization },
    { cookie: 'kappa-ui=', authorization: 'Bearer ' }
  ]
  for (const headers of partial)
    t.match(await ask({ path: '/api/why?job=x', headers }), { status: 401 }, JSON.stringify(headers))
  const other = await begin(new URL((await page.open()).url).hash.slice(1))
  const mixed = { cookie, authorization: (other.session as { authorization: string }).authorization }
  t.match(await ask({ path: '/api/why?job=x', headers: mixed }), { status: 401 }, 'cookie and key of one session')
  const late = new URL((await page.open()).url).hash.slice(1)
  pass(5 * 60_000)
  t.match(await begin(late), { status: 401, text: /too old/ })
  t.same(asked, [])
  t.match(await ask({ method: 'POST', path: '/api/resume', headers: { ...session, origin }, body: {} }), {
    status: 200
  })
  t.same(asked, [['resume', {}]])
})

t.test('only what the page needs can be asked for', async (t) => {
  const { ask, asked, begin, origin } = await setUp(t, {
    answer: (command) => {
      throw command === 'kill' ? new KappaError('UnknownJobError', 'there is no job "x"') : new Error('not that')
    }
  })
  const { session } = await begin()
  const headers = { ...session, origin }
  for (const path of ['/api/run', '/api/reload', '/api/leave', '/api/pair-invite', '/api/ui', '/api/constructor']) {
    t.match(await ask({ method: 'POST', path, headers, body: {} }), { status: 404 }, path)
  }
  t.match(await ask({ method: 'POST', path: '/api/kill', headers, body: { job: 'x' } }), {
    status: 400,
    text: '{"error":{"name":"UnknownJobError","message":"there is no job \\"x\\""}}'
  })
  t.match(await ask({ method: 'POST', path: '/api/answer', headers, body: { confirm: true } }), { status: 400 })
  t.match(await ask({ method: 'POST', path: '/api/kill', headers, body: '[]' }), { status: 400 })
  t.match(await ask({ method: 'POST', path: '/api/kill', headers, body: '{' }), { status: 400 })
  t.match(await ask({ method: 'POST', path: '/api/kill', headers, body: { x: 'y'.repeat(5_000) } }), {
    status: 400,
    text: /longer/
  })
  t.same(asked, [])
})

t.test('pairing by numbers: what is asked goes to the page, what it answers comes back', async (t) => {
  const { ask, begin, origin } = await setUp(t, {
    pair: async ({ kind }, { tell, ask }) => {
      tell({ type: 'found', name: 'nas', kind: 'own' })
      const { digits } = await ask({ need: 'digits', name: 'nas', kind: 'own' })
      if (digits !== '123456') throw new KappaError('PairingError', 'these are not the digits')
      return { peerId: 'id', name: 'nas', kind: kind as 'own' }
    }
  })
  const { session } = await begin()
  const headers = { ...session, origin }
  for (const [digits, last] of [
    ['123456', { type: 'paired', peerId: 'id', name: 'nas', kind: 'own' }],
    ['000000', { type: 'error', message: 'these are not the digits' }]
  ] as const) {
    const pairing = ask({ method: 'POST', path: '/api/pair', headers, body: { kind: 'own', target: 'nas' } })
    let answered: Answered
    do answered = await ask({ method: 'POST', path: '/api/answer', headers, body: { digits } })
    while (answered.status === 400)
    const lines = (await pairing).text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    t.same(lines, [{ type: 'found', name: 'nas', kind: 'own' }, { need: 'digits', name: 'nas', kind: 'own' }, last])
  }
})

t.test('the server ends when nobody has used it for a while, and all it knew with it', async (t) => {
  const { page, ask, begin, pass, port } = await setUp(t)
  const { session } = await begin()
  pass(9 * 60_000)
  t.ok(page.isServing)
  t.match(await ask({ path: '/api/figures', headers: session }), { status: 200 })
  pass(60_000)
  await page.close()
  t.notOk(page.isServing)
  await t.rejects(ask({ path: '/' }), { code: 'ECONNREFUSED' })
  const { url } = await page.open()
  t.ok(page.isServing)
  const again = httpRequest({ host: '127.0.0.1', port: new URL(url).port, path: '/api/figures', headers: session })
  again.end()
  const status = await new Promise((resolve) =>
    again.once('response', (response) => resolve(response.resume().statusCode))
  )
  t.equal(status, 401, 'a page of before is a stranger')
  t.ok(port)
})

t.test('a page that watches keeps it', async (t) => {
  const { page, begin, pass, port } = await setUp(t)
  const { session } = await begin()
  const watching = httpRequest({ host: '127.0.0.1', port, path: '/api/events', headers: session })
  watching.on('error', () => undefined)
  watching.end()
  const first = await new Promise<string>((resolve) => {
    watching.once('response', (response) => response.once('data', (line) => resolve(String(line))))
  })
  t.same(Object.keys(JSON.parse(first)), ['status', 'jobs', 'guests', 'figures'])
  pass(60 * 60_000)
  t.ok(page.isServing)
  watching.destroy()
})
