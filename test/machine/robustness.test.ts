import fc from 'fast-check'
import t from 'tap'
import {
  parseCgroupMounts,
  parseCpuMax,
  parseKey,
  parseMemberships,
  parseNumber,
  placeOf
} from '../../src/machine/cgroup.ts'
import { machineClass } from '../../src/machine/class.ts'
import { OwnProcesses } from '../../src/machine/own-processes.ts'
import {
  parseAffinity,
  parseAuxv,
  parseCpuLevel,
  parseCpuModel,
  parseMeminfo,
  parseNumberList,
  parseStat,
  parseTaskStat
} from '../../src/machine/proc-parse.ts'
import { ProcReader } from '../../src/machine/proc-reader.ts'
import { type LoadSample, MachineSampler } from '../../src/machine/sampler.ts'
import { emptyFixture, openFixture } from './fixture.ts'

/** Random text, and real lines with random damage. */
const garbage = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .tuple(
      fc.constantFrom(
        'cpu0 1 2 3 4 5 6 7 8 9 0\nprocs_running 3\n',
        'MemTotal:       16 kB\nMemAvailable:   32 kB\n',
        '20 (a) b) R 1 20 20 0 -1 4 9 0 0 0 1 2 3 4 20 0 1 0 5000 1 1\n',
        '4:cpu,cpuacct:/docker/1\n0::/a/b\n',
        '34 23 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n',
        '50000 100000\n',
        'Cpus_allowed_list:\t0-3,9\n'
      ),
      fc.nat(200),
      fc.string({ unit: 'binary', maxLength: 6 })
    )
    .map(([line, at, noise]) => line.slice(0, at) + noise + line.slice(at))
)

function assertSound(sample: LoadSample): void {
  const { cores, idleCores, runnable, memoryTotal, memoryAvailable } = sample
  const sound =
    cores > 0 &&
    Number.isFinite(cores) &&
    idleCores >= 0 &&
    idleCores <= cores &&
    runnable >= 0 &&
    Number.isFinite(runnable) &&
    memoryAvailable >= 0 &&
    memoryAvailable <= memoryTotal &&
    Number.isFinite(memoryTotal)
  if (!sound) throw new Error(`unsound: ${JSON.stringify(sample)}`)
}

t.test('no parser throws', async (t) => {
  fc.assert(
    fc.property(garbage, garbage, (text, other) => {
      parseStat(text)
      parseMeminfo(text)
      parseTaskStat(text)
      parseAffinity(text)
      parseNumberList(text)
      parseCpuLevel(text)
      parseCpuModel(text)
      parseAuxv(Buffer.from(text))
      parseCpuMax(text)
      parseNumber(text)
      parseKey(text, 'usage_usec')
      for (const controller of ['cpu', 'cpuacct', 'memory'] as const) {
        placeOf(controller, parseMemberships(text), parseCgroupMounts(other))
      }
    }),
    { numRuns: 2000 }
  )
  t.ok(parseNumberList('0-99999999').length <= 16384, 'lists are bounded')
})

t.test('nothing to read: the documented fallback', async (t) => {
  const fixture = emptyFixture(t)
  const sampler = new MachineSampler(fixture)
  const nothing = { cores: 1, idleCores: 0, runnable: 0, memoryTotal: 0, memoryAvailable: 0 }
  t.strictSame(sampler.sample(0, [1, 2]), nothing)
  t.strictSame(sampler.sample(1000, []), nothing)
  t.match(machineClass([], fixture.procRoot), { cpuLevel: 0, pageSize: 4096 })
  t.strictSame(new OwnProcesses(new ProcReader(fixture.procRoot), 1).read([1], 1).cpuTicks, 0)
})

const FILES = [
  'proc/stat',
  'proc/meminfo',
  'proc/50/cgroup',
  'proc/50/mountinfo',
  'proc/50/status',
  'proc/50/stat',
  'proc/60/stat',
  'proc/60/task/60/children',
  'cgroup/cpu/lab/cpu.cfs_quota_us',
  'cgroup/cpu/lab/cgroup.procs',
  'cgroup/cpuacct/lab/cpuacct.usage',
  'cgroup/memory/lab/memory.limit_in_bytes',
  'cgroup/memory/lab/memory.usage_in_bytes'
]

t.test('files that are missing, empty or garbled, while sampling: a sound sample, never a throw', async (t) => {
  const damage = fc.array(fc.tuple(fc.constantFrom(...FILES), fc.option(garbage, { nil: undefined })), { maxLength: 6 })
  const moments = fc.array(fc.tuple(fc.nat(3000), damage), { maxLength: 5 })
  const fixture = openFixture(t, 'hybrid')
  const originals = new ProcReader(fixture.procRoot)
  const contents = FILES.map((file) => [file, originals.text(`../${file}`)] as const)
  fc.assert(
    fc.property(moments, (steps) => {
      for (const [file, content] of contents) fixture.set(file, content)
      const sampler = new MachineSampler(fixture)
      assertSound(sampler.sample(0, [60]))
      let nowMs = 0
      for (const [stepMs, damaged] of steps) {
        for (const [file, content] of damaged) fixture.set(file, content)
        assertSound(sampler.sample((nowMs += stepMs), [60, 61, 12345]))
      }
    }),
    { numRuns: 150 }
  )
})
