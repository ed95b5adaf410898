/** What a job sees that is asked for without any option, what it is then, and what is said where that can't be had. */

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { decodeMessage, encodeMessage } from '../../src/protocols/exec/codec.ts'
import { FRAME, parseFrame } from '../../src/protocols/exec/frames.ts'
import { needs } from '../require.ts'
import { KAPPA, pair, TestPeer } from './peers.ts'
import { RogueTarget } from './rogue.ts'

const user = realpathSync(
  t.testdir({ '.gnupg': {}, work: { '.git': {}, 'a.c': 'int main(void) { return 0; }\n' }, data: { a: 'a', b: 'b' } })
)
const work = join(user, 'work')
const env = { HOME: user }
const [home, target] = await Promise.all([
  TestPeer.start(t, { name: 'home', env }),
  TestPeer.start(t, { name: 'target' })
])
await pair(target, home)

/** On the target, asked for as users do. */
const there = (argv: string[], { cwd = work, options = ['--files'] } = {}) => home.there(target, argv, { cwd, options })
const sh = (script: string, options?: string[]) => there(['sh', '-c', script], options === undefined ? {} : { options })
const here = (script: string) => execFileSync('sh', ['-c', script], { cwd: work, encoding: 'utf8' })

const first = await there(['true'])
if (first.code !== 0) t.comment(first.stderr)
if (needs(t, first.code === 0, "guests that see their home's files: /dev/fuse and user namespaces")) tests()

