/**
 * Every line that people can meet, as the sources have it: what is interpolated is `…`. All strings that read as prose are
 * taken, but for what is declared here to be no message, so that no message escapes by the way it is made.
 */

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAst } from 'rolldown/parseAst'

const root = join(import.meta.dirname, '../..')

export interface Message {
  text: string
  /** File and line. */
  at: string
}

/** What is between two machines, or this program and the kernel, and malformed: told by its name, ProtocolError. */
const FORMATS = [
  'src/daemon/control-codec.ts',
  'src/execution/stage-codec.ts',
  'src/files/fuse/{codec,device,frame,mount,session}.ts',
  'src/files/target/{store-codec,wire}.ts',
  'src/machine/system-bus.ts',
  'src/network/frames.ts',
  'src/network/lean-noise.ts',
  'src/protocols/{doctor,exec,file,overlay,pair,relay,wake,withdraw}/codec.ts',
  'src/protocols/exec/{flow,link,recorded}.ts',
  'src/protocols/file/{bytes,channel}.ts',
  'src/protocols/overlay/link.ts'
]

/** What nobody who uses kappa meets as a message. */
const NO_MESSAGES = [
  // For developers, by programs of their own.
  'src/simulator/**',
  'src/machine/benchmark*.ts',
  'src/files/target/techniques.ts',
  // Pieces of what commands print when all is well.
  'src/cli/status.ts',
  'src/cli/why.ts',
  'src/cli/top/{frame,rows,state}.ts',
  'src/cli/each/progress.ts',
  // Findings with what is lost and what mends it: test/docs/doctor.test.ts looks for the checks.
  'src/cli/doctor/{report,seccomp}.ts',
  'src/daemon/doctor/{between,checks,mends}.ts',
  // What a page in the browser says besides.
  'src/page/**',
  // What figures mean to monitoring.
  'src/daemon/{exposition,metrics}.ts',
  // Tables of words, scripts for sh and awk.
  'src/core/command-key.ts',
  'src/cli/terminal.ts',
  'src/execution/{guest-group,homes-tree,mixed-tree,mounts,setup,status,tools}.ts',
  'src/machine/proc-parse.ts'
]

/** Their arguments are what commands print when all is well, what is logged below a warning, help, and what is hashed. */
const PRINTERS = new Set(['print', 'styled', 'table', 'info', 'debug', 'describe', 'update'])
/** Declarations of texts that are no messages. */
const DECLARATIONS = new Set(['HELP', 'help', 'description', 'VALUES', 'LIMITS', 'JOURNAL'])

type Node = { type: string; start: number } & Record<string, unknown>

export function messages(): Message[] {
  const excluded = new Set([...FORMATS, ...NO_MESSAGES].flatMap((pattern) => globSync(pattern, { cwd: root })))
  const typescript = globSync('src/**/*.ts', { cwd: root }).filter((file) => !excluded.has(file))
  return [...typescript.sort().flatMap(ofTypeScript), ...globSync('src/**/*.c', { cwd: root }).sort().flatMap(ofC)]
}

/** Patterns of those lists that name no file any more. */
export function forgotten(): string[] {
  return [...FORMATS, ...NO_MESSAGES].filter((pattern) => globSync(pattern, { cwd: root }).length === 0)
}

function ofTypeScript(file: string): Message[] {
  const code = readFileSync(join(root, file), 'utf8')
  const found: Message[] = []
  const add = (node: Node, text: string, always: boolean) => {
    if (isProse(text, always)) found.push({ text, at: `${file}:${code.slice(0, node.start).split('\n').length}` })
  }
  visit(parseAst(code, { lang: 'ts' }, file) as unknown as Node, add)
  return found
}

