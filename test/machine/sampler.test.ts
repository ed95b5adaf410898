import t, { type Test } from 'tap'
import { machineClass } from '../../src/machine/class.ts'
import { parseCpuModel } from '../../src/machine/proc-parse.ts'
import { ProcReader } from '../../src/machine/proc-reader.ts'
import { MachineSampler, type MachineSamplerInit } from '../../src/machine/sampler.ts'
import { openFixture } from './fixture.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** The sample one second after the first, to nine digits. */
function secondSample(test: Test, name: string, roots: number[] = [], init: MachineSamplerInit = {}) {
  const fixture = openFixture(test, name)
  const sampler = new MachineSampler({ ...fixture, ...init })
  sampler.sample(0, roots)
  fixture.advanceTo(1000)
  const { cores, idleCores, runnable, memoryTotal, memoryAvailable } = sampler.sample(1000, roots)
  const round = (value: number) => Math.round(value * 1e9) / 1e9
  return { cores, idleCores: round(idleCores), runnable: round(runnable), memoryTotal, memoryAvailable }
}

t.test('bare: guest time is not added twice, iowait is idle', async (t) => {
  t.strictSame(secondSample(t, 'bare'), {
    cores: 8,
    idleCores: 6.5,
    runnable: 2,
    memoryTotal: 16213172 * KIB,
    memoryAvailable: 9000000 * KIB
  })
})

t.test('container-v1: the quota less what its own cgroup used; runnable tasks and memory are its own', async (t) => {
  t.strictSame(secondSample(t, 'container-v1'), {
    cores: 1.5,
    idleCores: 0.4,
    runnable: 3,
    memoryTotal: 2048 * MIB,
    memoryAvailable: 1024 * MIB
  })
})

t.test('container-v2: the quota is tighter than the CPUs it may use', async (t) => {
  t.strictSame(secondSample(t, 'container-v2'), {
    cores: 0.5,
    idleCores: 0.3,
    runnable: 0,
    memoryTotal: 512 * MIB,
    memoryAvailable: (512 - 256 + 32) * MIB
  })
})

t.test('container-v2 without its quota: only the CPUs that it may use count', async (t) => {
  const fixture = openFixture(t, 'container-v2')
  fixture.set('cgroup/cpu.max', 'max 100000\n')
  const sampler = new MachineSampler(fixture)
  sampler.sample(0, [])
  fixture.advanceTo(1000)
  const { cores, idleCores } = sampler.sample(1000, [])
  t.strictSame({ cores, idleCores }, { cores: 2, idleCores: 1.7 })
})

t.test('64-core', async (t) => {
  t.strictSame(secondSample(t, '64-core'), {
    cores: 64,
    idleCores: 24,
    runnable: 40,
    memoryTotal: 527000000 * KIB,
    memoryAvailable: 480000000 * KIB
  })
})

t.test('no-psi: memory without MemAvailable, iowait that falls', async (t) => {
  t.strictSame(secondSample(t, 'no-psi'), {
    cores: 4,
    idleCores: Math.round((367 / 397) * 4 * 1e9) / 1e9,
    runnable: 0,
    memoryTotal: 1900000 * KIB,
    memoryAvailable: 660000 * KIB
  })
})

t.test('steal-heavy: what the hypervisor took is neither idle nor ours', async (t) => {
  t.strictSame(secondSample(t, 'steal-heavy'), {
    cores: 2,
    idleCores: 0.7,
    runnable: 2,
    memoryTotal: 2000000 * KIB,
    memoryAvailable: 1200000 * KIB
  })
})

t.test('hybrid: the tightest of nested quotas, with tasks counted in its cgroup', async (t) => {
  const memory = { memoryTotal: 4096 * MIB, memoryAvailable: 3072 * MIB }
  t.strictSame(secondSample(t, 'hybrid'), { cores: 2, idleCores: 0.3, runnable: 2, ...memory })
  t.strictSame(
    secondSample(t, 'hybrid', [60]),
    { cores: 2, idleCores: 1.3, runnable: 1, ...memory },
    "kappa's own job is neither load nor competition"
  )
})

t.test('machine.cores limits like a quota, and takes its part of the machine-wide runnable tasks', async (t) => {
  const { cores, idleCores, runnable } = secondSample(t, '64-core', [], { cores: 16 })
  t.strictSame({ cores, idleCores, runnable }, { cores: 16, idleCores: 16, runnable: 10 })
})

t.test('class and CPU model', async (t) => {
  const expected: [name: string, cpuLevel: number, pageSize: number, model: string][] = [
    ['bare', 3, 4096, '13th Gen Intel(R) Core(TM) i5-1340P'],
    ['container-v1', 2, 4096, 'Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz'],
    ['64-core', 4, 4096, 'Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz'],
    ['no-psi', 0, 16384, '0x41/0xd03 0x41/0xd08'],
    ['steal-heavy', 1, 4096, 'QEMU Virtual CPU version 2.5+']
  ]
  for (const [name, cpuLevel, pageSize, model] of expected) {
    const { procRoot } = openFixture(t, name)
    t.strictSame(
      machineClass(['plain'], procRoot),
      { os: process.platform, arch: process.arch, cpuLevel, pageSize, modes: ['plain'] },
      name
    )
    t.equal(parseCpuModel(new ProcReader(procRoot).text('cpuinfo') ?? ''), model, name)
  }
})
