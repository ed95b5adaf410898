/** A job that sees home's files: as if it ran here, on a machine that has none of them. */

import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readStat, treeOf } from '../../src/execution/process.ts'
import { isWritable, needs } from '../require.ts'
import { type Ended, jobProcesses, longJob, pair, TestPeer, until } from './peers.ts'

const [home, mine, friends] = await Promise.all([
  TestPeer.start(t, { name: 'home' }),
  TestPeer.start(t, { name: 'mine' }),
  TestPeer.start(t, { name: 'friends' })
])
await pair(mine, home)
await pair(friends, home, 'friend')

const modes = async () => JSON.stringify((await mine.status()) as unknown)
const project = realpathSync(
  t.testdir({ '.git': {}, src: { 'a.c': '#include <stdio.h>\nint main(void) { return puts("built") < 0; }\n' } })
)
const files = (target: TestPeer, argv: string[], options: { input?: string; cwd?: string; more?: string[] } = {}) =>
  home.there(target, argv, {
    cwd: options.cwd ?? project,
    options: ['--files', ...(options.more ?? [])],
    ...(options.input === undefined ? {} : { input: options.input })
  })
const sh = (target: TestPeer, script: string, ...words: string[]) => files(target, ['sh', '-c', script, 'sh', ...words])

const first = await files(mine, ['true'])
const can = first.code === 0
if (!can) t.comment(`${first.stderr}${mine.log()}${await modes()}`)

if (needs(t, can, "guests that see their home's files: /dev/fuse and user namespaces")) tests()

