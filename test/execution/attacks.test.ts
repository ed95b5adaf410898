import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { needs } from '../require.ts'
import { ATTACKS } from './attacks.ts'
import { finish, place, processesWith, sandboxed, specOf, uniqueSeconds } from './executing.ts'

/** What the owner has that guests shall not get; the attacks know it by these variables. */
interface Owner {
  directory: string
  env: Record<string, string>
}

async function owner(t: Test): Promise<Owner> {
  const directory = place(t)
  const word = `secret-${process.pid}-${performance.now()}`
  mkdirSync(`${directory}/.ssh`)
  writeFileSync(`${directory}/.ssh/id`, word, { mode: 0o644 })
  const victim = spawn('sleep', ['1000'], { env: { ...process.env, TOKEN: word }, cwd: directory })
  t.teardown(() => victim.kill('SIGKILL'))
  const [socket, abstract] = [`${directory}/control`, `kappa-attack-${process.pid}`]
  const servers = [{ path: socket }, { path: `\0${abstract}` }, { port: 0, host: '127.0.0.1' }].map((where) => {
    const server = createServer((client) => client.end(word))
    t.teardown(() => server.close())
    return new Promise<typeof server>((resolve) => server.listen(where, () => resolve(server)))
  })
  const port = ((await Promise.all(servers))[2]!.address() as { port: number }).port
  const [shmId, keyId] = kept(t, word)
  return {
    directory,
    env: {
      SECRET: `${directory}/.ssh/id`,
      SECRET_WORD: word,
      VICTIM: String(victim.pid),
      DAEMON: String(process.pid),
      DAEMON_PARENT: String(process.ppid),
      SOCKET: socket,
      ABSTRACT: abstract,
      PORT: String(port),
      SHM_KEY: String(process.pid),
      SHM_ID: shmId!,
      SHM_NAME: `kappa-attack-${process.pid}`,
      KEY_NAME: word,
      KEY_ID: keyId!,
      MARK: uniqueSeconds()
    }
  }
}

/** Shared memory and a key in the user's keyring; their ids. */
function kept(t: Test, word: string): string[] {
  const program = `my $shm = shmget(${process.pid}, 64, 01666); my ($t, $d, $v) = ("user", "${word}", "secret");
    my $key = ${process.arch === 'x64' ? 'syscall(248, $t, $d, $v, 6, -4)' : '0'};
    die "add_key: $!" if $key < 0; print "$shm $key"`
  const ids = execFileSync('/usr/bin/perl', ['-e', program]).toString().split(' ')
  t.teardown(() => execFileSync('/usr/bin/perl', ['-e', `shmctl(${ids[0]}, 0, 0); syscall(250, 21, ${ids[1]})`]))
  return ids
}

t.test('a hostile guest gets nothing', { timeout: 110_000 }, async (t) => {
  if (!needs(t, existsSync('/usr/bin/perl'), 'perl, in which the attacks are written')) return
  // Above the lowest priority, which has the machine's leavings: there are many programs to be run.
  const executor = await sandboxed(t, { nice: 1 })
  if (executor === null) return
  const { env } = await owner(t)
  const variables = Object.entries(env).map((pair) => Buffer.from(pair.join('=')))
  for (const { name, script, says, x64, ends, killed } of ATTACKS) {
    if (x64 && process.arch !== 'x64') continue
    const job = await executor.begin(specOf(['sh', '-c', `exec 2>&1; ${script}`], { env: variables }))
    if (killed) job.stdout.once('data', () => job.kill())
    const { end, out } = await finish(job)
    const text = out.toString('latin1')
    t.match(text, says, `${name}: was tried`)
    t.notMatch(text, /GOT IN/, `${name}: held`)
    t.notMatch(text, env.SECRET_WORD!, `${name}: no secret`)
    t.equal(end.signal, killed ? 'SIGKILL' : (ends ?? null), `${name}: its end is its own`)
  }
  t.same(processesWith(env.MARK!), [], 'nothing outlives its job')
  t.ok(processesWith('sleep\x001000').includes(Number(env.VICTIM)), "the owner's process lives")
})
