/** Checks what source files import and use against the layers of the design. Works on text, so that it can be tested itself. */

/** Lowest first: a file may import its own layer and those below it. */
const LAYERS = [
  ['errors', 'printable', 'version'],
  ['core'],
  ['simulator'],
  ['machine'],
  ['network'],
  ['protocols'],
  ['files'],
  ['execution'],
  ['daemon'],
  ['cli', 'page'],
  ['library'],
  ['index']
]

/** What gives a clock, randomness, a timer, the outside world. */
const NOT_IN_CORE =
  /\bnode:|\b(?:Date|performance|crypto|setTimeout|setInterval|setImmediate|queueMicrotask|process|Buffer|globalThis|fetch|require|console)\b|\bMath\.random\b/g

/** Complaints about one file; `path` is relative to src, with forward slashes. */
export function layerViolations(path: string, source: string): string[] {
  const code = withoutComments(source)
  const layer = layerOf(path)
  if (layer < 0) return [`${path}: belongs to no layer`]
  const complaints: string[] = []
  for (const specifier of importsOf(code)) {
    const complaint = importComplaint(path, layer, specifier)
    if (complaint !== undefined) complaints.push(`${path}: ${complaint}`)
  }
  if (path.startsWith('core/')) {
    for (const [word] of code.matchAll(NOT_IN_CORE)) complaints.push(`${path}: core uses ${word}`)
  }
  return complaints
}

function importComplaint(path: string, layer: number, specifier: string): string | undefined {
  const inCore = path.startsWith('core/')
  if (!specifier.startsWith('.')) return inCore ? `core imports ${specifier}` : undefined
  const target = resolve(path, specifier)
  if (target === undefined) return `imports ${specifier}, which is outside src`
  if (inCore && !target.startsWith('core/') && target !== 'errors.ts') return `core imports ${target}`
  const below = layerOf(target)
  if (below < 0) return `imports ${target}, which belongs to no layer`
  return below > layer ? `imports ${target}, which is a layer above` : undefined
}

/** -1: in none. A file directly in src is a layer by its own name. */
function layerOf(path: string): number {
  const slash = path.indexOf('/')
  const name = slash < 0 ? path.replace(/\.ts$/, '') : path.slice(0, slash)
  return LAYERS.findIndex((names) => names.includes(name))
}

function importsOf(code: string): string[] {
  const pattern = /(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]+)['"]/g
  return [...code.matchAll(pattern)].map((match) => match[1]!)
}

function resolve(path: string, specifier: string): string | undefined {
  const parts = path.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') {
      if (parts.pop() === undefined) return undefined
    } else if (part !== '.') parts.push(part)
  }
  return parts.join('/')
}

/** Comments may name what code may not use; strings are kept, since they hold the imports. */
function withoutComments(source: string): string {
  const pattern = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g
  return source.replaceAll(pattern, (text) => (text.startsWith('/') ? ' ' : text))
}
