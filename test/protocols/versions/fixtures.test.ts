import { decode } from 'cborg'
import t from 'tap'
import { distanceOf, VERSION } from '../../../src/version.ts'
import { fixtures, minorOf, plain } from './fixtures.ts'
import { kinds, MESSAGES, type Message, mapBegins, readMessage, withMap } from './messages.ts'

const NEW = 'fromTheFuture'
const known = fixtures()

/** With a field that nobody knows in each map. */
function enriched(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(enriched)
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value
  const fields = Object.entries(value).map(([name, part]) => [name, enriched(part)])
  return { ...Object.fromEntries(fields), [NEW]: { much: ['more'] } }
}

function impoverished(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(impoverished)
  if (value === null || typeof value !== 'object') return value
  const fields = Object.entries(value).filter(([name]) => name !== NEW)
  return Object.fromEntries(fields.map(([name, part]) => [name, impoverished(part)]))
}

/** As a newer version may send it; undefined where there are no fields to add to. */
function newer(message: Message): Message | undefined {
  const { protocol, bytes } = message
  if (protocol === 'control')
    return { ...message, bytes: Buffer.from(JSON.stringify(enriched(JSON.parse(bytes.toString())))) }
  const begins = mapBegins(message)
  return begins === undefined ? undefined : withMap(message, enriched(decode(bytes.subarray(begins))))
}

t.test('this version has every kind of what peers send on record', async (t) => {
  const named = (messages: Message[]) =>
    messages
      .filter(({ protocol }) => protocol !== 'control')
      .map(({ protocol, kind }) => `${protocol} ${kind}`)
      .toSorted()
  t.same(named(MESSAGES), kinds().toSorted(), 'there is one of each')
  t.same(named(known.get(minorOf(VERSION)) ?? []), kinds().toSorted(), 'else: node test/protocols/versions/fixtures.ts')
})

for (const [minor, messages] of known) {
  if (distanceOf(`${minor}.0`).startsWith('too')) continue
  t.test(`what ${minor} sends is understood, with fields that nobody knows, too`, async (t) => {
    for (const fixture of messages) {
      const name = `${fixture.protocol} ${fixture.kind}`
      t.same(plain(readMessage(fixture)), fixture.says, name)
      const more = newer(fixture)
      if (more) t.same(impoverished(plain(readMessage(more))), fixture.says, `${name} of a newer version`)
    }
  })
}

t.test('neighbouring minor versions work together, and no others', async (t) => {
  const distances = {
    ...{ '1.4.2': 'none', '1.4.9': 'near', '1.3.0': 'near', '1.5.0': 'near', '1.5.0-beta.1': 'near' },
    ...{ '1.2.9': 'too old', '1.6.0': 'too new', '0.4.2': 'too old', '2.4.2': 'too new', '2.0.0': 'too new' },
    ...{ 'a fork': 'near', '1': 'near', '': 'near' }
  }
  for (const [other, distance] of Object.entries(distances)) t.equal(distanceOf(other, '1.4.2'), distance, other)
})