function tests(): void {
  t.test('it reads and writes what is here, as whoever asked for it', async (t) => {
    writeFileSync(join(project, 'input'), 'from home\n')
    const script = 'cat input - > output; pwd; id -u; umask; echo err >&2; mkdir made; ln -s output link; exit 3'
    const ended = await home.there(mine, ['sh', '-c', script], {
      ...{ cwd: project, options: ['--files'], input: 'from stdin\n' }
    })
    t.match(ended, { code: 3, stderr: 'err\n' })
    const umask = execFileSync('sh', ['-c', 'umask'], { encoding: 'utf8' })
    t.equal(ended.stdout, `${project}\n${process.getuid!()}\n${umask}`)
    t.equal(readFileSync(join(project, 'output'), 'utf8'), 'from home\nfrom stdin\n')
    t.equal(readFileSync(join(project, 'link'), 'utf8'), 'from home\nfrom stdin\n')
    t.equal(statSync(join(project, 'output')).uid, process.getuid!())
    t.ok(statSync(join(project, 'made')).isDirectory())
  })

  t.test('work of the user in a system directory is written there, and what is shared', async (t) => {
    if (!needs(t, isWritable('/opt'), 'a user who may write to /opt')) return
    const own = mkdtempSync('/opt/kappa test-')
    t.teardown(() => rmSync(own, { recursive: true }))
    for (const directory of ['.git', 'src']) mkdirSync(join(own, directory))
    for (const [target, name] of [
      [mine, 'a'],
      [friends, 'b']
    ] as const) {
      const script = `echo ${name} > ../${name}; touch ../../kappa-test; ls ..`
      const ended = await files(target, ['sh', '-c', script], { cwd: join(own, 'src') })
      t.match(ended.stderr, /kappa-test.*Read-only file system/)
      t.match(ended.stdout, new RegExp(`${name}\nsrc\n`))
      t.equal(readFileSync(join(own, name), 'utf8'), `${name}\n`)
    }
    const shared = await files(mine, ['sh', '-c', 'echo shared > "$1/c"', 'sh', own], { more: ['--share', own] })
    t.match(shared, { code: 0, stderr: '' })
    t.equal(readFileSync(join(own, 'c'), 'utf8'), 'shared\n')
    const other = await files(mine, ['sh', '-c', 'echo other > "$1/d"', 'sh', own])
    t.match(other.stderr, /Read-only/)
  })

  t.test('what is not there, or no program, ends as here', async (t) => {
    t.match(await files(mine, ['no-such-program']), { code: 127, stderr: /^kappa: no-such-program: not found/ })
    t.match(await files(mine, ['./input']), { code: 126, stderr: /^kappa: \.\/input: .*can't be executed/ })
    t.match(await files(mine, ['cat', 'no-such-file']), { code: 1, stderr: /no-such-file: No such file/ })
    t.match(await files(mine, ['true'], { more: ['--plain'] }), {
      code: 125,
      stderr: /--files and --plain exclude each other/
    })
  })

  t.test('locks hold here and there, until the job ends, and times are exact', async (t) => {
    if (!needs(t, spawnSync('flock', ['--version']).status === 0, 'flock')) return
    const free = () => spawnSync('flock', ['-n', 'lock', 'true'], { cwd: project }).status === 0
    // What has it open goes on in the background, and is ended with the job.
    const script = `exec 9>lock; flock 9; touch -d '2001-02-03 04:05:06.123456789' dated; sleep 60 &
until [ -e over ]; do sleep 0.05; done`
    const job = sh(mine, script)
    await until('the job has the lock', async () => existsSync(join(project, 'dated')) && !free())
    t.match(await sh(friends, 'flock -n lock true || echo held'), { stdout: 'held\n' })
    writeFileSync(join(project, 'over'), '')
    t.match(await job, { code: 0, stderr: '' })
    await until('the lock has ended with the job', async () => free())
    const { mtimeNs } = statSync(join(project, 'dated'), { bigint: true })
    t.equal(mtimeNs % 1_000_000_000n, 123_456_789n)
  })

  t.test('a compiler there makes the same as one here', async (t) => {
    if (!needs(t, spawnSync('gcc', ['--version']).status === 0, 'gcc')) return
    execFileSync('gcc', ['-O2', '-c', 'src/a.c', '-o', 'here.o'], { cwd: project })
    t.match(await files(mine, ['gcc', '-O2', '-c', 'src/a.c', '-o', 'there.o']), { code: 0, stderr: '' })
    t.ok(readFileSync(join(project, 'there.o')).equals(readFileSync(join(project, 'here.o'))))
    t.match(await files(mine, ['gcc', 'there.o', '-o', 'program']), { code: 0, stderr: '' })
    t.equal(execFileSync('./program', { cwd: project, encoding: 'utf8' }), 'built\n')
  })

  t.test('what is kept there is out of reach of its jobs', async (t) => {
    const kept = join(mine.inside, 'cache/files/contents')
    await until('something is kept', () => existsSync(kept) && readdirSync(kept).length > 0)
    t.equal(statSync(kept).mode & 0o777, 0o700)
    // One that sees nothing of home, which is the same machine here.
    const reach = ['sh', '-c', `ls -d '${mine.inside}' 2>/dev/null; cat '${kept}'/*/* 2>/dev/null; :`]
    t.match(await home.there(mine, reach), { code: 0, stdout: '' })
  })

  t.test('each job sees what was here when it was asked for', async (t) => {
    for (let round = 0; round < 8; round++) {
      writeFileSync(join(project, 'round'), `${round}\n`)
      writeFileSync(join(project, `only${round}`), '')
      const { stdout } = await sh(mine, 'cat round; ls only*')
      t.equal(stdout, `${round}\nonly${round}\n`)
      execFileSync('rm', [`only${round}`], { cwd: project })
    }
  })

  t.test('what changes here while it runs is seen there', async (t) => {
    const talk = await home.begun(mine, ['sh', '-c', 'cat round; until [ -e go ]; do sleep 0.1; done; cat round go'], {
      ...{ cwd: project, options: ['--files'] }
    })
    writeFileSync(join(project, 'round'), 'changed\n')
    writeFileSync(join(project, 'go'), 'new\n')
    t.match(await talk.ended, { code: 0, stdout: '7\nchanged\nnew\n' })
  })

  t.test('names and bytes of any kind', async (t) => {
    const name = Buffer.from('n\xffam\n\'e "', 'latin1')
    mkdirSync(join(project, 'odd'))
    writeFileSync(Buffer.concat([Buffer.from(join(project, 'odd/')), name]), Buffer.from([0, 255, 10, 13]))
    const { bytes } = await sh(mine, 'cd odd; for f in *; do printf %s "$f"; cat "$f"; mv "$f" moved; done')
    t.ok(bytes.equals(Buffer.concat([name, Buffer.from([0, 255, 10, 13])])))
    t.ok(existsSync(join(project, 'odd/moved')))
  })

  t.test('a large file there and back', async (t) => {
    const bytes = Buffer.alloc(20 * 2 ** 20 + 17, 'kappa moves bytes. ')
    writeFileSync(join(project, 'large'), bytes)
    t.match(await sh(mine, 'cat large > copy && cmp large copy && wc -c < copy'), {
      code: 0,
      stdout: `${bytes.length}\n`
    })
    t.ok(readFileSync(join(project, 'copy')).equals(bytes))
  })

  t.test("a friend's machine is shown the project, and the programs", async (t) => {
    const outside = realpathSync(t.testdir({ diary: 'private\n' }))
    t.match(await sh(friends, 'cat src/a.c > seen; ls -a; touch .git/config'), {
      stdout: /^src$/m,
      stderr: /Read-only file system/
    })
    t.ok(existsSync(join(project, 'seen')))
    t.match(await sh(friends, 'cat "$1/diary"; ls "$1"; echo x > "$1/new"', outside), {
      stdout: '',
      stderr: /diary: No such file or directory/
    })
    t.notOk(existsSync(join(outside, 'new')))
    t.match(await sh(friends, 'cat /etc/shadow; ls /home /root /var'), { stdout: '' })
    const shared = await files(friends, ['sh', '-c', 'cat "$1/diary"; echo x > "$1/new"', 'sh', outside], {
      more: ['--share', outside]
    })
    t.match(shared, { code: 0, stdout: 'private\n' })
    t.ok(existsSync(join(outside, 'new')))
  })

  t.test('what is denied is named, with what would show it', async (t) => {
    const secret = realpathSync(t.testdir({ '.npmrc': 'token\n' }))
    const target = await TestPeer.start(t, { name: 'other' })
    const own = await TestPeer.start(t, { name: 'denier', env: { HOME: secret } })
    await pair(target, own)
    const options = ['-v', '--files']
    const denied = await own.there(target, ['cat', `${secret}/.npmrc`], { cwd: project, options })
    t.match(denied, { code: 1, stdout: '' })
    t.match(denied.stderr, `kappa: the job was denied ${secret}/.npmrc; --share ${secret}/.npmrc\n`)
    const shown = await own.there(target, ['cat', `${secret}/.npmrc`], {
      ...{ cwd: project, options: [...options, '--share', `${secret}/.npmrc`] }
    })
    t.match(shown, { code: 0, stdout: 'token\n' })
  })

  t.test('it ends when what shows it its files is killed', async (t) => {
    const { mark, argv } = longJob()
    const talk = await home.begun(mine, argv, { cwd: project, options: ['--files'] })
    for (const pid of serversOf(mine)) process.kill(pid, 'SIGKILL')
    // It may have missed a page of its program before it was killed.
    const { code, stderr } = await talk.ended
    t.ok([135, 137, 139].includes(code!), `${code}`)
    t.match(stderr, /^kappa: what showed home's files to the job ended \(on mine\)\n$/m)
    t.same(jobProcesses(mark), [])
    t.match(await sh(mine, 'cat round'), { code: 0, stdout: 'changed\n' }, 'the next one has another')
  })

  t.test('the next one is shown them anew when what showed them is killed just before', async (t) => {
    const servers = serversOf(mine)
    t.equal(servers.length > 0, true)
    for (const pid of servers) process.kill(pid, 'SIGKILL')
    await until('they are dead', () => servers.every((pid) => 'ZX'.includes(readStat(pid)?.state ?? 'X')))
    t.match(await sh(mine, 'cat round'), { code: 0, stdout: 'changed\n' })
  })

  t.test('nothing half written passes as whole when its machine is lost', async (t) => {
    const { half, whole, ended } = await halfWritten(t, async () => {
      await friends.killDaemon()
      await friends.startDaemon()
    })
    t.match(ended.stderr, `; not finished, and so dated 1970: ${half}\n`)
    t.equal(statSync(half).mtimeMs, 0)
    t.equal(readFileSync(half, 'utf8'), 'part', 'what is in it stays')
    t.ok(whole.every((file) => statSync(file).mtimeMs > 0))
  })

  t.test('it ends with its home, and nothing of it stays', async (t) => {
    const { half, whole } = await halfWritten(t, () => home.killDaemon(), mine)
    await home.startDaemon()
    t.equal(statSync(half).mtimeMs, 0, 'nor does anything half written pass as whole')
    t.ok(whole.every((file) => statSync(file).mtimeMs > 0))
    t.match(await sh(mine, 'cat round'), { code: 0, stdout: 'changed\n' })
    await ends(t, mine)
  })
}

/** Processes of this target that serve trees. */
function serversOf(target: TestPeer): number[] {
  const isServer = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('\0--input-type=module\0')
  return treeOf(target.daemon.pid!).filter(isServer)
}

/** A job is lost that was writing a file; what it had closed, or appends to, is as whole as ever. */
async function halfWritten(t: Test, lose: () => Promise<void>, target = friends) {
  const { mark, argv } = longJob()
  const script =
    'echo all >whole; echo more >>log; exec 3>half 4>>log; printf part >&3; echo more >&4; sync half; exec "$@"'
  const directory = join(project, mark)
  mkdirSync(directory)
  writeFileSync(join(directory, 'log'), '')
  const words = ['sh', '-c', script, 'sh', ...argv]
  const talk = await home.begun(target, words, { cwd: directory, options: ['--files'] })
  let early: Ended | undefined
  void talk.ended.then((ended) => (early = ended))
  await until('it runs', () => {
    if (early !== undefined) throw new Error(`it ended with ${early.code} ${early.signal}: ${early.stderr}`)
    return jobProcesses(mark).length === 2
  })
  await until('what was written is here', () => readFileSync(join(directory, 'half'), 'utf8') === 'part')
  await lose()
  const ended = await talk.ended
  t.match(ended, { code: 123 })
  await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
  return { half: join(directory, 'half'), whole: [join(directory, 'whole'), join(directory, 'log')], ended }
}

/** Its daemon ends, and with it every process that serves a tree. */
async function ends(t: Test, target: TestPeer): Promise<void> {
  const { pid } = target.daemon
  const descendants = () =>
    execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'latin1' })
      .split('\n')
      .filter((line) => line.includes(target.inside))
  t.ok(pid)
  await target.stopDaemon()
  await until('all has ended', () => descendants().length === 0)
}
