/** What a machine lacks for a job, as far as its record shows. Programs on its PATH don't show there: it checks those itself. */

import type { MachineRecord, Needs } from './types.ts'

/** Why a machine is out: a stable word for programs, a phrase for people that follows the machine's name and a colon. */
export interface Lack {
  code: 'paused' | 'class' | 'mode' | 'label' | 'tool' | 'command' | 'too-small' | 'memory' | 'slots'
  reason: string
}

/**
 * What keeps the machine from taking the job as a guest, or undefined. What will not change by waiting comes after the
 * owner's word and before memory and slots, so that the first lack found is the one worth telling.
 */
export function lackForGuest(record: MachineRecord, needs: Needs): Lack | undefined {
  if (record.refuses !== undefined) return { code: 'paused', reason: record.refuses }
  const fixed = lackOfKind(record, needs)
  if (fixed !== undefined) return fixed
  const mode = lackOfMode(record, needs)
  if (mode !== undefined) return mode
  if (needs.terminal && !record.class.modes.includes('pty')) {
    return { code: 'mode', reason: `can't give a job a terminal (-T: without one)` }
  }
  const small = lackOfSize(record.memoryTotal - record.memoryFloor, needs, 'for guests at most')
  if (small !== undefined) return small
  const free = record.memoryAvailable - record.memoryPromised - record.memoryFloor
  if (free < needs.memoryBytes) {
    return {
      code: 'memory',
      reason: `${memory(free)} of memory left for guests, ${memory(needs.memoryBytes)} needed`
    }
  }
  const wanted = slotsWanted(needs.demand, record.slots)
  if (record.slots <= 0) return { code: 'slots', reason: 'lends no slots' }
  if (thousandths(record.guestDemand + wanted) > Math.floor(record.slots * 1000 + ROUNDING)) {
    return {
      code: 'slots',
      reason: `${cores(record.guestDemand)} of ${cores(record.slots)} slots taken, ${cores(wanted)} needed`
    }
  }
  return undefined
}

function lackOfMode({ class: { modes, noFiles } }: MachineRecord, { mode, programs }: Needs): Lack | undefined {
  if (!modes.includes(mode)) {
    const reason =
      mode === 'files' && noFiles !== undefined ? `plain only, ${noFiles}` : `can't run jobs in ${mode} mode`
    return { code: 'mode', reason }
  }
  if (programs === undefined || modes.includes('programs')) return undefined
  return { code: 'mode', reason: "can't show jobs its own programs beside home's files" }
}

/** What keeps home itself from running its own job: only what no waiting and no sharing can mend. */
export function lackForHome(record: MachineRecord, needs: Needs, hasTool: (name: string) => boolean): Lack | undefined {
  return lackOfKind(record, needs) ?? lackOfTool(needs, hasTool) ?? lackOfSize(record.memoryTotal, needs, 'in all')
}

/** More memory than the machine has is had by no waiting. A record of nobody that was measured tells of none. */
function lackOfSize(most: number, needs: Needs, of: string): Lack | undefined {
  if (most <= 0 || needs.memoryBytes <= most) return undefined
  return { code: 'too-small', reason: `has ${memory(most)} of memory ${of}, ${memory(needs.memoryBytes)} needed` }
}

/** What the owner lets that home run; undefined: anything. */
export function lackOfCommand(forbidden: string | undefined): Lack | undefined {
  return forbidden === undefined ? undefined : { code: 'command', reason: forbidden }
}

/** Programs that must be on PATH and aren't. */
export function lackOfTool(needs: Needs, hasTool: (name: string) => boolean): Lack | undefined {
  const missing = needs.tools.find((tool) => !hasTool(tool))
  return missing === undefined ? undefined : { code: 'tool', reason: `has no ${missing}` }
}

/** True when waiting may help. */
export function isPassing(code: string): boolean {
  return code === 'slots' || code === 'memory'
}

/**
 * Slots that a job holds, in whole thousandths of a core so that sums are exact: its demand, but never more than there are,
 * else a machine of 8 slots could never take `make -j16`, which it runs well. It then holds all of them.
 */
export function slotsWanted(demand: number, slots: number): number {
  return Math.max(1, Math.min(Math.ceil(demand * 1000 - ROUNDING), Math.floor(slots * 1000 + ROUNDING))) / 1000
}

/** Sums of these are exact. */
function thousandths(cores: number): number {
  return Math.round(cores * 1000)
}

/** What floating point may be off by. */
const ROUNDING = 1e-6

function lackOfKind(record: MachineRecord, needs: Needs): Lack | undefined {
  const is = record.class
  const wants = needs.class ?? {}
  if (wants.os !== undefined && wants.os !== is.os) return classLack(`runs ${is.os}, ${wants.os} needed`)
  if (wants.arch !== undefined && wants.arch !== is.arch) {
    const hint = needs.mode === 'files' ? " for home's programs (--tools target: it takes its own)" : ''
    return classLack(`is ${is.arch}, ${wants.arch} needed${hint}`)
  }
  if (wants.cpuLevel !== undefined && is.cpuLevel < wants.cpuLevel) {
    return classLack(`has x86-64-v${is.cpuLevel}, x86-64-v${wants.cpuLevel} needed`)
  }
  if (wants.pageSize !== undefined && wants.pageSize !== is.pageSize) {
    return classLack(`has pages of ${is.pageSize} bytes, ${wants.pageSize} needed`)
  }
  const label = needs.labels.find((name) => !record.labels.includes(name))
  return label === undefined ? undefined : { code: 'label', reason: `has no label ${label}` }
}

function classLack(reason: string): Lack {
  return { code: 'class', reason }
}

/** Whole MiB, from 10 GiB on tenths of GiB. */
function memory(bytes: number): string {
  const most = Math.max(0, bytes)
  if (most < 10 * 2 ** 30) return `${Math.floor(most / 2 ** 20)} MiB`
  return `${Math.floor(most / (2 ** 30 / 10)) / 10} GiB`
}

function cores(count: number): string {
  return String(Math.round(count * 100) / 100)
}
