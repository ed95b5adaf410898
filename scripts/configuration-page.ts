/**
 * Writes docs/configuration.md from the declarations of the configuration: `node scripts/configuration-page.ts`. A test
 * compares the file with what this would write.
 */

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { AT_START_KEYS, CONFIGURATION_KEYS, loadConfiguration, valueAt } from '../src/daemon/configuration.ts'
import { tomlValue } from '../src/daemon/configuration-text.ts'

const BEGINNING = `<!-- Written by scripts/configuration-page.ts from src/daemon/configuration.ts. Change it there. -->

# Configuration

kappa needs none. What the owner of a machine may decide about it is in one TOML file, \`~/.config/kappa/kappa.toml\`
(\`kappa config path\` tells where exactly). It holds for this machine alone: each owner decides for his own.

    kappa config get                       # every key, with what it means and what holds
    kappa config set slots 4               # one of them; comments and order of the file stay
    kappa config set guests.paths /media:ro /srv/data:ro
    kappa config edit                      # the file in your editor

A key of a table may be written either way:

\`\`\`toml
slots = 4

[guests]
time = "12h"                               # or, outside of the table: guests.time = "12h"
\`\`\`

An unknown key or a bad value is an error that names the file and the line; a running daemon then goes on with what held before.
\`kappa config\` has the daemon take up what it changed; after a change by hand send it SIGHUP. Most keys hold at once; the others,
which are marked, from the next start of the daemon on.
`

const ENDING = `## Environment

These win over the file. Those of the first table are read by the daemon when it starts, and by commands that look for it.

| variable | means |
|---|---|
| \`KAPPA_DIR\` | a directory for everything: \`kappa.toml\`, \`state\`, \`run\` with the control socket, \`cache\`, \`shims\`; so several peers can live on one machine |
| \`KAPPA_CONFIG\` | the configuration file |
| \`KAPPA_NAME\`, \`KAPPA_LISTEN\`, \`KAPPA_ANNOUNCE\` | the keys \`name\`, \`listen\`, \`announce\`; several addresses with commas between them |

Options of \`kappa run\` for programs that start it without any, such as shims:

| variable | means |
|---|---|
| \`KAPPA_ON\`, \`KAPPA_NOT\` | \`--on\`, \`--not\`: names of machines, with commas between them |
| \`KAPPA_LOCAL\`, \`KAPPA_REMOTE\`, \`KAPPA_VERBOSE\` | \`--local\`, \`--remote\`, \`--verbose\`, when they say anything |
| \`KAPPA_CORES\` | \`--cores\` |
| \`KAPPA_CLIENT\` | \`node\`: the client in JavaScript even where the small native one would do |

A job finds these in its own environment. Within a job \`kappa run\` just runs the command.

| variable | means |
|---|---|
| \`KAPPA_JOB\` | its id |
| \`KAPPA_HOME\`, \`KAPPA_TARGET\` | the names of the machine where it was started and of the one where it runs |

For measuring, \`KAPPA_FILES_WITHOUT\` in the daemon's environment names what of files mode is to be left out
(\`src/files/target/techniques.ts\`).

## Files

| what | where | or |
|---|---|---|
| configuration | \`~/.config/kappa/kappa.toml\` | \`$XDG_CONFIG_HOME/kappa\` |
| identity, pairings, history, what was learnt, \`daemon.log\`, \`audit.log\` | \`~/.local/state/kappa\` | \`$XDG_STATE_HOME/kappa\` |
| control socket | \`/run/user/UID/kappa\` | \`$XDG_RUNTIME_DIR/kappa\`, else \`run\` in the directory of the state |
| contents of homes' files, hashes | \`~/.cache/kappa\` | \`$XDG_CACHE_HOME/kappa\` |
| shims | \`~/.local/share/kappa/shims\` | \`$XDG_DATA_HOME/kappa/shims\` |
`

const TITLES: Record<string, string> = {
  '': 'This machine',
  machine: 'What kappa counts on',
  metric: 'How machines are compared',
  placement: 'Where jobs go',
  files: "Homes' files",
  metrics: 'Monitoring',
  log: 'The log',
  guests: 'Jobs of other machines here'
}

/** The whole page. */
export function configurationPage(): string {
  const tables = Object.entries(TITLES).map(([table, title]) => {
    const rows = CONFIGURATION_KEYS.filter(({ key }) => tableOf(key) === table).map(rowOf)
    return [`## ${title}`, '', '| key | value | default | means |', '|---|---|---|---|', ...rows, ''].join('\n')
  })
  return [BEGINNING, ...tables, ENDING].join('\n')
}

function tableOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf('.')))
}

const DEFAULTS = loadConfiguration('/dev/null', {})

function rowOf({ key, description, schema }: (typeof CONFIGURATION_KEYS)[number]): string {
  if (TITLES[tableOf(key)] === undefined) throw new Error(`scripts/configuration-page.ts has no title for ${key}`)
  // What a wrong value is told is what a right one looks like.
  const must = schema.safeParse(Symbol('nothing that anybody would write')).error?.issues[0]?.message ?? ''
  const value = valueAt(DEFAULTS, key.split('.'))
  const starts = AT_START_KEYS.includes(key) ? ' *(from the next start on)*' : ''
  const cells = [
    `\`${key}\``,
    coded(must.replace(/^must be /, '')),
    value === undefined ? '–' : `\`${tomlValue(value)}\``,
    coded(description) + starts
  ]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

/** What is quoted is what one writes. */
function coded(text: string): string {
  return text
    .replaceAll(/"[^"]+"/g, '`$&`')
    .replaceAll(/\bguests\.\w+/g, '`$&`')
    .replaceAll('--need', '`--need`')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('../docs/configuration.md', import.meta.url), configurationPage())
}
