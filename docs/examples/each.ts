/** A job for each file of a directory, over all machines; results in order, as they come. */

import { readdirSync } from 'node:fs'
import { connect } from 'kappa'

await using peer = await connect()

const directory = process.argv[2] ?? '.'
const files = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isFile())
const names = files.map(({ name }) => name).sort()

for await (const { item, output, error } of peer.each(names, (name) => ['cksum', '--', name], {
  run: { cwd: directory }
})) {
  if (error) console.error(`${item}: ${error.message}`)
  else process.stdout.write(output.stdout)
}