function tests(): void {
  t.test('without any option, by either client', async (t) => {
    for (const client of ['native', 'node']) {
      const argv = ['run', '--remote', 'sh', '-c', `echo $KAPPA_TARGET >from-${client}; pwd; ls a.c`]
      const ended = await home.kappa(argv, { cwd: work, env: { KAPPA_CLIENT: client } })
      t.match(ended, { code: 0, stdout: `${work}\na.c\n`, stderr: '' }, client)
      t.equal(readFileSync(join(work, `from-${client}`), 'utf8'), 'target\n')
    }
  })

  t.test('who it is, and where', async (t) => {
    const { stdout } = await sh(
      'id -u; id -g; nproc; hostname; umask; echo x >mine; echo $TMPDIR; echo x >/tmp/"$KAPPA_JOB"; echo "$KAPPA_JOB"; date +%s; echo x >$TMPDIR/x'
    )
    const [uid, gid, processors, name, umask, temporary, job, seconds] = stdout.trim().split('\n')
    t.equal(uid, String(process.getuid!()))
    t.equal(gid, String(process.getgid!()))
    t.equal(processors, here('nproc').trim(), "the target's, which is this machine")
    t.equal(name, hostname())
    t.equal(umask, here('umask').trim())
    t.match(statSync(join(work, 'mine')), { uid: process.getuid!(), gid: process.getgid!() })
    t.match(temporary, /^\/run\/kappa\//, "a directory of the target's own")
    t.ok(Math.abs(Number(seconds) - Date.now() / 1_000) < 600)
    t.equal(readFileSync(`/tmp/${job}`, 'utf8'), 'x\n', '/tmp is of home')
    execFileSync('rm', [`/tmp/${job}`])
  })

  t.test('with the programs of the target', async (t) => {
    const programs = await sh('echo $PATH; id -un; cat a.c >copy; cat /etc/hostname; echo x >/x', ['--tools', 'target'])
    t.equal(programs.stdout.split('\n')[0], '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
    t.equal(programs.stdout.split('\n')[1], here('id -un').trim())
    t.match(programs.stderr, /x: Read-only file system/)
    t.equal(readFileSync(join(work, 'copy'), 'utf8'), readFileSync(join(work, 'a.c'), 'utf8'))
    if (!needs(t, spawnSync('cc', ['--version']).status === 0, 'cc')) return
    t.match(await there(['cc', '-c', 'a.c', '-o', 'there.o'], { options: ['--tools', 'target'] }), {
      code: 0,
      stderr: ''
    })
    execFileSync('cc', ['-c', 'a.c', '-o', 'here.o'], { cwd: work })
    t.ok(readFileSync(join(work, 'there.o')).equals(readFileSync(join(work, 'here.o'))))
    t.match(await there(['cat', 'a.c']), { code: 0, stdout: /int main/ }, "those of home's beside them")
  })

  t.test('several paths are shared', async (t) => {
    const [a, b] = ['.gnupg', 'data'].map((name) => join(user, name)) as [string, string]
    writeFileSync(join(a, 'key'), 'key')
    t.match(await sh(`cat ${a}/key`), { code: 1, stdout: '' })
    const shared = await there(['cat', join(a, 'key'), join(b, 'a')], { options: ['--share', a, '--share', b] })
    t.match(shared, { code: 0, stdout: 'keya' })
  })

  t.test('where it can not begin is said', async (t) => {
    const options = ['run', '--remote', 'true']
    const unseen =
      /^kappa: nobody could take the job: target: other machines may not see .*, where the job would begin;/
    t.match(await home.kappa(options, { cwd: join(user, '.gnupg') }), { code: 125, stderr: unseen })
    const gone = join(user, 'gone')
    mkdirSync(gone)
    const script = `cd ${gone} && rmdir ${gone} && exec "$0" run --remote true`
    const { stderr } = spawnSync('sh', ['-c', script, KAPPA], { env: home.environment, encoding: 'utf8' })
    t.match(stderr, 'kappa: the working directory is not there any more; cd to one that is\n')
  })

  t.test('what never goes unasked is said on a terminal', async (t) => {
    t.match(await home.kappa(['run', '-v', 'ls'], { cwd: work }), {
      ...{ code: 0, stderr: /^kappa: running here: ls only waits for the disk \(kappa why \w+\)\n$/ }
    })
    const forced = await home.there(target, ['ls', 'a.c'], { cwd: work, options: ['--files'] })
    t.match(forced, { code: 0, stdout: 'a.c\n' })
  })
}

t.test('a machine that can not show files', async (t) => {
  const alone = await TestPeer.start(t, { name: 'alone' })
  const modes = { modes: ['plain', 'staged'], noFiles: 'no /dev/fuse' }
  await RogueTarget.start(t, alone, () => undefined, 'own', modes)
  t.match(await alone.kappa(['run', '-v', '--cores', '64', 'true']), {
    ...{ code: 0, stderr: /^kappa: running here: rogue: plain only, no \/dev\/fuse \(kappa why \w+\)\n$/ }
  })
  t.match(await alone.kappa(['run', '--remote', 'true']), {
    ...{ code: 125, stderr: /^kappa: nobody could take the job: rogue: plain only, no \/dev\/fuse\. Run it here/ }
  })
  t.match(await alone.ok(['status']), /rogue .* plain only, no \/dev\/fuse/)
  const [job] = await alone.jobs()
  t.match(await alone.ok(['why', String(job!.id)]), /rogue .* plain only, no \/dev\/fuse/)
})

t.test('a machine of another architecture', async (t) => {
  const alone = await TestPeer.start(t, { name: 'alone' })
  const started: string[] = []
  const rogue = await RogueTarget.start(t, alone, () => undefined, 'own', { arch: 'pdp11' })
  rogue.serve = (frames) => {
    frames.send(...encodeMessage('hello', 0, { epoch: rogue.epoch }))
    frames.onFrame(
      (bytes) => {
        const frame = parseFrame(bytes)!
        if (!('payload' in frame) || frame.type !== FRAME.start) return
        started.push(decodeMessage('start', frame.payload).tree?.programs ?? 'none')
        const refusal = { epoch: rogue.epoch, code: 'slots', reason: 'it has seen enough' }
        frames.send(...encodeMessage('refused', frame.channel, refusal))
      },
      () => undefined
    )
  }
  const needed = new RegExp(
    `rogue: is pdp11, ${process.arch} needed for home's programs \\(--tools target: it takes its own\\)`
  )
  t.match(await alone.kappa(['run', '--remote', 'true']), { code: 125, stderr: needed })
  t.match(await alone.ok(['status']), /rogue .* is pdp11: plain, or --tools target/)
  t.match(await alone.there('rogue', ['true'], { options: ['--tools', 'target'] }), {
    ...{ code: 125, stderr: /rogue: it has seen enough/ }
  })
  t.ok(started.length > 0)
  t.same(new Set(started), new Set(['target']))
})
