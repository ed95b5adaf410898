import type { MetricsResult } from '../daemon/control-results.ts'
import { readArguments } from './arguments.ts'
import { request } from './client.ts'
import type { Command, Takes } from './command.ts'
import { print } from './output.ts'

const HELP = `Usage: kappa metrics

Prints figures of this peer, its neighbours and what became of its jobs as Prometheus' text, for node_exporter's
textfile collector. With metrics.listen in the configuration Prometheus can also fetch them.

Example:
  kappa metrics >kappa.prom.new && mv kappa.prom.new /var/lib/prometheus/node-exporter/kappa.prom`

const TAKES = { options: {} } as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    if (!readArguments({ name: 'kappa metrics', help: HELP, ...TAKES }, args)) return 0
    print(((await request('metrics', {})) as MetricsResult).text)
    return 0
  }
}
