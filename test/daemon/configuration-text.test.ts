import t from 'tap'
import { lineOf, withValue } from '../../src/daemon/configuration-text.ts'

const TEXT = `# kappa on the desktop

name = "desktop"   # not the host name
listen = [
  "192.168.1.5", # the LAN
  "10.8.0.2"
]

[guests] # they
# what they see
paths = []
network = "none"

[machine]
cores = 4
`

t.test('the line of a key', async (t) => {
  t.equal(lineOf(TEXT, ['name']), 3)
  t.equal(lineOf(TEXT, ['listen']), 4)
  t.equal(lineOf(TEXT, ['guests', 'network']), 12)
  t.equal(lineOf(TEXT, ['guests', 'user']), 9, 'its table')
  t.equal(lineOf(TEXT, ['machine', 'cores']), 15)
  t.equal(lineOf(TEXT, ['nothing']), undefined)
  t.equal(lineOf('a.b.c = 1', ['a', 'b', 'c']), 1)
  t.equal(lineOf('x = """\nname = 3\n"""\nname = 4', ['name']), 4, 'not in a text')
})

t.test('a value is replaced where it stands, and its comment stays', async (t) => {
  t.equal(withValue(TEXT, ['name'], 'nas # 2'), TEXT.replace('"desktop" ', '"nas # 2" '))
  t.equal(withValue(TEXT, ['guests', 'network'], 'full'), TEXT.replace('"none"', '"full"'))
  t.equal(withValue('name = "a#b" #c', ['name'], 'd'), 'name = "d" #c\n')
  t.equal(withValue('  machine.cores=4', ['machine', 'cores'], 2), '  machine.cores = 2\n')
})

t.test('a value over several lines is replaced as a whole', async (t) => {
  const changed = withValue(TEXT, ['listen'], ['0.0.0.0'])
  t.match(changed, 'listen = ["0.0.0.0"]\n\n[guests] # they\n')
  t.notMatch(changed, '10.8.0.2')
})

t.test('a new key goes to the others of its table', async (t) => {
  t.match(withValue(TEXT, ['mdns'], false), '  "10.8.0.2"\n]\nmdns = false\n\n[guests]')
  t.match(withValue(TEXT, ['guests', 'user'], 'guest'), 'network = "none"\nuser = "guest"\n\n[machine]')
  t.match(withValue(TEXT, ['metric', 'policy'], 'paper'), /cores = 4\n\n\[metric\]\npolicy = "paper"\n$/)
  t.equal(withValue('[guests]\n', ['guests', 'user'], 'x'), '[guests]\nuser = "x"\n')
  t.equal(withValue('[guests]\n', ['mdns'], true), 'mdns = true\n\n[guests]\n')
  t.equal(withValue('# only this', ['mdns'], true), '# only this\nmdns = true\n')
  t.equal(withValue('', ['guests', 'network'], 'full').trim(), '[guests]\nnetwork = "full"')
  t.equal(withValue('guests.user = "x"', ['guests', 'network'], 'full'), 'guests.user = "x"\nguests.network = "full"\n')
})

t.test('texts come out as they went in', async (t) => {
  const odd = 'quote " backslash \\ tab \t del \x7f ü'
  t.equal(withValue(withValue('', ['name'], odd), ['name'], 'x'), 'name = "x"\n')
})

t.test('what is written in an unusual way is left to its owner', async (t) => {
  const refusal = { name: 'ConfigurationError', message: /line 2 .* kappa config edit/ }
  t.throws(() => withValue('# x\nguests = { network = "none", user = "x" }', ['guests', 'network'], 'full'), refusal)
  t.throws(() => withValue('# x\nguests = { network = "none" }', ['guests', 'network'], 'full'), refusal)
  t.throws(() => withValue('# x\nguests = { network = "none" }', ['guests', 'user'], 'full'), {
    name: 'ConfigurationError'
  })
})
