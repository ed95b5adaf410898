import t from 'tap'
import { nearest } from '../../src/daemon/suggestion.ts'

const COMMANDS = ['run', 'pair', 'unpair', 'peers', 'status', 'ps']

t.test('the nearest candidate, when one is near', async (t) => {
  t.equal(nearest('stauts', COMMANDS), 'status')
  t.equal(nearest('rnu', COMMANDS), 'run')
  t.equal(nearest('peer', COMMANDS), 'peers')
  t.equal(nearest('unpiar', COMMANDS), 'unpair')
  t.equal(nearest('explode', COMMANDS), undefined)
  t.equal(nearest('', COMMANDS), undefined)
  t.equal(nearest('x', []), undefined)
})
