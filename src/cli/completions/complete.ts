/** What may stand in the place of a word of `kappa ...`, from what each command declares that it takes. */

import { constants } from 'node:os'
import type { JobResult, StatusResult } from '../../daemon/control-results.ts'
import { socketPath } from '../../daemon/directories.ts'
import { printable } from '../../printable.ts'
import { request, tryConnect } from '../client.ts'
import type { Command, Completes, OptionDeclaration, Takes } from '../command.ts'
import { commandLine } from '../output.ts'

/** By name, with the rest of the program behind each. */
export type Commands = Record<string, () => Promise<{ command: Command }>>

/** Characters of what is said of a word. */
const MEANING_MAX = 60
const SOURCES = new Set([':::', '::::'])

/** A word of the line, and its number there. */
interface Word {
  text: string
  at: number
}

/** A word that may stand there. */
interface Candidate {
  word: string
  meaning: string
}

/** What is to be completed: the part that was typed, and the part before it that stays as it is: `--on=`. */
interface Place {
  completes: Completes | 'options'
  typed: string
  kept: string
}

/**
 * The first line is `words`, and the others are words that begin as that at `index` does, each with a tab and what it means;
 * or `files`, `directories`, `programs`: those that the shell knows; or `command N`: what the program takes whose name is word N.
 */
export async function complete(commands: Commands, line: string[], index: number): Promise<string[]> {
  const { words, parted } = joined(line.slice(0, index + 1))
  const [, name, ...rest] = words
  if (rest.length === 0) return matching(await commandNames(commands), name?.text ?? '', '')
  if (!Object.hasOwn(commands, name!.text)) return ['files']
  const { command } = await commands[name!.text]!()
  const place = placeOf(command.takes, rest)
  if (typeof place === 'string') return [place]
  const { completes, typed, kept } = place
  if (completes === 'file') return ['files']
  if (completes === 'directory') return ['directories']
  if (completes === 'program') return ['programs']
  if (completes === 'options') return matching(optionsOf(command), typed, '')
  // Bash replaces only what is behind the "=".
  const before = parted ? '' : kept
  if (completes !== 'peers') return matching(await candidates(completes), typed, before)
  const list = typed.slice(0, typed.lastIndexOf(',') + 1)
  const named = new Set(list.split(','))
  const others = (await candidates('peer')).filter(({ word }) => !named.has(word))
  return matching(others, typed.slice(list.length), before + list)
}

/** Bash parts `--on=nas` into three words; whether it did so with the last. */
function joined(line: string[]): { words: Word[]; parted: boolean } {
  const words: Word[] = []
  let parted = false
  for (let at = 0; at < line.length; at++) {
    const last = words.at(-1)
    parted = line[at] === '=' && last !== undefined && /^--[^=]+$/.test(last.text)
    if (parted) last!.text += `=${line[++at] ?? ''}`
    else words.push({ text: line[at]!, at })
  }
  return { words, parted }
}

/** Where the last of the words behind a command's name stands; or an answer at once. */
function placeOf(takes: Takes, words: Word[]): Place | string {
  const { text: typed, at } = words.at(-1)!
  const kinds = takes.arguments?.completes ?? []
  const isRun = kinds[0] === 'command'
  let count = 0
  let noOptions = false
  for (let index = 0; index < words.length - 1; index++) {
    const { text, at } = words[index]!
    if (noOptions || !text.startsWith('-') || text === '-') {
      if (isRun) return words.slice(index).some(({ text }) => SOURCES.has(text)) ? 'files' : `command ${at}`
      count++
    } else if (text === '--') noOptions = true
    else {
      const option = optionOf(takes, text)
      if (option?.type !== 'string' || text.includes('=')) continue
      if (++index === words.length - 1) return { completes: option.completes ?? [], typed, kept: '' }
    }
  }
  const [, option, value] = (!noOptions && /^(--[^=]+)=(.*)$/s.exec(typed)) || []
  if (option !== undefined)
    return { completes: optionOf(takes, option)?.completes ?? [], typed: value!, kept: `${option}=` }
  if (!noOptions && typed.startsWith('-')) return { completes: 'options', typed, kept: '' }
  if (isRun) return `command ${at}`
  const completes = count < (takes.arguments?.max ?? 0) ? kinds[Math.min(count, kinds.length - 1)] : undefined
  return { completes: completes ?? [], typed, kept: '' }
}

