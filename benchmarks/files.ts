/** Jobs that see home's files: how fast are they, beside the same on the target itself, and by sshfs? */

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TECHNIQUES } from '../src/files/target/techniques.ts'
import { until } from '../test/end-to-end/peers.ts'
import { FilesHousehold, generatedSource, program, type Source, sourceOf } from './files-household.ts'
import { unavailable } from './household.ts'
import { type Benchmark, median, type Result, type Row, round } from './measure.ts'

const FUSE_AGENT = join(import.meta.dirname, 'fuse-agent.ts')
const FILES_AGENT = join(import.meta.dirname, 'files-agent.ts')
const RAW_STREAM = join(import.meta.dirname, 'raw-stream.ts')
const ROUND_TRIPS_MS = [0.25, 1]
const MIB = 256
const numbers = (text: string): number[] => text.trim().split('\n').map(Number)
const noNfs = (): string[] =>
  /\bnfs/.test(readFileSync('/proc/filesystems', 'latin1'))
    ? ['NFS is left out: its server is the whole kernel’s, not that of an emulated host']
    : ['this kernel has no NFS: left out']

async function using<T>(
  init: Parameters<typeof FilesHousehold.make>[0],
  work: (files: FilesHousehold) => Promise<T>
): Promise<T> {
  const files = await FilesHousehold.make(init)
  try {
    return await work(files)
  } finally {
    await files.close()
  }
}

// ------------------------------------------------------------------------------------------------------- operations

const OPERATIONS: [what: string, name: string, threads: number, count: number][] = [
  ['present', 'lstat of a file', 4, 200_000],
  ['absent', 'lstat of names that are not there', 4, 40_000],
  ['open-read-close', 'open, read, close', 1, 20_000],
  ['open-read-close', 'open, read, close', 4, 40_000]
]

async function operations(): Promise<Result> {
  const notes: string[] = []
  const rows: Row[] = []
  for (const roundTripMs of ROUND_TRIPS_MS) {
    await using({ roundTripMs }, async (files) => {
      files.write('file', Buffer.alloc(4096))
      const perSecond = async (run: (script: string) => Promise<string>, words: string) => {
        const { s, operations } = JSON.parse(await run(`exec ${process.execPath} ${FUSE_AGENT} . ${words}`))
        return operations / s
      }
      for (const [what, name, threads, count] of OPERATIONS) {
        const words = `${what} ${threads} ${count}`
        const values: number[][] = [[], []]
        for (let i = 0; i < 3; i++) {
          values[0]!.push(await perSecond((script) => files.job(script), words))
          values[1]!.push(await perSecond((script) => files.native(script), words))
        }
        const [there, native] = values.map(median) as [number, number]
        rows.push({
          what: `${name}, ${threads} at a time, ${roundTripMs} ms`,
          values: { 'a second': round(there), native: round(native) }
        })
      }
      notes.push(...files.notes)
    })
  }
  notes.push('bar: 40,000 a second of what is at hand there; each name that is not there is a request of the kernel')
  return { question: 'Jobs that see home’s files: operations', rows, notes: [...new Set(notes)] }
}

// ------------------------------------------------------------------------------------------------------------ bytes

/** MiB/s of one stream between two nodes on the same hosts. */
async function rawStream({ household: { lan } }: FilesHousehold): Promise<number> {
  const listener = lan.spawn(0, [process.execPath, RAW_STREAM, 'listen', `/ip4/${lan.address(0)}/tcp/0`])
  let said = ''
  listener.stdout!.on('data', (text) => (said += text))
  const [peer, address] = (await until('a node listens', () => said.includes('\n') && said)).trim().split(' ')
  const send = [process.execPath, RAW_STREAM, 'send', peer!, address!, String(MIB)]
  const { stdout, stderr } = await lan.run(1, send, { timeoutMs: 120_000 })
  listener.stdin!.end()
  if (stdout === '') throw new Error(stderr)
  return MIB / Number(stdout)
}

