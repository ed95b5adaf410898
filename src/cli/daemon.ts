import { directories, socketPath } from '../daemon/directories.ts'
import { KappaError } from '../errors.ts'
import { readArguments, usageError } from './arguments.ts'
import { tryConnect } from './client.ts'
import type { Command, Takes } from './command.ts'
import { print } from './output.ts'

const HELP = `Usage: kappa daemon [--attached]
       kappa daemon --new-identity | --keep-identity

Runs the daemon in the foreground, for service managers and for debugging. Other commands start it when none runs.
SIGTERM and Ctrl-C end it; SIGHUP makes it read its configuration again.

  --attached         end when stdin ends, and so with whoever started it
  --new-identity     become another peer, without pairings: on a copy of another machine's disk, or when the identity
                     is damaged; the old files are kept beside
  --keep-identity    this machine takes the place of the one that the identity was made on, which is gone for good

Example:
  KAPPA_DIR=/tmp/second kappa daemon`

const TAKES = {
  options: {
    attached: { type: 'boolean' },
    'new-identity': { type: 'boolean' },
    'keep-identity': { type: 'boolean' }
  }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa daemon', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { attached = false, 'new-identity': renew = false, 'keep-identity': keep = false } = parsed.values
    if (renew && keep) throw usageError('kappa daemon', '--new-identity and --keep-identity exclude each other')
    if (renew || keep) await changeIdentity(renew)
    else return await (await import('../daemon/main.ts')).runDaemon({ attached })
    return 0
  }
}

async function changeIdentity(renew: boolean): Promise<void> {
  const socket = await tryConnect(socketPath())
  if (socket) {
    socket.close()
    throw new KappaError('DaemonError', 'a daemon runs with the identity that it has; end it first')
  }
  const { abandonIdentity, adoptIdentity } = await import('../daemon/identity-file.ts')
  const { state } = directories()
  if (!renew) {
    await adoptIdentity(state)
    print('The identity belongs to this machine now.')
    return
  }
  const kept = abandonIdentity(state)
  print(['The next start makes a new identity.', ...kept.map((path) => `The old one is kept in ${path}`)].join('\n'))
}
