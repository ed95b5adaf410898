import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import {
  CONFIGURATION_KEYS,
  type Configuration,
  configurationKey,
  loadConfiguration,
  valueAt
} from '../daemon/configuration.ts'
import { changeConfiguration } from '../daemon/configuration-change.ts'
import { tomlValue } from '../daemon/configuration-text.ts'
import type { ReloadResult } from '../daemon/control-results.ts'
import { directories, socketPath } from '../daemon/directories.ts'
import { KappaError } from '../errors.ts'
import { readArguments, usageError } from './arguments.ts'
import { request, tryConnect } from './client.ts'
import type { Command, Takes } from './command.ts'
import { print, printJson, styled } from './output.ts'

const HELP = `Usage: kappa config get [KEY] [--json]    what holds: all keys with what they mean, or one
       kappa config set KEY VALUE...       change the file; several values make a list
       kappa config edit                   open the file in $VISUAL or $EDITOR
       kappa config path                   where the file is

Examples:
  kappa config set slots 4
  kappa config set guests.paths /media:ro /srv/data:ro`

const TAKES = {
  options: { json: { type: 'boolean' } },
  arguments: {
    min: 1,
    max: 1_000,
    what: 'get, set, edit or path',
    completes: [['get', 'set', 'edit', 'path'], 'key', 'file']
  }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa config', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const [action, key, ...values] = parsed.positionals
    const path = directories().config
    if (action === 'path' && key === undefined) print(path)
    else if (action === 'edit' && key === undefined) await edit(path)
    else if (action === 'get' && values.length === 0)
      get(loadConfiguration(path, process.env), key, parsed.values.json ?? false)
    else if (action === 'set') {
      if (key === undefined || values.length === 0) throw usageError('kappa config', 'set takes a KEY and a VALUE')
      await changeConfiguration(path, key, values)
      await reload()
    } else throw usageError('kappa config', `it takes ${TAKES.arguments.what}`)
    return 0
  }
}

function get(configuration: Configuration, key: string | undefined, json: boolean): void {
  if (key !== undefined) {
    const value = valueAt(configuration, configurationKey(key).key.split('.'))
    if (json) printJson(value ?? null)
    else if (value !== undefined) print(Array.isArray(value) ? value.join('\n') : String(value))
  } else if (json) {
    printJson(configuration)
  } else {
    const entries = CONFIGURATION_KEYS.map(({ key: name, description }) => {
      const value = valueAt(configuration, name.split('.'))
      const line = value === undefined ? styled('dim', `# ${name} =`) : `${name} = ${tomlValue(value)}`
      return `${styled('dim', `# ${description}`)}\n${line}`
    })
    print(entries.join('\n\n'))
  }
}

async function edit(path: string): Promise<void> {
  const editor = process.env.VISUAL || process.env.EDITOR || 'vi'
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  createIfMissing(path)
  // As git does it: the variable may hold options, so a shell takes it apart.
  const { status, error } = spawnSync('/bin/sh', ['-c', `${editor} "$@"`, editor, path], { stdio: 'inherit' })
  if (error || status !== 0)
    throw new KappaError('ConfigurationError', `the editor (${editor}) failed; set EDITOR to another`)
  loadConfiguration(path, {})
  await reload()
}

function createIfMissing(path: string): void {
  const lines = CONFIGURATION_KEYS.map(({ key, description }) => `# ${description}\n# ${key} =\n`)
  try {
    writeFileSync(path, `# Settings of kappa; see: kappa config --help\n\n${lines.join('\n')}`, { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return
    throw new KappaError('ConfigurationError', `${path} can't be made: ${(error as Error).message}`)
  }
}

/** Has the daemon read the file again, if one runs. */
async function reload(): Promise<void> {
  const socket = await tryConnect(socketPath())
  if (!socket) return
  socket.close()
  const { atNextStart } = (await request('reload', {})) as ReloadResult
  if (atNextStart.length > 0) print(`From the next start of the daemon on: ${atNextStart.join(', ')}`)
}