const BYTES: Record<string, (round: number) => string> = {
  'read, sequentially, for the first time': (round) => `us dd if=big${round} of=/dev/null bs=1M`,
  'read, sequentially, again': (round) => `us dd if=big${round} of=/dev/null bs=1M`,
  'write, sequentially': () => `us dd if=/dev/zero of=written bs=1M count=${MIB}`
}

async function bytesAt(roundTripMs: number, rateMbit: number | undefined): Promise<[Row[], string[]]> {
  return using({ roundTripMs, ...(rateMbit === undefined ? {} : { rateMbit }) }, async (files) => {
    const rounds = rateMbit === undefined ? 3 : 2
    const at = `${roundTripMs} ms, ${rateMbit ? `${rateMbit} Mbit/s` : 'no limit'}`
    for (let round = 0; round < rounds; round++) {
      for (const host of [0, 1])
        execFileSync('dd', ['if=/dev/urandom', `of=${files.at(host, `big${round}`)}`, 'bs=1M', `count=${MIB}`], {
          stdio: 'ignore'
        })
    }
    const hasSshfs = await files.mountSshfs()
    const raw: number[] = []
    const values: Record<string, Record<string, number[]>> = {}
    await files.job('true')
    for (let round = 0; round < rounds; round++) {
      raw.push(await rawStream(files))
      for (const [what, script] of Object.entries(BYTES)) {
        const take = async (column: string, run: Promise<string>) =>
          ((values[what] ??= {})[column] ??= []).push(MIB / (numbers(await run)[0]! / 1e6))
        await take('MiB/s', files.job(script(round)))
        await take('native', files.native(script(round)))
        if (hasSshfs) await take('sshfs', files.sshfs(script(round)))
      }
    }
    const rows: Row[] = [{ what: `a raw libp2p stream, ${at}`, values: { 'MiB/s': round(median(raw)) } }]
    for (const [what, columns] of Object.entries(values)) {
      const there = median(columns['MiB/s']!)
      const medians = Object.fromEntries(Object.entries(columns).map(([column, all]) => [column, round(median(all))]))
      rows.push({ what: `${what}, ${at}`, values: { ...medians, 'of the raw stream': round(there / median(raw)) } })
    }
    if (rateMbit === undefined) rows.push(...(await randomAt(files, hasSshfs, at)))
    return [rows, files.notes]
  })
}

async function randomAt(files: FilesHousehold, hasSshfs: boolean, at: string): Promise<Row[]> {
  const rows: Row[] = []
  for (const what of ['read', 'write']) {
    const script = (count: number) => `exec ${process.execPath} ${FILES_AGENT} big0 ${what} ${count}`
    // For the first time: it was changed at home.
    const changed = readFileSync(files.at(0, 'big0'))
    writeFileSync(files.at(0, 'big0'), changed)
    const values: Row['values'] = { '4 KiB at random, a second': round(numbers(await files.job(script(2000)))[0]!) }
    values['native, a second'] = round(numbers(await files.native(script(20_000)))[0]!)
    if (hasSshfs) values['sshfs, a second'] = round(numbers(await files.sshfs(script(500)))[0]!)
    rows.push({ what: `${what}, ${at}`, values })
  }
  return rows
}

async function bytes(): Promise<Result> {
  const all = [await bytesAt(0.25, undefined), await bytesAt(1, undefined), await bytesAt(1, 1000)]
  return {
    question: `Jobs that see home’s files: ${MIB} MiB read and written`,
    rows: all.flatMap(([rows]) => rows),
    notes: [
      'bars: read again 300 MiB/s; for the first time, and written, 0.6 of the raw stream, and 1 Gbit/s where that is the limit',
      ...new Set([...noNfs(), ...all.flatMap(([, notes]) => notes)])
    ]
  }
}

// ---------------------------------------------------------------------------------------------------------- compile

