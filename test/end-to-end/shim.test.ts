import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { needs } from '../require.ts'
import { pair, sees, TestPeer, until } from './peers.ts'

const [home, target] = await Promise.all([TestPeer.start(t, { name: 'home' }), TestPeer.start(t, { name: 'target' })])
await pair(home, target)
await sees(home, target)

const shims = (await home.ok(['shim', 'path'])).trim()
const project = realpathSync(t.testdir({ '.git': {} }))

/** In a shell with the shims in front. */
const sh = (script: string, env: Record<string, string> = {}) => {
  const path = `${shims}:${home.environment.PATH}`
  return spawnSync('sh', ['-c', script], {
    ...{ cwd: project, encoding: 'utf8' as const },
    env: { ...home.environment, PATH: path, ...env }
  })
}

t.test('made, listed, taken away', async (t) => {
  const added = await home.ok(['shim', 'add', 'cc', 'make'])
  t.equal(added, `Now put them in front: export PATH="${shims}:$PATH"\n`)
  t.same(readdirSync(shims).sort(), ['cc', 'make'])
  t.match(await home.ok(['shim', 'list']), /^cc\t\/.*\nmake\t\/.*\nNot in front of PATH/)
  await home.ok(['shim', 'remove', 'make'])
  t.same(readdirSync(shims), ['cc'])
  for (const [words, why] of [
    [['add', 'no-such-tool'], /no no-such-tool on PATH/],
    [['add', '../x'], /no name of a command/],
    [['add', 'sh'], /can't have a shim/],
    [['remove', 'make'], /no shim of make/],
    [['add'], /which command/],
    [['frob'], /add, remove, list, path or prefix/]
  ] as const) {
    t.match(await home.kappa(['shim', ...words]), { code: 2, stderr: why }, words.join(' '))
  }
})

t.test('a build runs the compiler elsewhere, and links here', async (t) => {
  const works = await home.there(target, ['true'], { cwd: project, options: ['--files'] })
  if (!needs(t, works.code === 0, "guests that see their home's files: /dev/fuse and user namespaces")) return
  if (!needs(t, spawnSync('cc', ['--version']).status === 0, 'a compiler')) return
  writeFileSync(join(project, 'a.c'), 'int b(void);\nint main(void) { return b(); }\n')
  writeFileSync(join(project, 'b.c'), 'int b(void) { return 7; }\n')
  const started = (await home.jobs()).length
  const built = await until('the compiler gets an answer in time', () => {
    const ended = sh('set -e; for f in a b; do KAPPA_ON=target cc -c $f.c; done; cc a.o b.o -o program; ./program')
    return !/in time|connected/.test(ended.stderr) && ended
  })
  t.equal(built.status, 7, built.stderr)
  const jobs = (await home.jobs()).slice(0, -started)
  t.ok(jobs.some(({ argv, target: on }) => String(argv).endsWith('-c,a.c') && on === 'target'))
  t.ok(jobs.some(({ argv, target: on }) => String(argv).includes('program') && on === 'home'))
  const wrong = sh('KAPPA_ON=target cc -c none.c')
  t.equal(wrong.status, 1)
  t.match(wrong.stderr, /none\.c: No such file/)
})

t.test('what ./configure asks for and tries is the tool itself', async (t) => {
  if (!needs(t, spawnSync('cc', ['--version']).status === 0, 'a compiler')) return
  const before = (await home.jobs()).length
  const configure = `set -e
    cc --version >/dev/null; cc -dumpmachine >/dev/null
    for function in puts no_such_function; do
      echo "char $function(); int main(void) { return $function(); }" >conftest.c
      if cc -c conftest.c && cc -o conftest conftest.o; then echo "#define HAVE_$function 1"; else echo "/* no $function */"; fi
    done >config.h 2>config.log
    echo 'int x = HAVE;' | cc -DHAVE=1 -E - >/dev/null; cat config.h`
  t.match(sh(configure), { status: 0, stdout: '#define HAVE_puts 1\n/* no no_such_function */\n' })
  t.same(
    (await home.jobs()).slice(0, -before).filter(({ argv }) => !String(argv).includes('-o,conftest')),
    []
  )
})

t.test('a program to put in front of compilers, as ccache asks for', async (t) => {
  if (!needs(t, spawnSync('ccache', ['--version']).status === 0, 'ccache')) return
  const prefix = (await home.ok(['shim', 'prefix'])).trim()
  t.notOk((await home.ok(['shim', 'list'])).includes('prefix'))
  writeFileSync(join(project, 'c.c'), 'int c(void) { return 1; }\n')
  const env = { CCACHE_DIR: join(project, 'cache'), CCACHE_PREFIX: prefix }
  const compile = () => sh('rm -f c.o; ccache cc -c c.c -o c.o; nm c.o', env)
  const before = (await home.jobs()).length
  t.match(compile(), { status: 0, stdout: / T c\n/ })
  t.match(compile(), { status: 0, stdout: / T c\n/ })
  const jobs = (await home.jobs()).slice(0, -before)
  t.equal(jobs.length, 1, 'the second time nothing is compiled')
  t.match(String(jobs[0]!.argv), /cc,.*-c,/)
})

t.test('without kappa, and inside a job, it is the tool itself', async (t) => {
  const before = (await home.jobs()).length
  t.match(sh('cc --version', { KAPPA_JOB: 'x' }), { status: 0, stdout: /\S/ })
  t.equal((await home.jobs()).length, before)
  t.match(sh('cc --version; command -v cc'), { status: 0, stdout: new RegExp(`${shims}/cc\\n$`) })
  t.ok(existsSync(join(shims, 'cc')))
  t.match(await home.ok(['slots']), /^[1-9]\d*\n$/)
  t.match(await home.ok(['slots', '--remote']), /^\d+\n$/)
})
