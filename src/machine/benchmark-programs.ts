/**
 * The four programs of the static score. Each has the character of one member of the paper's SPEC CPU2006 subset
 * (section IV.A.1: sjeng, gcc, libquantum, xalan), is written for this purpose, is deterministic and single-threaded,
 * and returns a checksum of everything that it computed. A round takes 8 to 20 ms on the reference machine.
 *
 * A change to what any program computes or how needs a new BENCHMARK_VERSION and new reference times.
 */

/** Scores of different versions don't compare. */
export const BENCHMARK_VERSION = 1

export interface BenchmarkProgram {
  name: string
  /** Its second round is as fast as any later one, so a few rounds make an estimate. */
  quick: boolean
  /** CPU time in ms of the best round on the reference machine: one core of an Intel Xeon (family 6, model 167) at 2.7 GHz, Node 24. */
  referenceMs: number
  /** What `round` must return. */
  checksum: number
  /** Runs the program once. */
  round(): number
}

/** CPU time in ms of a program's best round on some machine, > 0. */
export interface BenchmarkResult {
  name: string
  ms: number
}

const FNV_BASIS = 0x811c9dc5
const FNV_PRIME = 0x01000193

function mix(hash: number, value: number): number {
  return Math.imul(hash ^ value, FNV_PRIME) >>> 0
}

/** Numerical Recipes' linear congruential generator; only its upper bits are used. */
class Sequence {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** The next whole number in 0..bound-1, bound ≤ 65536. */
  below(bound: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
    return ((this.#state >>> 16) * bound) >>> 16
  }
}

// ---------------------------------------------------------------------------------- game-tree search (as sjeng)

const BOARD = 100 // 8 × 8 fields of Othello with a border of one field
const OUTSIDE = 3
const EMPTY = 0
const DIRECTIONS = [-11, -10, -9, -1, 1, 9, 10, 11]
const TABLE_SIZE = 1 << 15
const SEARCH_DEPTH = 8

/** Alpha-beta search of Othello with a transposition table and undo on one board. */
class GameTree {
  readonly #board = new Uint8Array(BOARD).fill(OUTSIDE)
  readonly #keys = new Int32Array(BOARD * 4)
  readonly #tableKeys = new Int32Array(TABLE_SIZE)
  readonly #tableValues = new Int32Array(TABLE_SIZE)
  readonly #weights = new Int32Array(BOARD)
  #hash = 0
  nodes = 0

  constructor() {
    const sequence = new Sequence(2010)
    for (let i = 0; i < this.#keys.length; i++) this.#keys[i] = (sequence.below(65536) << 16) | sequence.below(65536)
    for (let row = 1; row <= 8; row++) {
      for (let column = 1; column <= 8; column++) {
        const field = row * 10 + column
        this.#board[field] = EMPTY
        const edges = Number(row === 1 || row === 8) + Number(column === 1 || column === 8)
        this.#weights[field] = edges === 2 ? 30 : edges === 1 ? 4 : 1
      }
    }
    for (const [field, colour] of [
      [44, 2],
      [55, 2],
      [45, 1],
      [54, 1]
    ] as const)
      this.#set(field, colour)
  }

  #set(field: number, colour: number): void {
    const before = this.#board[field]!
    this.#hash ^= this.#keys[field * 4 + before]! ^ this.#keys[field * 4 + colour]!
    this.#board[field] = colour
  }

  /** Turns what a stone of `colour` on `field` turns; the turned fields are appended to `turned`. */
  #turn(field: number, colour: number, turned: number[]): number {
    const board = this.#board
    const before = turned.length
    for (let d = 0; d < 8; d++) {
      const step = DIRECTIONS[d]!
      let at = field + step
      while (board[at] === 3 - colour) at += step
      if (board[at] !== colour) continue
      for (at -= step; at !== field; at -= step) turned.push(at)
    }
    for (let i = before; i < turned.length; i++) this.#set(turned[i]!, colour)
    return turned.length - before
  }

  #evaluate(colour: number): number {
    let value = 0
    for (let field = 11; field <= 88; field++) {
      const stone = this.#board[field]!
      if (stone === colour) value += this.#weights[field]!
      else if (stone === 3 - colour) value -= this.#weights[field]!
    }
    return value
  }

