import { readArguments } from './arguments.ts'
import type { Command } from './command.ts'
import { print } from './output.ts'

const HELP = `Usage: kappa COMMAND [OPTIONS] [ARGUMENTS]; each says more: kappa COMMAND --help

Runs commands where they finish soonest, as if they ran here.

  run [--] CMD [ARG...]  run a command where it finishes soonest
  each CMD ::: VALUE...  run a command once for each value, over all machines
  shim add CMD...        have commands run by kappa as they are typed
  slots                  how many jobs fit, for make -j$(kappa slots)
  ps, why JOB            the jobs started here; why one ran where it ran
  logs, wait, kill JOB   what a detached job wrote; wait for jobs; end them
  status, top, ui        this machine and what it can reach; live; in a browser
  pair [PEER|LINK|-]     pair this machine with another one
  peers, unpair PEER     the paired machines and their rights; end a pairing
  pause, resume          lend this machine or not
  doctor [PEER]          what is missing, here or between two, and what mends it
  config                 show and change the configuration
  service install        have systemd run the daemon, from boot on
  daemon                 run the daemon in the foreground
  metrics                figures of this peer, for Prometheus
  completions SHELL      make bash, zsh or fish complete all this
  version, help

PEER is a name or the start of a peer ID, JOB the start of a job's id.`

export const command: Command = {
  help: HELP,
  takes: { options: {} },
  async execute(args) {
    if (readArguments({ name: 'kappa help', help: HELP, options: {} }, args)) print(HELP)
    return 0
  }
}
