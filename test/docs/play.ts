/** Plays a state × event table of docs/protocol.md against the code. */

import { outcomeOf, type Table } from './markdown.ts'

/** How a thing is brought into each state, what its events are, and how its state is told. */
export interface Play<World> {
  states: Record<string, () => World | Promise<World>>
  /** Applies the event; returns its effects, in the words of the table. */
  events: Record<string, (world: World) => string[] | Promise<string[]>>
  /** The world is not used afterwards. */
  stateOf(world: World): string
}

/** One line for each cell that is not what the code does, or has no counterpart; none when all is well. */
export async function problemsOf<World>(table: Table, play: Play<World>): Promise<string[]> {
  const states = table.head.slice(1)
  const events = table.rows.map(([event]) => event!)
  const problems = [
    ...missing('state', states, Object.keys(play.states)),
    ...missing('event', events, Object.keys(play.events))
  ]
  if (problems.length > 0) return problems
  for (const state of states) {
    const made = play.stateOf(await play.states[state]!())
    if (made !== state) problems.push(`what should be ${state} is ${made}`)
  }
  for (const [event, ...cells] of table.rows) {
    if (cells.length !== states.length) problems.push(`${event}: ${cells.length} cells for ${states.length} states`)
    for (const [index, state] of states.entries()) {
      const told = outcomeOf(cells[index] ?? '', state)
      const world = await play.states[state]!()
      const effects = await play.events[event!]!(world)
      const is = play.stateOf(world)
      if (told.state === is && told.effects.join() === effects.join()) continue
      problems.push(`${state} × ${event}: told ${cells[index]}, is ${cellOf(state, is, effects)}`)
    }
  }
  return problems
}

function cellOf(before: string, after: string, effects: string[]): string {
  if (before === after) return effects.join(', ') || '–'
  return effects.length === 0 ? `→ ${after}` : `→ ${after}: ${effects.join(', ')}`
}

function missing(what: string, told: string[], known: string[]): string[] {
  return [
    ...told.filter((name) => !known.includes(name)).map((name) => `${what} ${name} is told and not known`),
    ...known.filter((name) => !told.includes(name)).map((name) => `${what} ${name} is known and not told`),
    ...told.filter((name, index) => told.indexOf(name) !== index).map((name) => `${what} ${name} is told twice`)
  ]
}
