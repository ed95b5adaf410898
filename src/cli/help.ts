import { readArguments } from './arguments.ts'
import type { Command } from './command.ts'
import { print } from './output.ts'

const HELP = `Usage: kappa COMMAND [OPTIONS] [ARGUMENTS]

Runs commands on whichever of your paired machines finishes them soonest, as if they ran here.

  run [--] CMD [ARG...]  run a command where it finishes soonest
  each CMD ::: VALUE...  run a command once for each value, over all machines
  pair [PEER|LINK|-]     pair this machine with another one
  unpair PEER            end a pairing, at once
  peers [PEER]           list the paired machines; set their names and rights
  status                 this machine and what it can reach
  top                    the same, the jobs and what was before, live
  slots                  how many jobs fit, for make -j$(kappa slots)
  shim add CMD...        have commands run by kappa as they are typed
  ps                     the jobs started here (--guests: those of others here)
  logs [-f] JOB          what a detached job wrote (run --detach)
  wait JOB...            wait until jobs are over, and exit as they did
  kill JOB...            end jobs, or send them a signal
  why JOB                why a job ran where it ran
  doctor [PEER]          what is missing, here and between two machines, and what mends it
  metrics                figures of this peer, for Prometheus
  pause, resume          lend this machine or not
  config                 show and change the configuration
  service install        have systemd run the daemon, from boot on
  daemon                 run the daemon in the foreground
  completions SHELL      make bash, zsh or fish complete all this
  version, help

PEER is a name or the start of a peer ID; JOB is the start of a job's id.
Each command says more: kappa COMMAND --help`

export const command: Command = {
  help: HELP,
  takes: { options: {} },
  async execute(args) {
    if (readArguments({ name: 'kappa help', help: HELP, options: {} }, args)) print(HELP)
    return 0
  }
}
