/** Two peers of their own, paired by an invitation; a job of the one runs on the other. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPeer } from 'kappa'

const base = mkdtempSync(join(tmpdir(), 'kappa-pair-'))
writeFileSync(join(base, 'kappa.toml'), 'mdns = false\nguests.on_battery = true\n')
const options = { listen: ['127.0.0.1:0'], configuration: join(base, 'kappa.toml') }
try {
  await using home = await createPeer({ ...options, name: 'home', directory: join(base, 'home') })
  await using attic = await createPeer({ ...options, name: 'attic', directory: join(base, 'attic') })

  const { link, paired } = await attic.invite({ kind: 'own' })
  await Promise.all([home.accept(link, { kind: 'own' }), paired])

  // Until they have told each other what they have to offer.
  while (!(await home.status()).reachable.some(({ name }) => name === 'attic')) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  // It waits for its turn rather than fail when attic is too busy to answer at once.
  const job = home.run(['sh', '-c', 'echo "hello from $KAPPA_TARGET"'], { on: ['attic'], plain: true, wait: true })
  const { stdout, exitCode } = await job.output()
  console.log(`${exitCode}: ${stdout.toString().trim()}`)
} finally {
  rmSync(base, { recursive: true, force: true })
}
