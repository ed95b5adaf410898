import type { MachineClass } from '../core/types.ts'
import { parseAuxv, parseCpuLevel } from './proc-parse.ts'
import { ProcReader } from './proc-reader.ts'

/** What this machine is for a job: system, architecture, CPU level, page size, and the modes that it offers to guests. */
export function machineClass(modes: string[], procRoot = '/proc'): MachineClass {
  const proc = new ProcReader(procRoot)
  return {
    os: process.platform,
    arch: process.arch,
    cpuLevel: parseCpuLevel(proc.text('cpuinfo') ?? ''),
    pageSize: parseAuxv(proc.bytes('self/auxv') ?? new Uint8Array()).pageSize,
    modes
  }
}
