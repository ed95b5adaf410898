import t from 'tap'
import { Household } from './told.ts'

function dice(): () => number {
  let state = 7
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}

t.test('each second one random neighbour is told, and in time everybody knows everybody', async (t) => {
  const household = new Household('gossip', 'AB AC AD BC BD CD', {}, dice())
  household.until(10_500)
  t.equal(household.knows('A', 10_500), 'B1 C1 D1')
  household.take()
  household.until(30_500)
  const said = household.take()
  t.equal(said.length, 4 * 20, 'one message of each in each second, however many neighbours')
  t.ok(new Set(said.filter((one) => one.startsWith('A')).map((one) => one[2])).size > 1, 'not always the same')
})

t.test('what is heard is told on, as far as consent goes', async (t) => {
  const household = new Household('gossip', 'AB BC CD', {}, dice())
  household.until(12_500)
  t.equal(household.knows('A', 12_500), 'B1 C2 D3')
  const friends = new Household('gossip', 'AB BC', { BC: 'friend' }, dice())
  friends.until(12_500)
  t.equal(friends.knows('A', 12_500), 'B1')
})

t.test('a neighbour is not taken for silent between its turns', async (t) => {
  const others = [...'BCDEFGHI']
  const household = new Household('gossip', others.map((id) => `A${id}`).join(' '), {}, dice())
  household.until(60_000)
  t.equal(household.knows('B', 60_000).includes('A1'), true)
})
