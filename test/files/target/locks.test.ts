import { constants, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { needs } from '../../require.ts'
import { fuseUnavailable } from '../fuse/mounted.ts'
import { hasPython, Locker } from './locker.ts'
import { TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable() ?? (hasPython ? undefined : 'no python3')
const { O_RDONLY, O_RDWR } = constants

/** For all of this; the last test ends the first. */
const mounts = unavailable === undefined ? [await TreeMount.start(), await TreeMount.start()] : []
t.teardown(async () => {
  for (const mount of mounts) await mount[Symbol.asyncDispose]()
})

/** A file of home, and programs that have it open: at home, in one mount, in another, and one more in the first. */
async function place(t: Test, flags = O_RDWR) {
  const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-locks-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  writeFileSync(join(home, 'file'), 'text')
  for (const mount of mounts) await mount.settle()
  const [one, two] = mounts
  const lockers = [new Locker(home), new Locker(home, one), new Locker(home, two), new Locker(home, one)] as const
  for (const locker of lockers) t.equal(await locker.ask(`open f file ${flags}`), 'done')
  const dispose = async () => {
    for (const locker of lockers) await locker[Symbol.asyncDispose]()
  }
  return { home, lockers, [Symbol.asyncDispose]: dispose }
}

/** Until it is so; the test's own time limit ends what never is. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await pause(2)
}

t.test('ranges and whole files are locked towards every program, here and there', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using all = await place(t)
  for (const [index, locker] of all.lockers.entries()) {
    const others = all.lockers.filter((other) => other !== locker)
    t.equal(await locker.ask('lock f 10 20'), 'done', `range by ${index}`)
    for (const other of others) {
      t.equal(await other.ask('lock f 29 1'), 'EAGAIN')
      t.equal(await other.ask('shared f 0 0'), 'EAGAIN')
      t.equal(await other.ask('test f 0 100'), '1 10 20')
      t.equal(await other.ask('lock f 30 0'), 'done', 'behind it')
      t.equal(await other.ask('none f 0 0'), 'done')
    }
    t.equal(await locker.ask('shared f 10 10'), 'done', 'some of it is shared')
    t.equal(await others[0]!.ask('shared f 0 20'), 'done')
    t.equal(await others[0]!.ask('shared f 0 21'), 'EAGAIN')
    t.equal(await locker.ask('lock f 10 1'), 'EAGAIN')
    for (const one of all.lockers) await one.ask('none f 0 0')
    t.equal(await locker.ask('flock f'), 'done', `file by ${index}`)
    for (const other of others) {
      t.equal(await other.ask('flock f'), 'EAGAIN')
      t.equal(await other.ask('flock-shared f'), 'EAGAIN')
      t.equal(await other.ask('lock f 0 0'), 'done', 'the two kinds have nothing to do with each other')
      t.equal(await other.ask('none f 0 0'), 'done')
    }
    t.equal(await locker.ask('flock-none f'), 'done')
    for (const one of all.lockers) t.equal(await one.ask('flock-shared f'), 'done')
    for (const one of all.lockers) t.equal(await one.ask('flock-none f'), 'done')
  }
})

t.test('locks end with what holds them', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using all = await place(t)
  const [home, one, two, other] = all.lockers
  await one.ask('lock f 0 0')
  await one.ask('fork x')
  await one.ask(`open again file ${O_RDONLY}`)
  t.equal(await home.ask('lock f 0 1'), 'EAGAIN')
  await one.ask('close again')
  t.equal(await home.ask('lock f 0 1'), 'done', 'any descriptor closed ends what the process has of ranges')
  await home.ask('none f 0 0')

  await one.ask('lock f 5 5')
  await other.ask('lock f 15 5')
  await other.kill()
  t.equal(await home.ask('lock f 15 5'), 'done', 'a process that is killed')
  t.equal(await two.ask('lock f 5 5'), 'EAGAIN')

  t.equal(await one.ask('flock f'), 'done')
  await one.ask(`open again file ${O_RDONLY}`)
  await one.ask('close again')
  t.equal(await two.ask('flock f'), 'EAGAIN', 'another open file has nothing to do with it')
  await one.kill()
  await until(async () => (await two.ask('flock f')) === 'done')
  t.equal(await home.ask('lock f 5 5'), 'done', 'nothing of it is left')
})

t.test('files that are only read', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using all = await place(t, O_RDONLY)
  const [home, one, two, other] = all.lockers
  for (const locker of [one, home, two]) {
    t.equal(await locker.ask('lock f 0 1'), 'EBADF')
    t.equal(await locker.ask('flock f'), 'done')
    for (const each of all.lockers) if (each !== locker) t.equal(await each.ask('flock f'), 'EAGAIN')
    t.equal(await locker.ask('flock-none f'), 'done')
  }
  for (const locker of all.lockers) t.equal(await locker.ask('shared f 0 0'), 'done')
  t.equal(await home.ask(`open w file ${O_RDWR}`), 'done')
  t.equal(await home.ask('lock w 0 0'), 'EAGAIN')
  for (const locker of [one, two, other]) t.equal(await locker.ask('none f 0 0'), 'done')
  t.equal(await home.ask('lock w 0 0'), 'done')
})

t.test('a lock is waited for, in any of these places, until it comes or the program is ended', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using all = await place(t)
  const [home, one, two, other] = all.lockers
  const { ino: inode } = statSync(join(all.home, 'file'))
  for (const [take, wait, free, isLast] of [
    ['lock f 0 0', 'wait f 0 0', 'none f 0 0', false],
    ['flock f', 'flock-wait f', 'flock-none f', true]
  ] as const) {
    t.equal(await home.ask(take), 'done')
    const waiting = [one, two].map((locker) => locker.ask(wait).then(() => locker.ask(free)))
    const third = other.ask(wait)
    const isIt = (line: string) => line.includes('->') && line.includes(`:${inode} `)
    const waitingAtHome = () => readFileSync('/proc/locks', 'latin1').split('\n').filter(isIt).length
    await until(async () => waitingAtHome() === 3)
    if (isLast) {
      await other.kill('SIGTERM')
      t.equal(await third, 'ended')
      await until(async () => waitingAtHome() === 2)
    } else waiting.push(third.then(() => other.ask(free)))
    t.equal(await home.ask(free), 'done')
    t.same(new Set(await Promise.all(waiting)), new Set(['done']))
    t.equal(await home.ask(take), 'done', 'nobody has it')
    await home.ask(free)
  }
})

t.test('whoever has a lock sees what others wrote before, of the same length too', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using all = await place(t)
  let last = 'text'
  for (let round = 0; round < 30; round++) {
    const locker = all.lockers[(round * 7) % 4]!
    t.equal(await locker.ask('lock f 0 0'), 'done')
    t.equal(await locker.ask('read f 0 4'), last)
    last = `a${100 + round}`
    await locker.ask(`write f 0 ${last}`)
    t.equal(await locker.ask('none f 0 0'), 'done')
  }
})

t.test('a lock asks home once, its end once more; what is not locked, not at all', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using all = await place(t)
  const mount = mounts[0]!
  const [, one] = all.lockers
  const requests = async (commands: readonly string[]): Promise<number> => {
    const before = mount.requests
    for (const command of commands) t.equal(await one.ask(command), command.startsWith('test') ? 'free' : 'done')
    return mount.requests - before
  }
  t.equal(await requests(['lock f 0 1', 'none f 0 1', 'shared f 0 1', 'lock f 0 1', 'test f 0 9']), 5)
  t.equal(await requests(['none f 0 0', 'none f 0 0']), 1, 'what is not locked')
  t.equal(await requests(['flock f', 'flock-none f']), 2)
})

t.test('when the tree ends, so do its locks, those too that are waited for', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using all = await place(t)
  const [home, one, two, other] = all.lockers
  t.equal(await one.ask('lock f 0 10'), 'done')
  t.equal(await one.ask('flock f'), 'done')
  t.equal(await two.ask('lock f 20 10'), 'done')
  const waiting = other.ask('wait f 20 10')
  mounts[0]?.cut()
  t.not(await waiting, 'done')
  const gone = home.ask('wait f 0 10')
  t.equal(await gone, 'done')
  t.equal(await home.ask('flock-wait f'), 'done')
  t.equal(await home.ask('lock f 20 10'), 'EAGAIN', "the other tree's")
  t.equal(await two.ask('none f 0 0'), 'done')
  t.equal(await home.ask('lock f 20 10'), 'done')
})
