import t from 'tap'
import { MAX_ENTRIES } from '../../../src/core/types.ts'
import { rules, sample } from '../scenario.ts'
import { Household } from './told.ts'

t.test('each second every machine is told of every other, a round for each hop', async (t) => {
  const household = new Household('broadcast', 'AB BC CD')
  household.until(4_500)
  t.equal(household.knows('A', 4_500), 'B1 C2 D3')
  t.equal(household.knows('D', 4_500), 'A3 B2 C1')
  household.take()
  household.until(5_500)
  const said = household.take()
  t.equal(said.length, 6, 'one message for each neighbour and second')
  t.ok(said.includes('B>A BCD+') && said.includes('A>B A+'), 'never what the neighbour said itself')
})

t.test('more machines than one message holds are told in several', async (t) => {
  const others = [...'BCDEFGHIJK']
  const household = new Household('broadcast', `${others.map((id) => `A${id}`).join(' ')} AZ`)
  household.until(2_500)
  household.take()
  household.until(3_500)
  const told = household.take().filter((said) => said.startsWith('A>Z'))
  t.equal(told.length, Math.ceil((others.length + 1) / MAX_ENTRIES))
  t.equal(household.knows('Z', 3_500), `A1 ${others.map((id) => `${id}2`).join(' ')}`)
})

t.test('a machine that left is forgotten, though others keep telling of one another', async (t) => {
  const household = new Household('broadcast', 'AB BC CD DA')
  household.until(4_500)
  t.equal(household.knows('A', 4_500), 'B1 C2 D1')
  for (const id of 'BD') household.of(id).handleNeighbourDown('C', 4_600)
  for (const id of 'BD') household.of('C').handleNeighbourDown(id, 4_600)
  household.until(25_000)
  t.equal(household.knows('A', 25_000), 'B1 D1')
})

t.test(
  'consent holds: friends are told of this machine alone, and so is everybody by who forwards nothing',
  async (t) => {
    const friends = new Household('broadcast', 'AB BC', { BC: 'friend' })
    friends.until(4_500)
    t.equal(friends.knows('A', 4_500), 'B1')
    t.equal(friends.knows('C', 4_500), 'B1')
    const alone = new Household('broadcast', 'AB BC')
    alone.of('B').setRules(rules({ forward: 1 }), 2)
    alone.until(12_500)
    t.equal(alone.knows('A', 12_500), 'B1')
  }
)

t.test('while the overlay rests it goes round every ten seconds', async (t) => {
  const household = new Household('broadcast', 'AB')
  household.until(400_000)
  household.take()
  household.of('A').handleSample(sample(), 400_000)
  household.until(430_000)
  t.ok(household.take().length <= 2 * 4, 'not each second')
})