const COMPILE = 'gcc -O1 -c one.c -o one.o'
const WARM = 9

async function compile(): Promise<Result> {
  const rows: Row[] = []
  const notes: string[] = []
  for (const roundTripMs of ROUND_TRIPS_MS) {
    await using({ roundTripMs, isBound: true }, async (files) => {
      files.write('one.c', program(1))
      files.write('shared.h', '')
      const hasSshfs = await files.mountSshfs()
      const warm = `${`us ${COMPILE};`.repeat(WARM)}`
      const cold: number[] = []
      const kept: number[] = []
      for (let i = 0; i < 3; i++) {
        await files.forget()
        await files.job('true')
        cold.push(...numbers(await files.job(`us ${COMPILE}`)))
        await files.restart()
        await files.job('true')
        kept.push(...numbers(await files.job(`us ${COMPILE}`)))
      }
      const [there, native]: [number[], number[]] = [[], []]
      for (let i = 0; i < 3; i++) {
        there.push(...numbers(await files.job(`${COMPILE};${warm}`)))
        native.push(...numbers(await files.native(`${COMPILE};${warm}`)))
      }
      const [, asked] = await files.counted(COMPILE)
      const [, none] = await files.counted('true')
      const s = (us: number[]) => round(median(us) / 1e6)
      const base = median(native)
      const row = (what: string, us: number[]) =>
        rows.push({ what: `${what}, ${roundTripMs} ms`, values: { s: s(us), 'of native': round(median(us) / base) } })
      row('cold', cold)
      row('cold, but for what the target’s disk keeps', kept)
      row('warm', there)
      row('native', native)
      if (hasSshfs) row('sources by sshfs, warm', numbers(await files.sshfs(`${COMPILE};${warm}`)))
      notes.push(`warm, ${roundTripMs} ms: the kernel asks ${asked.kernel}; home is asked ${asked.home || 'nothing'}`)
      notes.push(`a job that does nothing, ${roundTripMs} ms: the kernel asks ${none.kernel}`)
      notes.push(...files.notes)
    })
  }
  notes.push('bars at 1 ms: cold 0.45 s; warm 1.1 of native')
  notes.push('home and target have a CPU each; native on the target')
  return { question: 'Jobs that see home’s files: gcc -c', rows, notes: [...new Set([...notes, ...noNfs()])] }
}

// ----------------------------------------------------------------------------------------------------------- builds

interface Built {
  s: number
  homeMs: number
  targetMs: number
}

async function built(files: FilesHousehold, source: Source, run: (script: string) => Promise<string>): Promise<Built> {
  await run(`cd ${source.name.replaceAll(' ', '-')} && ${source.clean} >/dev/null 2>&1 || :`)
  const { result, homeMs, targetMs } = await files.cpu(() =>
    run(`cd ${source.name.replaceAll(' ', '-')} && us ${source.build}`)
  )
  return { s: numbers(result)[0]! / 1e6, homeMs, targetMs }
}

function place(files: FilesHousehold, source: Source): void {
  files.copy(source.directory, source.name.replaceAll(' ', '-'))
}

