import { existsSync, lstatSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadConfiguration } from '../../src/daemon/configuration.ts'
import { changeConfiguration } from '../../src/daemon/configuration-change.ts'

t.test('what a person types becomes a value of the right type', async (t) => {
  const path = join(t.testdir(), 'sub/kappa.toml')
  const cases: [string, string[], string][] = [
    ['slots', ['4'], 'slots = 4'],
    ['name', ['4'], 'name = "4"'],
    ['name', ['my nas'], 'name = "my nas"'],
    ['mdns', ['false'], 'mdns = false'],
    ['labels', ['gpu'], 'labels = ["gpu"]'],
    ['labels', ['gpu', 'disk'], 'labels = ["gpu", "disk"]'],
    ['labels', ['gpu,disk'], 'labels = ["gpu", "disk"]'],
    ['labels', ['["a", "b"]'], 'labels = ["a", "b"]'],
    ['labels', ['[]'], 'labels = []'],
    ['listen', ['0.0.0.0:6000'], 'listen = ["0.0.0.0:6000"]'],
    ['guests.network', ['full'], 'network = "full"']
  ]
  for (const [key, words, line] of cases) {
    await changeConfiguration(path, key, words)
    t.ok(readFileSync(path, 'utf8').split('\n').includes(line), `${key} ${words.join(' ')}`)
  }
  t.match(loadConfiguration(path, {}), { slots: 4, name: 'my nas', guests: { network: 'full' } })
})

t.test('a bad value or key changes nothing', async (t) => {
  const path = join(t.testdir(), 'kappa.toml')
  await t.rejects(changeConfiguration(path, 'slots', ['many']), {
    name: 'UsageError',
    message: "slots can't be many: it must be a number of cores, 0 or more"
  })
  await t.rejects(changeConfiguration(path, 'slot', ['4']), { name: 'UsageError', message: /did you mean "slots"/ })
  t.notOk(existsSync(path))
})

t.test('a file that is wrong is not touched', async (t) => {
  const path = join(t.testdir({ 'kappa.toml': 'slots = = 3' }), 'kappa.toml')
  await t.rejects(changeConfiguration(path, 'slots', ['4']), { name: 'ConfigurationError', message: /kappa\.toml:1: / })
  t.equal(readFileSync(path, 'utf8'), 'slots = = 3')
})

t.test('a bad line can be mended; another one is told of', async (t) => {
  const path = join(t.testdir({ 'kappa.toml': 'slots = "x"\nmdns = 3\n' }), 'kappa.toml')
  await t.rejects(changeConfiguration(path, 'slots', ['4']), { name: 'ConfigurationError', message: /:2: mdns is 3/ })
  await changeConfiguration(path, 'mdns', ['true'])
  t.equal(readFileSync(path, 'utf8'), 'slots = 4\nmdns = true\n')
})

t.test('a link stays a link, and the mode stays', async (t) => {
  const directory = t.testdir({ 'real.toml': '', 'kappa.toml': t.fixture('symlink', 'real.toml') })
  await changeConfiguration(join(directory, 'kappa.toml'), 'slots', ['4'])
  t.ok(lstatSync(join(directory, 'kappa.toml')).isSymbolicLink())
  t.equal(readFileSync(join(directory, 'real.toml'), 'utf8'), 'slots = 4\n')
  t.equal(statSync(join(directory, 'real.toml')).mode & 0o077, 0o044)
})
