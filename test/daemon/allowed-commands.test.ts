import t from 'tap'
import { commandsFor, whyForbidden } from '../../src/daemon/allowed-commands.ts'

const ID = '12D3KooWAuGh8yx9mbcaNCowvivd9sq2q9KnpQ94RD2XfKRp4e1U'
const nas = { peer: ID, name: 'nas', kind: 'friend' } as const

t.test('entries are for all, for a kind of home, or for one machine', async (t) => {
  t.equal(commandsFor([], nas), undefined, 'nothing was said')
  const entries = ['ffmpeg', 'own:make', 'friends:gcc', 'nas:/opt/x', `${ID}:id`, `${ID.slice(0, 16)}:start`]
  t.same(commandsFor(entries, nas), ['ffmpeg', 'gcc', '/opt/x', 'id', 'start'])
  t.same(commandsFor(entries, { ...nas, peer: '12D3KooWX', name: undefined }), ['ffmpeg', 'gcc'])
  t.same(commandsFor(entries, { peer: '12D3KooWX', name: 'desktop', kind: 'own' }), ['ffmpeg', 'make'])
  t.same(commandsFor(['12D3KooW:all-begin-so'], nas), [])
  t.equal(commandsFor(['ffmpeg', 'nas:*'], nas), undefined, 'anything')
  t.same(commandsFor(['own:*'], nas), [])
})

t.test('a name allows what is found by it on PATH, and its path there', async (t) => {
  const allowed = ['ffmpeg', '/opt/bin/tool']
  for (const command of ['ffmpeg', '/usr/bin/ffmpeg', '/usr/local/bin/ffmpeg', '/opt/bin/tool']) {
    t.equal(whyForbidden(allowed, command), undefined, command)
  }
  const others = ['./ffmpeg', 'bin/ffmpeg', '/tmp/ffmpeg', '/usr/bin/../../tmp/ffmpeg', '/usr/bin//ffmpeg', 'tool', '']
  for (const command of [...others, '/opt/bin/tool/', 'FFMPEG', 'sh', '*']) {
    t.match(
      whyForbidden(allowed, command),
      /^its owner lets this home run only ffmpeg, \/opt\/bin\/tool there/,
      command
    )
  }
  t.equal(whyForbidden(undefined, 'sh'), undefined)
})

t.test('the reason names what is allowed and what was asked for, and is a bounded phrase', async (t) => {
  t.equal(
    whyForbidden(['gcc', 'cc', 'gcc'], 'make'),
    'its owner lets this home run only gcc, cc there, not make (guests.commands)'
  )
  t.equal(whyForbidden([], 'make'), 'its owner lets this home run nothing there (guests.commands)')
  const many = Array.from({ length: 100 }, (_, index) => `/${index}/${'x'.repeat(200)}`)
  t.ok(whyForbidden(many, 'y'.repeat(5_000))!.length <= 512)
})
