import { readArguments, usageError } from './arguments.ts'
import type { Command, Takes } from './command.ts'
import { type Commands, complete } from './completions/complete.ts'
import { SCRIPTS } from './completions/scripts.ts'
import { print } from './output.ts'

const HELP = `Usage: kappa completions bash|zsh|fish

Prints what makes a shell complete the commands and options of kappa, the names of machines and the ids of jobs. The Debian
package brings it along.

Examples:
  echo 'eval "$(kappa completions bash)"' >> ~/.bashrc
  echo 'eval "$(kappa completions zsh)"' >> ~/.zshrc                              # behind compinit
  kappa completions fish > ~/.config/fish/completions/kappa.fish`

const SHELLS = Object.keys(SCRIPTS)

const TAKES = {
  // Asked by the scripts: what may stand in the place of this word of those that follow.
  options: { at: { type: 'string', hidden: true } },
  arguments: { min: 1, max: 10_000, what: 'bash, zsh or fish', completes: [SHELLS, []] }
} as const satisfies Takes

/** `commands` are all that there are, with the rest of the program behind them. */
export function completionsOf(commands: Commands): Command {
  return {
    help: HELP,
    takes: TAKES,
    async execute(args) {
      const parsed = readArguments({ name: 'kappa completions', help: HELP, ...TAKES }, args)
      if (!parsed) return 0
      const { at } = parsed.values
      const [shell, ...more] = parsed.positionals
      if (at !== undefined) {
        print((await complete(commands, parsed.positionals, Number(at))).join('\n'))
        return 0
      }
      const script = Object.hasOwn(SCRIPTS, shell!) ? SCRIPTS[shell!] : undefined
      if (script === undefined || more.length > 0)
        throw usageError('kappa completions', `it takes ${TAKES.arguments.what}`)
      print(script.trimEnd())
      return 0
    }
  }
}
