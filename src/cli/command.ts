/** What each file of a command exports. */
export interface Command {
  /** The text behind `--help`: usage, what it does, options, an example. */
  help: string
  /** Runs with the arguments behind the command's name; the exit status. Throws KappaError for what a person should read. */
  execute(args: string[]): Promise<number>
}
