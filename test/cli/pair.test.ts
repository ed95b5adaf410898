import { once } from 'node:events'
import t from 'tap'
import { FRAME } from '../../src/daemon/control-codec.ts'
import type { PairResult } from '../../src/daemon/control-results.ts'
import { KappaError } from '../../src/errors.ts'
import { fakeDaemon, finished, kappa, startKappa } from './fake-daemon.ts'

const PAIRED: PairResult = { peerId: '12D3a', name: 'nas', kind: 'own' }

t.test('an invitation: the link alone on the first line at once, then it waits', async (t) => {
  const used = Promise.withResolvers<PairResult>()
  let asked: unknown
  const directory = await fakeDaemon(t, {
    'pair-invite': (connection, params) => {
      asked = params
      connection.tell(FRAME.event, { type: 'link', link: 'kappa:abc' })
      return used.promise
    }
  })
  const child = startKappa(directory, ['pair', '--invite', '--own'])
  const over = finished(child)
  const [first] = await once(child.stdout!, 'data')
  t.equal(String(first), 'kappa:abc\n')
  t.equal(child.exitCode, null)
  used.resolve(PAIRED)
  t.match(await over, { code: 0, stdout: 'kappa:abc\n', stderr: /Paired with nas, a machine of your own/ })
  t.strictSame(asked, { kind: 'own' })
})

t.test('an invitation that nobody used ends with 1', async (t) => {
  const directory = await fakeDaemon(t, {
    'pair-invite': () => {
      throw new KappaError('InvitationError', 'nobody used the invitation within 10 minutes')
    }
  })
  t.match(await kappa(directory, ['pair', '--invite']), { code: 1, stderr: /^kappa: nobody used/ })
})

t.test('Ctrl-C revokes an invitation: the daemon sees the client go', async (t) => {
  const gone = Promise.withResolvers<void>()
  const directory = await fakeDaemon(t, {
    'pair-invite': (connection) => {
      connection.onGone(() => gone.resolve())
      connection.tell(FRAME.event, { type: 'link', link: 'kappa:abc' })
      return new Promise(() => undefined)
    }
  })
  const child = startKappa(directory, ['pair', '--invite'])
  const over = finished(child)
  await once(child.stdout!, 'data')
  child.kill('SIGINT')
  t.match(await over, { signal: 'SIGINT' })
  await gone.promise
})

t.test('a link as an argument, or as a line of stdin that does not end', async (t) => {
  const asked: unknown[] = []
  const directory = await fakeDaemon(t, {
    'pair-accept': (_, params) => {
      asked.push(params)
      return PAIRED
    }
  })
  t.match(await kappa(directory, ['pair', '--yes', 'kappa:abc']), { code: 0 })
  t.match(await kappa(directory, ['pair', '--friend', 'kappa:abc']), { code: 0 })
  const child = startKappa(directory, ['pair', '--yes', '--own', '-'])
  child.stdin?.write('kappa:')
  child.stdin?.write('def\n')
  t.match(await finished(child), { code: 0, stderr: /Paired with nas/ })
  t.strictSame(asked, [
    { link: 'kappa:abc', kind: 'friend' },
    { link: 'kappa:abc', kind: 'friend' },
    { link: 'kappa:def', kind: 'own' }
  ])
  t.match(await kappa(directory, ['pair', '--yes', '-'], ''), { code: 1, stderr: /stdin holds no invitation/ })
  t.match(await kappa(directory, ['pair', '-'], 'kappa:abc\n'), { code: 2, stderr: /say --own or --friend, or --yes/ })
  t.match(await kappa(directory, ['pair', 'kappa:abc']), { code: 2, stderr: /say --own or --friend, or --yes/ })
})

t.test('numbers, on the machine that waits: shows digits, asks to confirm', async (t) => {
  const directory = await fakeDaemon(t, {
    'pair-wait': async (connection) => {
      const tell = (event: object) => connection.tell(FRAME.event, event)
      tell({ type: 'waiting', name: 'desktop', forMs: 300_000 })
      tell({ type: 'try', number: 1, left: 2, name: 'nas\x1b[2J', kind: 'friend' })
      tell({ type: 'digits', digits: '123456', name: 'nas' })
      tell({ type: 'matched', name: 'nas' })
      const answer = await connection.ask({ need: 'confirm', name: 'nas', kind: 'friend' })
      if (answer.confirm !== true) throw new KappaError('PairingError', 'pairing was not confirmed')
      return PAIRED
    }
  })
  const yes = await kappa(directory, ['pair'], 'yes\n')
  t.match(yes, { code: 0, stdout: '' })
  t.match(yes.stderr, /kappa pair desktop[\s\S]*nas\\u\{1b\}\[2J wants to pair[\s\S]*123 456[\s\S]*\[y\/N\]/)
  t.match(await kappa(directory, ['pair'], 'no\n'), { code: 1, stderr: /kappa: pairing was not confirmed\n$/ })
  t.match(
    await kappa(directory, ['pair'], ''),
    { code: 1, stderr: /kappa: pairing was not confirmed\n$/ },
    'silence is no'
  )
})

t.test('numbers, on the other machine: asks for the digits', async (t) => {
  const directory = await fakeDaemon(t, {
    'pair-join': async (connection, params) => {
      connection.tell(FRAME.event, { type: 'found', name: 'nas', kind: 'own' })
      const { digits } = await connection.ask({ need: 'digits', name: 'nas', kind: 'own' })
      connection.tell(FRAME.event, { type: 'matched', name: 'nas' })
      return { ...PAIRED, name: `${(params as { target: string }).target} ${digits}` }
    }
  })
  t.match(await kappa(directory, ['pair', 'nas'], '123 456\n'), {
    code: 0,
    stderr: /confirm it on nas[\s\S]*Paired with nas 123 456/
  })
  t.match(await kappa(directory, ['pair', 'nas'], ''), { code: 1, stderr: /stdin ended before the digits were typed/ })
})

t.test('a question whose try failed is taken back', async (t) => {
  const directory = await fakeDaemon(t, {
    'pair-wait': async (connection) => {
      const first = connection.ask({ need: 'confirm', name: 'evil', kind: 'own' })
      connection.tell(FRAME.event, { type: 'failed', reason: 'it went away', left: 2 })
      t.strictSame(await first, { confirm: false })
      return PAIRED
    }
  })
  const child = startKappa(directory, ['pair'])
  t.match(await finished(child), { code: 0, stderr: /That try failed: it went away\. 2 left\./ })
})
