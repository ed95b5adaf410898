/** A command whose output is used while it runs, and that is ended when enough has come. */

import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { connect } from 'kappa'

await using peer = await connect()

const enough = new AbortController()
const job = peer.run(['sh', '-c', 'while read -r word; do echo "got $word"; done'], {
  stdin: 'pipe',
  plain: true,
  signal: AbortSignal.any([enough.signal, AbortSignal.timeout(30_000)])
})
const lines = createInterface({ input: job.stdout })
for (const word of ['one', 'two', 'three']) {
  job.stdin.write(`${word}\n`)
  const [line] = await once(lines, 'line')
  console.log(line)
}
enough.abort(new Error('three are enough'))
await job.ended.catch((reason) => console.log(`ended: ${reason.message}`))
