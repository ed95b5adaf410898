import type { Command } from './command.ts'
import { EACH_TAKES, readEachArguments } from './each/arguments.ts'
import { Each } from './each/each.ts'
import { commandOf } from './each/joblog.ts'
import { combinations } from './each/sources.ts'
import { Template } from './each/template.ts'
import { print } from './output.ts'
import { launchState, rawArguments } from './run-options.ts'

const HELP = `Usage: kappa each [OPTIONS] [--] CMD [ARG...] ::: VALUE...
       ... | kappa each [OPTIONS] [--] CMD [ARG...]

Runs the command once for each value, over all machines that have room: values behind :::, lines of files behind :::: or
with -a, else lines of stdin. Several ::: give all combinations. Values go as arguments, never through a shell.

  {}  the value     {.}  without extension     {/}  without directory     {//}  its directory     {/.}  neither
  {#} number of the job     {2} {2/.}  of the second source     without any, the value comes last
  --sh             let values stand in a shell's script, quoted: kappa each --sh 'gzip < {} > {.}.gz' ::: *
  -a FILE          values from lines of a file (- is stdin)     -0  values end with NUL, not with a line
  -j N             at most N jobs at once; without it as many as find a free slot somewhere
  --unordered      outputs as jobs end; by default in the order of the values, and never mixed
  --line-buffer    line by line as it comes     --tag  the value before each line
  --results DIR    keep what each job wrote, and its status, in DIR/NUMBER
  --joblog FILE    a line for each job     --resume  go on with what FILE knows of: what ended does not run again, what
                   may have run is named (and runs again only with --retry)
  --halt WHEN      never (default), now or soon, after the first failure; now,fail=3 or soon,success=1
  --delay TIME     between the beginnings of two jobs     --dry-run  print the commands

All options of kappa run hold for each job: --in {} --out {.}.flac, --on, --not, --cores, --timeout, --retry, ...
The exit status is the number of jobs that failed, 101 for more than a hundred.

Example:
  kappa each --in {} --out {.}.flac flac {} ::: *.wav`

export const command: Command = {
  help: HELP,
  takes: EACH_TAKES,
  async execute(args) {
    const words = rawArguments(args.length).map((word) => word.toString('latin1'))
    const request = readEachArguments(words, process.env)
    if (request === undefined) {
      print(HELP)
      return 0
    }
    if (!request.dryRun) return new Each(request, launchState()).run()
    const template = new Template(request.words, request.shell)
    let sequence = 0
    for await (const some of combinations(request.sources, request.separator)) {
      for (const values of some) {
        print(Buffer.from(commandOf(template.fill({ sequence: ++sequence, values })), 'latin1').toString())
      }
    }
    return 0
  }
}
