import t from 'tap'
import type { Lack } from '../../src/core/needs.ts'
import type { PlacementTrace, PlaceRequest } from '../../src/core/types.ts'
import { whyNobody } from '../../src/daemon/nobody.ts'

const REQUEST: PlaceRequest = {
  needs: { demand: 1, memoryBytes: 1, mode: 'plain', tools: [], labels: [] },
  local: false,
  remote: false,
  on: [],
  not: [],
  wait: false,
  transferFactor: 1
}

function says(
  request: Partial<PlaceRequest>,
  trace: Partial<PlacementTrace> = {},
  paired = true,
  lackHere?: Lack
): string {
  const whole = { reason: '', candidates: [], hops: [], refusals: [], placedMs: 1, ...trace }
  const asked = { id: 'j7f', request: { ...REQUEST, ...request }, trace: whole, self: 'me', paired, lackHere }
  return whyNobody({ ...asked, nameOf: (peer) => peer.toUpperCase() })
}

const candidate = (peer: string, lacks?: string) => ({
  peer,
  metric: 1,
  hops: 1,
  ageMs: 1,
  ...(lacks === undefined ? {} : { lacks })
})

t.test('each machine is named once, with its last word; this one comes last', async (t) => {
  const candidates = [candidate('me', 'has no gpu'), candidate('nas', '2 MiB left'), candidate('attic', 'is arm64')]
  const refusals = [{ peer: 'nas', code: 'memory', reason: '1 MiB left' }]
  t.equal(
    says({}, { candidates, refusals }),
    'nobody could take the job: NAS: 1 MiB left; ATTIC: is arm64; this machine: has no gpu. ' +
      'Wait for a free one with --wait, or see: kappa why j7f'
  )
  t.match(says({ wait: true }, { candidates, refusals }), /has no gpu\. Ask for less, or see/)
})

t.test('who was only passed on the way says what it lacks', async (t) => {
  const refusals = [{ peer: 'nas', code: 'not-better', reason: 'found nobody better' }]
  t.match(says({}, { refusals, candidates: [candidate('nas', 'has no gpu')] }), /: NAS: has no gpu\. /)
  t.match(says({}, { refusals }), /: NAS: found nobody better\. /)
})

t.test('a line tells of six; the rest is told by why', async (t) => {
  const candidates = Array.from({ length: 9 }, (_, index) => candidate(`m${index}`, 'is away'))
  t.match(says({}, { candidates }), /M5: is away; 3 more\. /)
})

t.test('the next step is one that may help', async (t) => {
  const candidates = [candidate('nas', 'not connected')]
  t.match(
    says({ remote: true }, { candidates }),
    /: not connected\. Start kappa on NAS, run it here with --local, or see/
  )
  const lack: Lack = { code: 'label', reason: 'has no label gpu' }
  t.match(says({ on: ['nas'] }, { candidates }, true, lack), /: not connected\. Start kappa on NAS, or see/)
  t.match(says({ on: ['nas'] }, { candidates: [candidate('nas', 'has no gpu')] }, true, lack), /Ask for less, or see/)
  t.match(says({}, { candidates: [candidate('me', 'has no gpu')] }, false), /has no gpu\. Pair one with: kappa pair/)
})

t.test('when the words of the user leave nobody, that is said', async (t) => {
  t.match(says({ remote: true }, {}, false), /: no machine is paired with this one yet\. /)
  t.match(says({ remote: true }), /: no paired machine is connected\. /)
  t.match(says({ remote: true, on: ['me'] }), /: --on names this machine alone, and --remote forbids it\. /)
  t.match(says({ not: ['me', 'nas'] }), /: --not excludes ME, NAS, and nobody else is connected\. Run it here/)
  t.match(says({ remote: true, not: ['nas'] }), /: --not excludes NAS, --remote this machine, and nobody else is /)
  t.match(says({ on: ['nas'], not: ['nas', 'me'] }), /: --not excludes NAS, and nobody else is connected\. /)
})
