import { existsSync } from 'node:fs'
import t from 'tap'
import { needs } from '../require.ts'
import { pair, TestPeer } from './peers.ts'

const LIMITS = 'memory = "256 MiB"\nprocesses = 200\ndisk = "64 MiB"\ntime = "20s"'

/** Programs that take without end, each with what its user is told. Perl's strings are touched as they are made. */
const ENDLESS: Record<string, { argv: string[]; status: number; word: RegExp }> = {
  'one that allocates': {
    argv: ['perl', '-e', 'for (1..15) { push @a, "x" x (32 << 20); select(undef, undef, undef, 0.02) } sleep 1000'],
    status: 137,
    // By the daemon, or by the kernel where it was faster.
    word: /guests had (more than 256 MiB of|too much) memory together.*\(guests\.memory\)/
  },
  'one that forks': {
    argv: ['perl', '-e', 'while (defined(my $p = fork)) { $p or sleep 1000 } sleep 4; exit 7'],
    status: 7,
    word: /it had 200 processes, which is guests\.processes/
  },
  'one that writes': {
    argv: ['sh', '-c', 'i=0; while :; do head -c 4000000 /dev/zero >f$i; i=$((i+1)); done'],
    status: 137,
    word: /guests had more than 64 MiB on the disk together, and it had most \(guests\.disk\)/
  },
  'one that goes on': {
    argv: ['sleep', '1000'],
    status: 137,
    word: /it ran for 20 s, which is guests\.time/
  }
}

const perl = existsSync('/usr/bin/perl')
if (needs(t, perl, 'perl, in which some of the programs are written')) {
  const [home, target] = (await Promise.all([
    TestPeer.start(t, { name: 'home' }),
    TestPeer.start(t, { name: 'target', config: `[guests]\n${LIMITS}` })
  ])) as [TestPeer, TestPeer]
  await pair(home, target, 'friend')

  for (const [name, { argv, status, word }] of Object.entries(ENDLESS)) {
    t.test(`a guest without end: ${name}`, async (t) => {
      let over = false
      const ran = home.there(target, argv).finally(() => {
        over = true
      })
      let answers = 0
      while (!over) {
        await target.status()
        answers++
      }
      const { code, stderr } = await ran
      t.equal(code, status)
      t.match(stderr, /^kappa: [^\n]* \(on target\)\n$/, 'one line')
      t.match(stderr, word)
      t.ok(answers > 0, 'its daemon answers meanwhile')
      const [job] = await home.jobs()
      t.match(await home.ok(['why', String(job!.id)]), word, 'why')
      t.match(await home.there(target, ['echo', 'next']), { code: 0, stdout: 'next\n', stderr: '' })
    })
  }
}
