import t from 'tap'
import { runFaults } from '../../src/simulator/faults.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'

t.test('without faults none is lost, and all come to an end', async (t) => {
  const strategy = STRATEGIES.get('kappa')!
  let shipped = 0
  let farther = 0
  for (let seed = 1; seed <= 12; seed++) {
    const report = runFaults({ seed, peers: 16, strategy, calm: true })
    t.match(report.outcomes, { killed: 0, lost: 0, orphaned: 0 }, `seed ${seed}`)
    shipped += report.shipped
    farther += report.farther
  }
  t.ok(shipped > 100, `${shipped} shipped`)
  t.ok(farther > 50, `${farther} over more than one hop`)
})