function visit(node: unknown, add: (node: Node, text: string, always: boolean) => void, always = false): void {
  if (Array.isArray(node)) for (const each of node) visit(each, add)
  else if (isNode(node) && !isNoMessage(node)) {
    const text = textOf(node)
    if (text !== undefined) add(node, text, always)
    const error = node.type === 'NewExpression' && nameOf(node.callee) === 'KappaError'
    if (error && (node.arguments as Node[])[0]?.value === 'ProtocolError') return
    for (const [key, child] of Object.entries(node)) {
      if (key === 'arguments' && PRINTERS.has(nameOf(node.callee) ?? '')) continue
      // The parts of a concatenation are one text; what is interpolated in it may hold others.
      if (text !== undefined && node.type === 'BinaryExpression') for (const part of holesOf(node)) visit(part, add)
      else if (key === 'arguments' && error)
        for (const each of child as Node[]) visit(each, add, each.value === undefined)
      else visit(child, add)
    }
  }
}

function isNode(node: unknown): node is Node {
  return typeof node === 'object' && node !== null && typeof (node as Node).type === 'string'
}

function isNoMessage(node: Node): boolean {
  const { type } = node
  if (type === 'ImportDeclaration' || type.startsWith('TS')) return !/^TS(NonNull|As|Satisfies)/.test(type)
  if (type === 'VariableDeclarator') return DECLARATIONS.has(nameOf(node.id) ?? '')
  return type === 'Property' && DECLARATIONS.has(nameOf(node.key) ?? '')
}

function nameOf(node: unknown): string | undefined {
  if (!isNode(node)) return undefined
  if (node.type === 'Identifier' || node.type === 'PrivateIdentifier') return node.name as string
  return node.type === 'MemberExpression' ? nameOf(node.property) : undefined
}

/** A literal, a template or a concatenation with either in it. */
function textOf(node: Node): string | undefined {
  if (node.type === 'Literal') return typeof node.value === 'string' ? node.value : undefined
  if (node.type === 'TemplateLiteral') {
    const [quasis, holes] = [node.quasis as { value: { cooked: string } }[], node.expressions as Node[]]
    return quasis.map(({ value }, index) => value.cooked + (index < holes.length ? '…' : '')).join('')
  }
  if (node.type !== 'BinaryExpression' || node.operator !== '+') return undefined
  const [left, right] = [textOf(node.left as Node), textOf(node.right as Node)]
  return left === undefined && right === undefined ? undefined : (left ?? '…') + (right ?? '…')
}

function holesOf(node: Node): unknown[] {
  if (node.type === 'TemplateLiteral') return node.expressions as unknown[]
  if (node.type === 'BinaryExpression') return [node.left, node.right].flatMap((side) => holesOf(side as Node))
  return node.type === 'Literal' ? [] : [node]
}

/** Three words, one of which may be what is interpolated, on one line; two are enough `always`. */
function isProse(text: string, always = false): boolean {
  // Scripts and limits; what a value of the configuration must be is in its own reference.
  if (/[\n\x1b]|&&|^(Max|ulimit|#|must) /.test(text)) return false
  const words = text.match(/\p{L}[\p{L}'-]*/gu) ?? []
  if (always) return words.length >= 2
  return words.length >= 2 && text.trim().split(/\s+/).length >= 3 && /[a-z…] [a-z…]/.test(text)
}

/** Calls by which the native programs say something; what stands between their strings is `…`. */
const C_CALLS =
  /\b(?:say|fail|refuse|malformed|unknown_end|give_up|fputs|dprintf)\(((?:[^()"]|"(?:\\.|[^"\\])*"|\([^()]*\))*)\)/g

function ofC(file: string): Message[] {
  const code = readFileSync(join(root, file), 'utf8')
  return [...code.matchAll(C_CALLS)].flatMap((call) => {
    const strings = [...call[1]!.matchAll(/"((?:\\.|[^"\\])*)"|[^",\s][^",]*/g)].map(([all, literal]) =>
      literal === undefined
        ? /^(NULL|EXIT_\w+|STDERR_FILENO|STATUS|stderr|found|2)$/.test(all.trim())
          ? ''
          : '…'
        : literal
    )
    const text = strings
      .join('\0')
      .replaceAll(/(?<=\w)\0(?=\w)/g, ' ')
      .replaceAll(/\0|\\n/g, '')
      .replaceAll(/%[a-z.*]+/g, '…')
      .replaceAll(/…+/g, '…')
    return isProse(text) ? [{ text, at: `${file}:${code.slice(0, call.index).split('\n').length}` }] : []
  })
}
