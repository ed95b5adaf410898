import t, { type Test } from 'tap'
import { FRAME } from '../../src/daemon/control-codec.ts'
import type { NeighbourResult, PairResult, StatusResult } from '../../src/daemon/control-results.ts'
import { fakeDaemon, finished, kappa, kappaDir, startKappa } from './fake-daemon.ts'

const NAS: NeighbourResult = {
  ...{ name: 'nas', peerId: '12D3nas', kind: 'own', connected: true, metric: 80, trust: 1, roundTripMs: 0.4 },
  ...{ via: '/ip4/192.168.1.7/tcp/5277', traffic: null, version: '0.1.0', refuses: null, plainOnly: null }
}

function status(neighbours: Partial<NeighbourResult>[], changes: Partial<StatusResult> = {}): StatusResult {
  return {
    ...{
      name: 'desktop',
      peerId: '12D3desktop',
      version: '0.1.0',
      addresses: [],
      metric: 312,
      static: 1,
      refuses: null
    },
    ...{ load: { runnable: 0, idleCores: 4, cores: 4 }, slots: { total: 8, used: 0 }, plainOnly: null },
    placement: { strategy: 'kappa', information: 'max-propagation' },
    neighbours: neighbours.map((neighbour) => ({ ...NAS, ...neighbour })),
    reachable: [],
    lastJobs: [],
    ...changes
  } as StatusResult
}

async function alone(t: Test, told: StatusResult, names: string[] = []): Promise<string[]> {
  const directory = await fakeDaemon(t, { status: () => told, nearby: () => ({ names }) })
  const { code, stdout, stderr } = await kappa(directory, [])
  t.match({ code, stderr }, { code: 0, stderr: '' })
  return stdout.trimEnd().split('\n')
}

t.test('kappa alone starts nothing', async (t) => {
  t.match(await kappa(kappaDir(t), []), { code: 0, stdout: /kappa pair[\s\S]*kappa help/, stderr: '' })
})

t.test('kappa alone, not paired: who is near, and how to pair', async (t) => {
  t.strictSame(await alone(t, status([]), ['nas', 'pi\x1b']), [
    'No machine is paired yet.',
    'On this network kappa runs on nas, pi\\u{1b}, too.',
    'On this machine: kappa pair',
    'On the other one: kappa pair NAME, with the name that is shown here.',
    '',
    'All commands: kappa help'
  ])
  t.notMatch((await alone(t, status([]))).join('\n'), /network/)
})

t.test('kappa alone, paired: what is missing and what mends it, versions, what to try', async (t) => {
  t.match((await alone(t, status([{}]))).slice(0, 2), ['Paired with nas.', /^Try: kappa run /])
  const far = { connected: false, metric: null, version: '0.9.0', refuses: 'runs kappa 0.9.0, too new for 0.1.0 here' }
  const lines = await alone(
    t,
    status(
      [
        { plainOnly: 'plain only, no /dev/fuse; load the module' },
        { name: 'pi\x1b', connected: false, metric: null, version: null },
        { name: 'attic', version: '0.2.0' },
        { name: 'box', ...far }
      ],
      { refuses: "it can't run guests safely: no user namespaces; sudo sysctl -w x=1" }
    )
  )
  t.match(lines, [
    'Paired with nas, pi\\u{1b} (away), attic, box.',
    "this machine: it can't run guests safely: no user namespaces; to mend it: kappa doctor",
    'nas: plain only, no /dev/fuse; to mend it: kappa doctor nas',
    'box: runs kappa 0.9.0, too new for 0.1.0 here; to mend it: kappa doctor box',
    'attic runs kappa 0.2.0, this machine 0.1.0: they work together.',
    /^Try: kappa run/
  ])
})

const PAIRED: PairResult = { peerId: '12D3nas', name: 'nas', kind: 'own' }

t.test('pair: who is near while it waits; then what is missing, once the other machine has told', async (t) => {
  let asked = 0
  const near = Promise.withResolvers<void>()
  const directory = await fakeDaemon(t, {
    'pair-wait': async (connection) => {
      connection.tell(FRAME.event, { type: 'waiting', name: 'desktop', forMs: 300_000 })
      await near.promise
      return PAIRED
    },
    nearby: () => ({ names: ['nas'] }),
    status: () => {
      asked++
      const known = asked > 2 ? { plainOnly: 'plain only, no /dev/fuse' } : { metric: null }
      return status([{ name: 'other', peerId: '12D3other', plainOnly: 'plain only' }, known])
    }
  })
  const child = startKappa(directory, ['pair', '--own'])
  child.stderr!.on('data', (text) => String(text).includes('On this network') && near.resolve())
  const { code, stderr } = await finished(child)
  t.equal(code, 0)
  t.match(stderr.trim().split('\n'), [
    'Waiting for 5 min. On the other machine: kappa pair desktop',
    'On this network kappa runs on nas, too.',
    'Paired with nas, a machine of your own.',
    'nas: plain only, no /dev/fuse; to mend it: kappa doctor nas',
    /^Try: kappa run/
  ])
})

t.test('pair in a script: no more than that it is paired', async (t) => {
  const directory = await fakeDaemon(t, { 'pair-accept': () => PAIRED })
  const { code, stderr } = await kappa(directory, ['pair', '--yes', 'kappa:abc'])
  t.match({ code, stderr }, { code: 0, stderr: 'Paired with nas, a machine of your own.\nTry: kappa status\n' })
})