async function builds(): Promise<Result> {
  const rows: Row[] = []
  const notes: string[] = []
  const source = sourceOf('zstd')
  await using({ roundTripMs: 1, isBound: true }, async (files) => {
    place(files, source)
    const job = (script: string) => files.job(script)
    const native = (script: string) => files.native(script)
    await built(files, source, native)
    const all: Record<string, Built[]> = { native: [], cold: [], warm: [] }
    for (let i = 0; i < 2; i++) {
      all.native!.push(await built(files, source, native))
      await files.job(`cd ${source.name.replaceAll(' ', '-')} && ${source.clean} >/dev/null 2>&1 || :`)
      await files.forget()
      await files.job('true')
      all.cold!.push(await built(files, source, job))
      all.warm!.push(await built(files, source, job))
    }
    const middle = (what: string, of: keyof Built) => median(all[what]!.map((one) => one[of]))
    for (const what of ['cold', 'warm', 'native']) {
      rows.push({
        what,
        values: {
          s: round(middle(what, 's')),
          'of native': round(middle(what, 's') / middle('native', 's')),
          'CPU s at home': round(middle(what, 'homeMs') / 1000),
          'CPU s at the target': round(middle(what, 'targetMs') / 1000)
        }
      })
    }
    const directory = source.name.replaceAll(' ', '-')
    await files.job(`cd ${directory} && ${source.clean} >/dev/null 2>&1 || :`)
    const [, asked] = await files.counted(`cd ${directory} && ${source.build} >/dev/null 2>&1`)
    notes.push(`warm: the kernel asks ${asked.kernel}`, `warm: home is asked ${asked.home}`, ...files.notes)
  })
  notes.push('bars: cold 1.7 of native, warm 1.2; home and target have a CPU each, native on the target')
  return { question: `Jobs that see home’s files: ${source.name}, ${source.build}, 1 ms`, rows, notes }
}

// ------------------------------------------------------------------------------------------------------ directories

const TREE_FILES = 10_000
const ENTRIES = 200_000

async function directories(): Promise<Result> {
  const rows: Row[] = []
  const notes: string[] = []
  await using({ roundTripMs: 1 }, async (files) => {
    for (const host of [0, 1]) {
      execFileSync('git', ['init', '-q', files.at(host, 'tree')])
      for (let i = 0; i < TREE_FILES; i++) {
        if (i % 100 === 0) mkdirSync(files.at(host, `tree/d${i / 100}`))
        writeFileSync(files.at(host, `tree/d${Math.floor(i / 100)}/f${i}`), `${i}\n`)
      }
      const git = ['-C', files.at(host, 'tree'), '-c', 'user.name=k', '-c', 'user.email=k@k']
      execFileSync('git', [...git, 'add', '.'])
      execFileSync('git', [...git, 'commit', '-qm', 'all'])
      mkdirSync(files.at(host, 'large'))
      for (let i = 0; i < ENTRIES; i++) writeFileSync(files.at(host, `large/entry-${i}`), '')
    }
    const hasSshfs = await files.mountSshfs()
    // Git trusts no directory of others; and the index must stay home's, whoever asks.
    const status = `env HOME=/tmp git -C tree -c safe.directory='*' --no-optional-locks status --porcelain`
    const scripts: Record<string, [cold: boolean, script: string]> = {
      [`git status of ${TREE_FILES} files, cold`]: [true, `us ${status}`],
      [`git status of ${TREE_FILES} files, again`]: [false, `us ${status}`],
      [`stat of one of ${ENTRIES} entries, cold`]: [true, 'us stat large/entry-77'],
      'stat of 100 others, one by one': [false, "us sh -c 'for i in $(seq 100 199); do test -e large/entry-$i; done'"],
      [`ls of ${ENTRIES} entries, cold`]: [true, 'us ls -f large'],
      [`ls of ${ENTRIES} entries, again`]: [false, 'us ls -f large'],
      [`ls -l of ${ENTRIES} entries`]: [false, 'us ls -lU large'],
      [`making a file among ${ENTRIES}, cold`]: [true, 'us touch large/new']
    }
    for (const [what, [isCold, script]] of Object.entries(scripts)) {
      if (isCold) {
        await files.forget()
        await files.job('stat . >/dev/null; git --version >/dev/null; ls / >/dev/null; touch t')
      }
      const values: Row['values'] = { s: round(numbers(await files.job(script))[0]! / 1e6) }
      await files.native(script)
      values['native s'] = round(numbers(await files.native(script))[0]! / 1e6)
      if (hasSshfs && !what.includes('ls -l')) values['sshfs s'] = round(numbers(await files.sshfs(script))[0]! / 1e6)
      const peaks = files.peaks()
      values['peak MiB: server'] = round(peaks.server)
      values['target’s daemon'] = round(peaks.target)
      values['home’s'] = round(peaks.home)
      rows.push({ what, values })
    }
    notes.push(...files.notes)
  })
  return { question: 'Jobs that see home’s files: large directories, 1 ms', rows, notes: [...notes, ...noNfs()] }
}

