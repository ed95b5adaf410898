/** A job at home, from its ticket on. */

import { ALREADY_STARTED, type HomeEvent, HomeJob } from '../../src/core/home-job.ts'
import { TICKET_VALID_MS } from '../../src/core/reservations.ts'
import { HELD_LOST_AFTER_MS, LOST_AFTER_MS, START_TIMEOUT_MS } from '../../src/protocols/exec/constants.ts'
import type { Play } from './play.ts'

type Step = [number, HomeEvent]

/** Kept as what happened, so that its state can be found out by what would happen next. */
interface World {
  steps: Step[]
}

const EPOCH = 7
const end = { exitCode: 0, signal: null }
const SENT: Step = [1, { type: 'start-sent' }]
const STARTED: HomeEvent = { type: 'started' }
const CUT: HomeEvent = { type: 'disconnected' }
const CONNECTED: HomeEvent = { type: 'connected', epoch: EPOCH }
const REFUSED = { type: 'refused', epoch: EPOCH, code: 'paused', reason: 'its owner paused lending' } as const
const HELD: HomeEvent = { type: 'held', lostAfterMs: HELD_LOST_AFTER_MS }
const VOID: HomeEvent = { type: 'resolved', epoch: EPOCH, outcome: { state: 'void' } }

function played({ steps }: World): { job: HomeJob; actions: string[] } {
  const ticket = { id: 't1', target: 'nas', epoch: EPOCH, validMs: TICKET_VALID_MS }
  const job = new HomeJob({ ticket, now: 0, startTimeoutMs: START_TIMEOUT_MS, lostAfterMs: LOST_AFTER_MS })
  let actions: string[] = []
  for (const [now, event] of steps) actions = job.handle(event, now).map(({ type }) => type.replace('-', ' '))
  return { job, actions }
}

function stateOf(world: World): string {
  const { state } = played(world).job
  if (state === 'exited' || state === 'lost' || state === 'free') return state
  const now = world.steps.at(-1)?.[0] ?? 0
  if (played({ steps: [...world.steps, [now, CUT]] }).job.state === 'free') return 'ready'
  const due = played(world).job.nextTimer()
  if (state === 'running') return due === undefined ? 'running' : 'hanging'
  return due !== undefined && due - now <= START_TIMEOUT_MS ? 'asking' : 'cut'
}

const after =
  (now: number, event: HomeEvent) =>
  (world: World): string[] => {
    world.steps.push([now, event])
    return played(world).actions
  }

/** What the last of several does. */
const last =
  (...acts: ((world: World) => string[])[]) =>
  (world: World): string[] =>
    acts.map((act) => act(world)).at(-1)!

const at = (...steps: Step[]) => ({ steps: [...steps] })
const LATE = 3 + LOST_AFTER_MS

export const HOME_JOBS: Play<World> = {
  states: {
    ready: () => at(),
    asking: () => at(SENT),
    cut: () => at(SENT, [2, CUT]),
    running: () => at(SENT, [2, STARTED]),
    hanging: () => at(SENT, [2, STARTED], [3, CUT]),
    exited: () => at(SENT, [2, { type: 'ended', end }]),
    lost: () => at(SENT, [2, { ...CONNECTED, epoch: 8 }]),
    free: () => at(SENT, [2, REFUSED])
  },
  events: {
    'the start is handed over': after(3, { type: 'start-sent' }),
    started: after(3, STARTED),
    refused: after(3, REFUSED),
    'refused: already-started': after(3, { ...REFUSED, code: ALREADY_STARTED }),
    'refused, of another epoch': after(3, { ...REFUSED, epoch: 8 }),
    connected: after(3, CONNECTED),
    'connected, to another epoch': after(3, { type: 'connected', epoch: 8 }),
    disconnected: after(3, CUT),
    'resolved: running': after(3, { type: 'resolved', epoch: EPOCH, outcome: { state: 'running' } }),
    'resolved: ended': after(3, { type: 'resolved', epoch: EPOCH, outcome: { state: 'ended', end } }),
    'resolved: void': after(3, VOID),
    'resolved, of another epoch': after(3, { type: 'resolved', epoch: 8, outcome: { state: 'running' } }),
    end: after(3, { type: 'ended', end }),
    '2 s later': after(1 + START_TIMEOUT_MS, { type: 'timer' }),
    '13 s later': after(LATE, { type: 'timer' }),
    '13 s later: started': after(LATE, STARTED),
    '13 s later: connected': after(LATE, CONNECTED),
    '13 s later: resolved: void': after(LATE, VOID),
    '13 s later, held': last(after(3, HELD), after(LATE, { type: 'timer' })),
    '13 s later, held: connected': last(after(3, HELD), after(LATE, CONNECTED)),
    '13 s later, held and renewed': last(after(3, HELD), after(3, { type: 'renewed' }), after(LATE, { type: 'timer' }))
  },
  stateOf
}
