/** One command on whichever machine finishes it soonest, with what it reads and what it writes. */

import { connect } from 'kappa'

await using peer = await connect()

const job = peer.run(['sort', '-n'], { stdin: '10\n9\n8\n' })
const { stdout, exitCode, machine, id } = await job.output()

process.stdout.write(stdout)
console.log(`exit status ${exitCode}, on ${machine}: ${(await peer.why(id)).reason}`)
