/** What a word may be, for shells that complete it; a list names all that there are. */
export type Completes =
  | readonly string[]
  | 'peer'
  /** Separated by commas. */
  | 'peers'
  | 'job'
  /** One that is not over. */
  | 'live-job'
  | 'detached-job'
  | 'signal'
  /** Of the configuration. */
  | 'key'
  | 'file'
  | 'directory'
  /** On PATH. */
  | 'program'
  /** A program, and behind it whatever that takes. */
  | 'command'

export interface OptionDeclaration {
  type: 'boolean' | 'string'
  short?: string
  multiple?: boolean
  default?: string
  completes?: Completes
  /** Not for people: neither in the help nor completed. */
  hidden?: true
}

/** The words that a command takes: the one declaration that reading, the names in messages and completion come from. */
export interface Takes {
  /** By their long names; those of one letter have no other. */
  options: Record<string, OptionDeclaration>
  /** How many arguments there may be beside the options; none when absent. */
  arguments?: {
    min: number
    max: number
    what: string
    /** By position; the last holds for all that follow. */
    completes?: readonly Completes[]
  }
}

/** What each file of a command exports. */
export interface Command {
  /** The text behind `--help`: usage, what it does, options, an example. */
  help: string
  takes: Takes
  /** Runs with the arguments behind the command's name; the exit status. Throws KappaError for what a person should read. */
  execute(args: string[]): Promise<number>
}
