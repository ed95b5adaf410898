/** Runs the checks of a machine and says what they found in words and commands. */

import { messageOf } from '../../errors.ts'
import type { CheckResult } from '../control-results.ts'
import { CHECKS, type Check, type CheckId, type Finding, type Probes } from './checks.ts'
import { type Circumstances, mend } from './mends.ts'

export interface Examination {
  checks: CheckResult[]
  /** What the daemon found at its start is out of date. */
  isNews: boolean
}

/** A check as people and scripts get it. */
export function told(
  { id, name, lost }: { id: string; name: string; lost: string },
  { verdict, found, mend: by }: Finding,
  circumstances: Circumstances
): CheckResult {
  const isFine = verdict === 'ok'
  return {
    id,
    name,
    verdict,
    found,
    lost: isFine ? null : lost,
    mend: isFine || by === undefined ? [] : mend(by.name, circumstances, by.values)
  }
}

/** All at once: what takes long waits. A probe that fails is a check that failed. */
export async function examine(probes: Probes, circumstances: Circumstances): Promise<Examination> {
  const findings = await Promise.all(CHECKS.map((check) => findingOf(check as Check<CheckId>, probes)))
  return {
    checks: CHECKS.map((check, index) => told(check, findings[index]!, circumstances)),
    isNews: findings.some(({ isNews }) => isNews === true)
  }
}

async function findingOf<Id extends CheckId>(check: Check<Id>, probes: Probes): Promise<Finding> {
  try {
    return check.judge(await probes[check.id]())
  } catch (error) {
    return { verdict: 'warning', found: `it could not be looked at: ${messageOf(error)}` }
  }
}
