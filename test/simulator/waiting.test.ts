import t from 'tap'
import { machineOf } from '../../src/simulator/scenario.ts'
import { Simulation } from '../../src/simulator/simulation.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'
import { edgesOf } from '../../src/simulator/topology.ts'
import { requestFor } from '../../src/simulator/workload.ts'

t.test('two homes at once, 20 one-core jobs that wait, three hosts of two slots: all run, each once', async (t) => {
  const simulation = new Simulation({
    seed: 1,
    machines: [1, 1, 1].map((speed) => ({ ...machineOf(2, speed), slots: 2 })),
    edges: edgesOf('clique', 3, () => 0),
    quality: { delayMs: 1, jitterMs: 1 },
    strategy: STRATEGIES.get('kappa')!,
    clockDrift: 0,
    startTimeoutMs: 2_000
  })
  for (let index = 0; index < 20; index++) {
    const order = { at: 5_000, home: index % 2, workMs: 500, request: requestFor(1, { wait: true }) }
    simulation.time.at(order.at, () => simulation.submit(order))
  }
  simulation.runToEnd(30_000)
  t.same(
    [...simulation.jobs].map(({ runs, outcomes }) => [runs, ...outcomes]),
    [...simulation.jobs].map(() => [1, 'exited'])
  )
  t.ok([...simulation.jobs].some(({ target }) => target === 2))
})
