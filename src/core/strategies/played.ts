import { Placement } from '../placement.ts'
import type { Chooser, Strategy } from './strategy.ts'

type About = Pick<Strategy, 'name' | 'information' | 'description'> & { pulls?: true }

/** A strategy that the engine plays: it chooses, `create` being called once for each peer, and `Placement` does the rest. */
export function played(about: About, create: () => Chooser): Strategy {
  return {
    pulls: false,
    ...about,
    create: () => {
      const chooser = create()
      return (order, now, around) => new Placement(order, now, around, chooser)
    }
  }
}
