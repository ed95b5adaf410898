/**
 * How much CPU time guests get where priority doesn't keep them down: under a CPU quota of less than the CPUs, where they
 * use it up beside the owner's tasks on other CPUs, whatever their weight. As nothing tells how much the owner's tasks would
 * like to have, the guests yield fast as long as the quota is used up while others are there, and come back more slowly.
 */

/** Part of the quota that guests keep, so that none of them starves. */
const LEAST = 0.02
/** Part of the periods in which a quota is used up when it holds somebody up. */
const USED_UP = 0.25
const YIELD = 1 / 4
const COME_BACK = 2

export class GuestLimit {
  /** Cores that all guests together may use; undefined: as many as there are. */
  cores: number | undefined

  /**
   * Once a second.
   *
   * @param quota - undefined: none binds, or priority holds
   * @param others - whether anybody but guests runs here
   */
  update(quota: { cores: number; usedUp: number } | undefined, others: boolean): number | undefined {
    if (quota === undefined || !others) this.cores = undefined
    else if (quota.usedUp >= USED_UP) {
      this.cores = Math.max(quota.cores * LEAST, Math.min(this.cores ?? quota.cores, quota.cores) * YIELD)
    } else if (this.cores !== undefined) {
      this.cores *= COME_BACK
      if (this.cores >= quota.cores) this.cores = undefined
    }
    return this.cores
  }
}