// ----------------------------------------------------------------------------------------------------------- memory

async function memory(): Promise<Result> {
  const source = sourceOf('redis')
  return using({ roundTripMs: 1 }, async (files) => {
    place(files, source)
    await files.job('true')
    const before = files.peaks()
    await built(files, source, (script) => files.job(script))
    const { home, target, server } = files.peaks()
    return {
      question: `Jobs that see home’s files: highest resident memory, ${source.name}, ${source.build}`,
      rows: [
        { what: 'target’s daemon', values: { MiB: round(target), before: round(before.target), bar: '' } },
        { what: 'process that serves the tree', values: { MiB: round(server), before: round(before.server), bar: '' } },
        {
          what: 'both',
          values: { MiB: round(target + server), before: round(before.target + before.server), bar: 350 }
        },
        { what: 'home’s daemon', values: { MiB: round(home), before: round(before.home), bar: 200 } }
      ],
      notes: files.notes
    }
  })
}

// ------------------------------------------------------------------------------------------------------- techniques

async function techniques(): Promise<Result> {
  const source = generatedSource()
  const rows: Row[] = []
  return using({ roundTripMs: 1, isBound: true }, async (files) => {
    files.write('one.c', program(1))
    files.write('shared.h', '')
    place(files, source)
    for (const left of [undefined, ...Object.keys(TECHNIQUES)]) {
      const one: Record<string, number[]> = { cold: [], warm: [], build: [], again: [] }
      for (let i = 0; i < 2; i++) {
        await files.forget(left === undefined ? {} : { KAPPA_FILES_WITHOUT: left })
        await files.job('true')
        one.cold!.push(...numbers(await files.job(`us ${COMPILE}`)))
        one.warm!.push(...numbers(await files.job(`us ${COMPILE}; us ${COMPILE}; us ${COMPILE}`)).slice(1))
        await files.forget(left === undefined ? {} : { KAPPA_FILES_WITHOUT: left })
        await files.job('true')
        one.build!.push((await built(files, source, (script) => files.job(script))).s * 1e6)
        one.again!.push((await built(files, source, (script) => files.job(script))).s * 1e6)
      }
      const s = (name: string) => round(median(one[name]!) / 1e6)
      rows.push({
        what: left === undefined ? 'all' : `without ${left}`,
        values: {
          'gcc -c cold, s': s('cold'),
          'warm, s': s('warm'),
          'build cold, s': s('build'),
          'build warm, s': s('again')
        }
      })
    }
    const native: number[] = []
    for (let i = 0; i < 3; i++) native.push((await built(files, source, (script) => files.native(script))).s)
    rows.push({ what: 'native', values: { 'build warm, s': round(median(native)) } })
    const notes = Object.entries(TECHNIQUES).map(([name, what]) => `${name}: ${what}`)
    return {
      question: `Jobs that see home’s files: what each technique brings, ${source.name}, 1 ms`,
      rows,
      notes: [...notes, ...files.notes]
    }
  })
}

export const benchmarks: Record<string, Benchmark> = {
  operations: { question: 'Jobs that see home’s files: operations', unavailable, run: operations },
  bytes: { question: 'Jobs that see home’s files: bytes', unavailable, run: bytes },
  compile: { question: 'Jobs that see home’s files: gcc -c', unavailable, run: compile },
  builds: { question: 'Jobs that see home’s files: builds', unavailable, run: builds },
  directories: { question: 'Jobs that see home’s files: directories', unavailable, run: directories },
  memory: { question: 'Jobs that see home’s files: memory', unavailable, run: memory },
  techniques: { question: 'Jobs that see home’s files: techniques', unavailable, run: techniques }
}
