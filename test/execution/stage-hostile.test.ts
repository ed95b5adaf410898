import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { ENTRY, type Entry, encodeEntry, MAGIC } from '../../src/execution/stage-codec.ts'
import { receiveOuts, unpackIns } from '../../src/execution/staging.ts'
import { place } from './executing.ts'
import { listing } from './staging.ts'

type Part = Partial<Entry> & { content?: string }

async function* stream(parts: readonly Part[], end = parts.length): AsyncGenerator<Uint8Array> {
  yield MAGIC
  for (const { type = ENTRY.file, path = 'out', mode = 0o644, mtimeNs = 0n, content = '', size } of parts) {
    yield encodeEntry({ type, path, mode, mtimeNs, size: size ?? content.length })
    yield Buffer.from(content, 'latin1')
  }
  yield encodeEntry({ type: ENTRY.end, path: '', mode: 0, mtimeNs: 0n, size: end })
}

const { directory, link } = ENTRY

t.test('what a hostile target sends never gets out of the named outs', async (t) => {
  const outside = place(t)
  const streams: Record<string, Part[]> = {
    above: [{ path: '../evil' }],
    'above, inside': [{ path: 'out/../evil' }],
    absolute: [{ path: `${outside}/evil` }],
    'not asked for': [{ path: 'evil' }],
    beside: [{ path: 'out.evil' }],
    'an empty name': [{ path: '' }],
    'a dot': [{ path: 'out/./x' }],
    'a NUL': [{ path: 'out/a\0b' }],
    'a long name': [{ path: `out/${'x'.repeat(256)}` }],
    'a long path': [{ path: `out${'/x'.repeat(300)}` }],
    'through a link': [{ type: directory }, { type: link, path: 'out/l', content: outside }, { path: 'out/l/evil' }],
    'a link in place of the directory': [{ type: link, content: outside }, { path: 'out/evil' }],
    'a file under a file': [{}, { path: 'out/evil' }],
    twice: [{}, {}],
    'out of order': [{ path: 'out' }, { path: 'two' }, { path: 'out/x' }],
    'a long link': [{ type: link, content: 'x'.repeat(5000) }],
    'an empty link': [{ type: link }],
    'an unknown kind': [{ type: 9 as 1 }],
    'a directory with content': [{ type: directory, content: 'x' }],
    'an endless file': [{ size: Number.MAX_SAFE_INTEGER }],
    'a long problem': [{ type: ENTRY.problem, content: 'x'.repeat(5000) }]
  }
  for (const [name, parts] of Object.entries(streams)) {
    const to = place(t)
    const received = receiveOuts(stream(parts), { names: ['out', 'two'], directory: to, kind: 'own' })
    await t.rejects(received, { name: 'StagingError' }, name)
    t.same(listing(to), {}, `${name}: nothing is left`)
    t.same(listing(outside), {}, `${name}: nothing came out`)
  }
})

t.test('what a hostile home sends never gets out of the scratch directory', async (t) => {
  const outside = place(t)
  const streams: Part[][] = [
    [{ path: '../evil' }],
    [{ path: `${outside}/evil` }],
    [{ type: link, path: 'l', content: outside }, { path: 'l/evil' }],
    [
      { type: link, path: 'l', content: outside },
      { type: directory, path: 'l', mode: 0o777 }
    ],
    [
      { type: link, path: 'l', content: `${outside}/evil` },
      { path: 'l', content: 'x' }
    ]
  ]
  const before = listing(outside)
  for (const parts of streams) {
    await t.rejects(unpackIns(stream(parts), { directory: place(t), uid: 0, gid: 0 }), { name: 'StagingError' })
    t.same(listing(outside), before)
  }
})

t.test('setuid bits are dropped, what was there is never opened', async (t) => {
  const to = place(t)
  const outside = place(t)
  symlinkSync(`${outside}/evil`, `${to}/out`)
  const received = await receiveOuts(stream([{ mode: 0o6755, content: 'x' }]), {
    names: ['out'],
    directory: to,
    kind: 'own'
  })
  await received.commit()
  t.match(listing(to), { out: /^file 755 .*x$/ })
  t.notOk(existsSync(`${outside}/evil`))
})

t.test('truncated, miscounted and foreign streams are errors', async (t) => {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream([{ type: directory }, { path: 'out/file', content: 'content' }])) chunks.push(chunk)
  const whole = Buffer.concat(chunks)
  async function* of(bytes: Uint8Array) {
    yield bytes
  }
  for (let length = 0; length < whole.length; length++) {
    const to = place(t)
    const received = receiveOuts(of(whole.subarray(0, length)), { names: ['out'], directory: to, kind: 'own' })
    if (
      !(await received.then(
        () => false,
        (error) => error.name === 'StagingError'
      ))
    )
      t.fail(`cut after ${length} bytes`)
    if (Object.keys(listing(to)).length > 0) t.fail(`something is left after ${length} bytes`)
  }
  for (const end of [1, 3]) {
    const miscounted = stream([{ type: directory }, { path: 'out/file' }], end)
    await t.rejects(receiveOuts(miscounted, { names: ['out'], directory: place(t), kind: 'own' }), {
      name: 'StagingError'
    })
  }
  const missing = receiveOuts(stream([{}]), { names: ['out', 'two'], directory: place(t), kind: 'own' })
  await t.rejects(missing, { message: /not all outs/ })
})

t.test('no stream crashes, hangs or writes elsewhere', async (t) => {
  const outside = place(t)
  mkdirSync(`${outside}/home`)
  writeFileSync(`${outside}/witness`, 'here')
  const name = fc.constantFrom('out', 'a', 'b', '..', '.', '', 'l', '\0', 'out')
  const part = fc.record({
    type: fc.constantFrom(1, 2, 3, 4, 1, 2, 3),
    path: fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => ['out', ...parts.slice(1)].join('/')),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    content: fc.constantFrom('', 'x', '..', '../..', 'a', outside)
  }) as fc.Arbitrary<Part>
  let index = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { maxLength: 8 }),
      fc.uint8Array({ maxLength: 40 }),
      fc.nat(400),
      async (parts, noise, at) => {
        const to = `${outside}/home/${index++}`
        mkdirSync(to)
        const chunks: Uint8Array[] = []
        for await (const chunk of stream(parts)) chunks.push(chunk)
        const bytes = Buffer.concat(chunks)
        if (noise.length > 0) bytes.set(noise.subarray(0, Math.max(0, bytes.length - at)), Math.min(at, bytes.length))
        async function* source() {
          yield bytes
        }
        const received = await receiveOuts(source(), { names: ['out'], directory: to, kind: 'friend' }).catch(
          (error) => {
            if (error.name !== 'StagingError') throw error
          }
        )
        await received?.commit({ partly: true })
        for (const path of Object.keys(listing(to))) if (!/^out(\/|$)/.test(path)) throw new Error(`wrote ${path}`)
      }
    ),
    { numRuns: 300, seed: 20 }
  )
  t.same(
    Object.keys(listing(outside)).filter((path) => !path.startsWith('home')),
    ['witness']
  )
})
