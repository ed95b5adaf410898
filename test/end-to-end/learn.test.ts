/** What a command usually takes decides whether it is worth sending. */

import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { emulatedLan, load, pair, sees, TestPeer, until } from './peers.ts'

/** A few ms, and about a second: a product of two primes of 48 bits takes a fifth of one on a machine of today. */
const SHORT = ['seq', '-w', '10']
const LONG = ['factor', ...Array<string>(5).fill('79228165297749553259147136061')]

const lan = await emulatedLan(t, { hosts: 2, cores: [0.5, 0.9], bound: [0, 1] })
if (lan) {
  const [home, desktop] = (await Promise.all(
    ['home', 'desktop'].map((name, host) => TestPeer.start(t, { name, lan, host }))
  )) as [TestPeer, TestPeer]
  await pair(home, desktop)
  const last = async () => (await home.jobs())[0]!
  const why = async () => JSON.parse(await home.ok(['why', '--json', String((await last()).id)]))

  t.test('a command of a few ms stays after a few runs, one of a second goes', async (t) => {
    for (const command of [SHORT, LONG]) for (let run = 0; run < 3; run++) await home.ok(['run', '--local', ...command])
    await load(t, home, 2)
    await until('the long one goes', async () => {
      await home.ok(['run', '--plain', ...LONG])
      return (await last()).target === 'desktop'
    })
    await home.ok(['run', '--plain', ...SHORT])
    t.match(await last(), { target: 'home' })
    t.match(await why(), { reason: /^it takes \d+ ms here: too short to send$/ })
    await home.there(desktop, SHORT)
    t.match(await last(), { target: 'desktop' }, 'unless it must')
  })

  t.test('of one command, a tiny input stays and a large one goes', async (t) => {
    const gzip = (name: string, ...options: string[]) =>
      home.ok(['run', ...options, '--in', name, '--out', `${name}.gz`, 'gzip', '-9', '-k', '-f', name])
    writeFileSync(join(home.work, 'tiny'), randomBytes(500))
    writeFileSync(join(home.work, 'large'), Buffer.from(randomBytes(6e6).toString('base64')))
    for (const name of ['tiny', 'large']) for (let run = 0; run < 3; run++) await gzip(name, '--local')
    await load(t, home, 2)
    await until('the large one goes', async () => {
      await gzip('large')
      return (await last()).target === 'desktop'
    })
    await gzip('tiny')
    t.match(await last(), { target: 'home' })
    t.match(await why(), { reason: /^it takes \d+ ms here: too short to send$/ })
    t.match(
      (await home.kappa(['run', '--plain', '-v', ...SHORT])).stderr,
      /running here: it takes \d+ ms here: too short to send/
    )
  })

  t.test('it is remembered over a restart, and forgotten when the owner wants it', async (t) => {
    await home.stopDaemon()
    const kept = join(home.directory, 'state/learned.json')
    const keys = JSON.parse(readFileSync(kept, 'utf8')).commands.map(({ key }: { key: string }) => key)
    t.same(keys.toSorted(), ['*', 'factor', 'gzip -f -k <12', 'gzip -f -k <5', 'seq -w'])
    await home.startDaemon()
    await until('it knows its own load', async () => (await home.status()).static !== null)
    await sees(home, desktop)
    await home.ok(['run', '--plain', ...SHORT])
    t.match((await why()).reason, /too short to send$/)
    await home.ok(['config', 'set', 'learn', 'false'])
    await home.ok(['run', '--plain', ...SHORT])
    t.notMatch((await why()).reason, /too short to send$/)
    await until('nothing is left on the disk', async () => !existsSync(kept))
  })
}
