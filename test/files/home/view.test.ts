import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DENIED_IN_HOME, View } from '../../../src/files/home/view.ts'

const HOME = '/home/ann'
const own = new View({ kind: 'own', home: HOME, project: '/', shares: [], denied: ['/home/ann/.local/state/kappa'] })

t.test('to an own machine all is shown but what is denied, and what each machine has of its own', async (t) => {
  for (const path of ['/', HOME, `${HOME}/src/x.c`, '/tmp/x', '/srv']) t.equal(own.right(path), 'write', path)
  for (const path of ['/usr', '/usr/bin/gcc', '/etc/passwd']) t.equal(own.right(path), 'read', path)
  for (const name of DENIED_IN_HOME) t.equal(own.right(`${HOME}/${name}`), 'denied', name)
  for (const path of ['.ssh/id_ed25519', '.aws/credentials', '.local/state/kappa/identity']) {
    t.equal(own.right(`${HOME}/${path}`), 'denied', path)
  }
  t.equal(own.right('/etc/shadow'), 'denied')
  t.equal(own.right(`${HOME}/.sshx`), 'write', 'a name that only begins so')
  for (const path of ['/proc', '/sys', '/dev', '/run']) {
    t.equal(own.right(path), 'empty', path)
    t.equal(own.right(`${path}/x`), 'absent', path)
  }
})

t.test('to a friend the project is shown, programs to be read, the way there, and nothing else', async (t) => {
  const friend = new View({ kind: 'friend', home: HOME, project: `${HOME}/src/zstd`, shares: [], denied: [] })
  t.equal(friend.right(`${HOME}/src/zstd`), 'write')
  t.equal(friend.right(`${HOME}/src/zstd/lib/a.c`), 'write')
  t.equal(friend.right(`${HOME}/src/zstd/.git/hooks/pre-commit`), 'read')
  t.equal(friend.right(`${HOME}/src/zstd/.git/config`), 'read')
  t.equal(friend.right(`${HOME}/src/zstd/.git/index`), 'write')
  for (const path of ['/', '/home', HOME, `${HOME}/src`]) t.equal(friend.right(path), 'pass', path)
  for (const path of ['/usr/bin/gcc', '/etc/ld.so.cache']) t.equal(friend.right(path), 'read', path)
  for (const path of [`${HOME}/.bashrc`, `${HOME}/src/other`, '/home/bob', '/tmp', '/srv', '/root', '/var']) {
    t.equal(friend.right(path), 'absent', path)
  }
  t.equal(friend.right(`${HOME}/.ssh/id`), 'absent')
  t.equal(friend.right('/etc/shadow'), 'denied')
})

t.test('neither all nor the whole of a user is a project', async (t) => {
  for (const project of ['/', '/home', HOME]) {
    const friend = new View({ kind: 'friend', home: HOME, project, shares: [], denied: [] })
    t.equal(friend.right(`${HOME}/notes`), 'absent', project)
    t.equal(friend.right('/usr/lib'), 'read')
  }
})

t.test('what the user shares is shown in spite of all', async (t) => {
  for (const kind of ['own', 'friend'] as const) {
    const view = new View({ kind, home: HOME, project: '/x', shares: [`${HOME}/.npmrc`, '/srv/media'], denied: [] })
    t.equal(view.right(`${HOME}/.npmrc`), 'write')
    t.equal(view.right('/srv/media/a.mkv'), 'write')
    t.equal(view.right(`${HOME}/.netrc`), kind === 'own' ? 'denied' : 'absent')
  }
})

t.test('work of the user in a system directory is its project', async (t) => {
  for (const kind of ['own', 'friend'] as const) {
    const view = new View({
      kind,
      home: HOME,
      project: '/opt/work',
      shares: ['/usr/local/share/x', '/srv'],
      denied: []
    })
    t.equal(view.right('/opt/work/a.c'), 'write')
    t.equal(view.right('/opt/work/.git/hooks/x'), kind === 'own' ? 'write' : 'read')
    t.equal(view.right('/opt/other'), 'read')
    t.same(view.writableInSystem, ['/opt/work', '/usr/local/share/x'])
  }
  t.same(own.writableInSystem, [])
})

t.test('what is denied is denied by its real name too', async (t) => {
  const top = t.testdir()
  mkdirSync(join(top, 'vault'))
  mkdirSync(join(top, 'ann'))
  writeFileSync(join(top, 'vault/key'), 'secret')
  symlinkSync('../vault', join(top, 'ann/.ssh'))
  const view = new View({ kind: 'own', home: join(top, 'ann'), project: '/', shares: [], denied: [] })
  t.equal(view.right(join(top, 'vault/key')), 'denied')
  t.equal(view.right(join(top, 'ann/.ssh')), 'denied')
})

t.test('whether a directory holds anything that is shown otherwise', async (t) => {
  for (const path of ['/', '/home', HOME, `${HOME}/.config`, '/etc']) t.equal(own.isMixed(path), true, path)
  for (const path of ['/usr', `${HOME}/src`]) t.equal(own.isMixed(path), false, path)
})