  search(depth: number, alpha: number, beta: number, colour: number, passed: boolean): number {
    this.nodes++
    if (depth === 0) return this.#evaluate(colour)
    const slot = (this.#hash ^ Math.imul(depth * 2 + colour, 0x9e3779b1)) & (TABLE_SIZE - 1)
    const key = this.#hash ^ (depth << 8) ^ colour
    if (this.#tableKeys[slot] === key) return this.#tableValues[slot]!
    let best = -1_000_000
    const turned: number[] = []
    for (let field = 11; field <= 88 && best < beta; field++) {
      if (this.#board[field] !== EMPTY) continue
      turned.length = 0
      if (this.#turn(field, colour, turned) === 0) continue
      this.#set(field, colour)
      const value = -this.search(depth - 1, -beta, -Math.max(alpha, best), 3 - colour, false)
      this.#set(field, EMPTY)
      for (const back of turned) this.#set(back, 3 - colour)
      if (value > best) best = value
    }
    if (best === -1_000_000)
      best = passed ? this.#evaluate(colour) * 100 : -this.search(depth - 1, -beta, -alpha, 3 - colour, true)
    this.#tableKeys[slot] = key
    this.#tableValues[slot] = best
    return best
  }
}

function gameTreeRound(): number {
  const tree = new GameTree()
  const value = tree.search(SEARCH_DEPTH, -1_000_000, 1_000_000, 1, false)
  return mix(mix(FNV_BASIS, value & 0xffff), tree.nodes)
}

// --------------------------------------------------------------------------------------- compiler pass (as gcc)

type Token = { kind: 'name' | 'number' | 'sign'; text: string }
type Expression =
  | { kind: 'constant'; value: number }
  | { kind: 'variable'; name: string }
  | { kind: 'operation'; sign: string; left: Expression; right: Expression }
type Statement = { target: string; value: Expression }

const BINDING: Record<string, number> = { '|': 1, '^': 2, '&': 3, '+': 4, '-': 4, '*': 5 }
const SIGNS = Object.keys(BINDING)
const STATEMENTS = 2000

function writeExpression(sequence: Sequence, depth: number, statement: number): string {
  const choice = sequence.below(10)
  if (depth === 0 || choice < 2) {
    if (choice % 2 === 0 || statement === 0) return String(sequence.below(1000))
    return `v${sequence.below(Math.min(statement, 40))}`
  }
  const left = writeExpression(sequence, depth - 1, statement)
  const right = writeExpression(sequence, depth - 1, statement)
  const sign = SIGNS[sequence.below(SIGNS.length)]!
  return choice < 6 ? `(${left} ${sign} ${right})` : `${left} ${sign} ${right}`
}

function writeSource(): string {
  const sequence = new Sequence(1970)
  let source = ''
  for (let i = 0; i < STATEMENTS; i++) source += `v${i % 40} = ${writeExpression(sequence, 5, i)};\n`
  return source
}

function isNameCharacter(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 48 && code <= 57)
}

function tokenise(source: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  while (at < source.length) {
    const code = source.charCodeAt(at)
    const start = at
    if (code <= 32) at++
    else if (code >= 48 && code <= 57) {
      while (source.charCodeAt(at) >= 48 && source.charCodeAt(at) <= 57) at++
      tokens.push({ kind: 'number', text: source.slice(start, at) })
    } else if (code >= 97 && code <= 122) {
      while (isNameCharacter(source.charCodeAt(at))) at++
      tokens.push({ kind: 'name', text: source.slice(start, at) })
    } else tokens.push({ kind: 'sign', text: source.charAt(at++) })
  }
  return tokens
}

/** Precedence climbing over the tokens. */
class Parser {
  readonly #tokens: Token[]
  #at = 0

  constructor(tokens: Token[]) {
    this.#tokens = tokens
  }

  program(): Statement[] {
    const statements: Statement[] = []
    while (this.#at < this.#tokens.length) {
      const target = this.#tokens[this.#at]!.text
      this.#at += 2
      statements.push({ target, value: this.#expression(0) })
      this.#at++
    }
    return statements
  }

  #expression(least: number): Expression {
    let left = this.#primary()
    for (;;) {
      const sign = this.#tokens[this.#at]!.text
      const binding = BINDING[sign]
      if (binding === undefined || binding <= least) return left
      this.#at++
      left = { kind: 'operation', sign, left, right: this.#expression(binding) }
    }
  }

  #primary(): Expression {
    const token = this.#tokens[this.#at++]!
    if (token.kind === 'number') return { kind: 'constant', value: Number(token.text) }
    if (token.kind === 'name') return { kind: 'variable', name: token.text }
    const inner = this.#expression(0)
    this.#at++
    return inner
  }
}

function compute(sign: string, left: number, right: number): number {
  switch (sign) {
    case '+':
      return (left + right) | 0
    case '-':
      return (left - right) | 0
    case '*':
      return Math.imul(left, right)
    case '&':
      return left & right
    case '|':
      return left | right
    default:
      return left ^ right
  }
}

/** Value numbering with constant folding and propagation: every distinct value is computed once. */
class Optimiser {
  readonly #numbers = new Map<string, number>()
  readonly #constants = new Map<number, number>()
  readonly #variables = new Map<string, number>()
  readonly code: string[] = []

  statement({ target, value }: Statement): void {
    this.#variables.set(target, this.#number(value))
  }

  #number(expression: Expression): number {
    if (expression.kind === 'constant') return this.#constant(expression.value)
    if (expression.kind === 'variable') return this.#variables.get(expression.name) ?? this.#value(expression.name)
    let left = this.#number(expression.left)
    let right = this.#number(expression.right)
    const { sign } = expression
    const leftValue = this.#constants.get(left)
    const rightValue = this.#constants.get(right)
    if (leftValue !== undefined && rightValue !== undefined) return this.#constant(compute(sign, leftValue, rightValue))
    if (rightValue === 0 && sign !== '*' && sign !== '&') return left
    if (rightValue === 1 && sign === '*') return left
    if (left === right && (sign === '-' || sign === '^')) return this.#constant(0)
    if (sign !== '-' && left > right) [left, right] = [right, left]
    return this.#value(`${left}${sign}${right}`)
  }

  #constant(value: number): number {
    const number = this.#value(`#${value}`)
    this.#constants.set(number, value)
    return number
  }

  #value(key: string): number {
    let number = this.#numbers.get(key)
    if (number === undefined) {
      number = this.#numbers.size
      this.#numbers.set(key, number)
      this.code.push(key)
    }
    return number
  }
}

const source = writeSource()

function compilerRound(): number {
  const optimiser = new Optimiser()
  for (const statement of new Parser(tokenise(source)).program()) optimiser.statement(statement)
  let hash = FNV_BASIS
  for (const line of optimiser.code) {
    for (let i = 0; i < line.length; i++) hash = mix(hash, line.charCodeAt(i))
  }
  return mix(hash, optimiser.code.length)
}

// ------------------------------------------------------------------------------ bit-vector kernel (as libquantum)

const QUBITS = 22
let register: Uint32Array | undefined

/** Applies reversible gates (NOT, CNOT, Toffoli) to every basis state of a register: 16 MiB, read and written by each gate. */
function bitVectorRound(): number {
  register ??= new Uint32Array(1 << QUBITS)
  const states = register
  for (let i = 0; i < states.length; i++) states[i] = i
  const sequence = new Sequence(1994)
  for (let gate = 0; gate < 4; gate++) {
    const first = 1 << sequence.below(QUBITS)
    const controls = first | (1 << sequence.below(QUBITS))
    let target = 1 << sequence.below(QUBITS)
    while ((target & controls) !== 0) target = 1 << sequence.below(QUBITS)
    for (let i = 0; i < states.length; i++) {
      const state = states[i]!
      if ((state & controls) === controls) states[i] = state ^ target
    }
  }
  let hash = FNV_BASIS
  for (let i = 0; i < states.length; i += 61) hash = mix(hash, states[i]!)
  return hash
}

// ------------------------------------------------------------------------------- tree transformation (as xalan)

interface Element {
  name: string
  attributes: Map<string, string>
  children: (Element | string)[]
}

const ELEMENTS = 20_000
const NAMES = ['book', 'chapter', 'section', 'para', 'list', 'item', 'note', 'link']

function growTree(): Element {
  const sequence = new Sequence(1999)
  const root: Element = { name: 'library', attributes: new Map(), children: [] }
  const open: Element[] = [root]
  for (let i = 0; i < ELEMENTS; i++) {
    const parent = open[sequence.below(open.length)]!
    const name = NAMES[sequence.below(NAMES.length)]!
    const attributes = new Map([
      ['id', `n${i}`],
      ['rank', String(sequence.below(500))]
    ])
    const element: Element = { name, attributes, children: [`text ${sequence.below(1000)} & more`] }
    parent.children.push(element)
    open.push(element)
  }
  return root
}

/** The rules of the transformation: what becomes of an element, given its children already transformed. */
const RULES: Record<string, (element: Element, children: (Element | string)[]) => Element | string> = {
  link: (element, children) => ({
    name: 'a',
    attributes: new Map([['href', `#${element.attributes.get('id')}`]]),
    children
  }),
  note: (element, children) => ({
    name: 'aside',
    attributes: new Map([['class', 'note'], ...element.attributes]),
    children
  }),
  list: (element, children) => ({ name: 'ol', attributes: element.attributes, children: sortByRank(children) }),
  chapter: (element, children) => ({
    name: 'div',
    attributes: new Map([['depth', String(countElements(children))]]),
    children: [{ name: 'h1', attributes: new Map(), children: [element.attributes.get('id') ?? ''] }, ...children]
  })
}

function rank(node: Element | string): number {
  return typeof node === 'string' ? -1 : Number(node.attributes.get('rank') ?? 0)
}

function sortByRank(nodes: (Element | string)[]): (Element | string)[] {
  return nodes.toSorted((a, b) => rank(a) - rank(b))
}

function countElements(nodes: (Element | string)[]): number {
  let count = 0
  for (const node of nodes) if (typeof node !== 'string') count += 1 + countElements(node.children)
  return count
}

function transform(node: Element | string): Element | string {
  if (typeof node === 'string') return node
  const children = node.children.map(transform)
  const rule = RULES[node.name]
  return rule === undefined ? { name: node.name, attributes: node.attributes, children } : rule(node, children)
}

function serialise(node: Element | string): string {
  if (typeof node === 'string') return node.replaceAll('&', '&amp;')
  let text = `<${node.name}`
  for (const [name, value] of node.attributes) text += ` ${name}="${value}"`
  text += '>'
  for (const child of node.children) text += serialise(child)
  return `${text}</${node.name}>`
}

function treeRound(): number {
  const text = serialise(transform(growTree()))
  let hash = FNV_BASIS
  for (let i = 0; i < text.length; i++) hash = mix(hash, text.charCodeAt(i))
  return hash
}

/** In the order of the paper's list. */
export const BENCHMARK_PROGRAMS: readonly BenchmarkProgram[] = [
  { name: 'game tree', quick: true, referenceMs: 8.4, checksum: 600721337, round: gameTreeRound },
  { name: 'compiler', quick: false, referenceMs: 13.5, checksum: 3249846386, round: compilerRound },
  { name: 'bit vector', quick: true, referenceMs: 16.6, checksum: 672841789, round: bitVectorRound },
  { name: 'tree', quick: false, referenceMs: 22.5, checksum: 650215133, round: treeRound }
]

/**
 * Speed relative to the reference machine, higher is faster: equations (1) and (2) of the paper with the ratio inverted,
 * so the mean of (reference time / time here) over the programs that were run. Results of unknown programs don't count.
 * NaN when nothing is left.
 */
export function speedOf(results: readonly BenchmarkResult[]): number {
  const ratios = BENCHMARK_PROGRAMS.flatMap(({ name, referenceMs }) => {
    const result = results.find((candidate) => candidate.name === name)
    return result !== undefined && result.ms > 0 ? [referenceMs / result.ms] : []
  })
  return ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length
}