function optionOf({ options }: Takes, text: string): OptionDeclaration | undefined {
  const name = text.replace(/=.*/s, '')
  if (name.startsWith('--')) return Object.hasOwn(options, name.slice(2)) ? options[name.slice(2)] : undefined
  return Object.entries(options).find(([long, { short }]) => `-${short ?? long}` === name)?.[1]
}

function matching(words: Candidate[], typed: string, before: string): string[] {
  const found = words.filter(({ word }) => word.startsWith(typed))
  return ['words', ...found.map(({ word, meaning }) => `${before}${word}\t${printable(meaning, MEANING_MAX)}`)]
}

/** Those that the help of all lists. */
async function commandNames(commands: Commands): Promise<Candidate[]> {
  const { command } = await commands.help!()
  return [...command.help.matchAll(/^ {2}(\S.*?)(?: {2,}(.*))?$/gm)].flatMap(([, usage, meaning = '']) =>
    usage!
      .split(/[ ,]+/)
      .filter((word) => Object.hasOwn(commands, word))
      .map((word) => ({ word, meaning }))
  )
}

function optionsOf({ help, takes }: Command): Candidate[] {
  const options: [string, OptionDeclaration][] = [...Object.entries(takes.options), ['help', { type: 'boolean' }]]
  return options
    .filter(([, { hidden }]) => !hidden)
    .map(([name, { short }]) => {
      const word = name.length === 1 ? `-${name}` : `--${name}`
      return { word, meaning: meaningOf(word, help) ?? (short && meaningOf(`-${short}`, help)) ?? '' }
    })
}

/** What the help says of an option: behind it and its value, up to the next gap. */
function meaningOf(option: string, help: string): string | undefined {
  const value = String.raw`(?:[ =[][\w=[\]]+)?(?:, -\S+)?`
  return new RegExp(`(?:^|[ ,])${option}${value}(?: {2,}|: )(\\S.*?)(?: {3,}|$)`, 'm').exec(help)?.[1]
}

async function candidates(completes: Completes): Promise<Candidate[]> {
  if (typeof completes !== 'string') return completes.map((word) => ({ word, meaning: '' }))
  if (completes === 'peer') return peers()
  if (completes === 'job') return jobs(() => true)
  if (completes === 'live-job') return jobs(({ endedAt }) => endedAt === null)
  if (completes === 'detached-job') return jobs(({ detached }) => detached)
  if (completes === 'key') {
    const { CONFIGURATION_KEYS } = await import('../../daemon/configuration.ts')
    return CONFIGURATION_KEYS.map(({ key, description }) => ({ word: key, meaning: description }))
  }
  if (completes === 'signal')
    return Object.keys(constants.signals).map((name) => ({ word: name.replace(/^SIG/, ''), meaning: '' }))
  return []
}

/** Of a daemon that runs; none is started for a completion. */
async function asked(command: string): Promise<unknown> {
  const socket = await tryConnect(socketPath())
  if (!socket) return undefined
  socket.close()
  return request(command, {})
}

async function peers(): Promise<Candidate[]> {
  const status = (await asked('status')) as StatusResult | undefined
  if (!status) return []
  const known = status.neighbours.map(({ name, kind, connected }) => ({
    word: printable(name),
    meaning: connected ? kind : `${kind}, away`
  }))
  const further = status.reachable.map(({ name, through }) => ({
    word: printable(name),
    meaning: `through ${printable(through ?? '')}`
  }))
  return [...known, ...further.filter(({ word }) => !known.some((peer) => peer.word === word))]
}

async function jobs(wanted: (job: JobResult) => boolean): Promise<Candidate[]> {
  const all = ((await asked('ps')) as JobResult[] | undefined) ?? []
  return all.filter(wanted).map((job) => ({
    word: job.id,
    meaning: `${job.state}: ${printable(commandLine(job.argv), MEANING_MAX)}`
  }))
}
