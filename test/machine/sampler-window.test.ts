import t from 'tap'
import { MachineSampler } from '../../src/machine/sampler.ts'
import { emptyFixture } from './fixture.ts'

/** Two CPUs that have been busy and idle for so many jiffies in all, half of it on each. */
function stat(busy: number, idle: number, running = 1): string {
  const cpu = (number: number) => `cpu${number} ${busy / 2} 0 0 ${idle / 2} 0 0 0 0 0 0\n`
  return `cpu  ${busy} 0 0 ${idle} 0 0 0 0 0 0\n${cpu(0)}${cpu(1)}procs_running ${running}\n`
}

t.test('the first sample takes runnable tasks for busy cores', async (t) => {
  const fixture = emptyFixture(t)
  fixture.set('proc/stat', stat(1000, 9000, 2))
  const { idleCores, runnable } = new MachineSampler(fixture).sample(50, [])
  t.strictSame({ idleCores, runnable }, { idleCores: 1, runnable: 1 })
})

t.test('a sample soon after another looks back one window, not a moment', async (t) => {
  const fixture = emptyFixture(t)
  const sampler = new MachineSampler(fixture)
  const sampleAt = (atMs: number, busy: number, idle: number) => {
    fixture.set('proc/stat', stat(busy, idle))
    return sampler.sample(atMs, []).idleCores
  }
  sampleAt(0, 0, 0)
  t.equal(sampleAt(1000, 100, 100), 1)
  t.equal(sampleAt(1200, 140, 100), (100 / 240) * 2, '1200 ms are nearer to the window than 200')
  t.equal(sampleAt(1210, 142, 100), (100 / 242) * 2)
  t.equal(sampleAt(2000, 142, 258), (158 / 200) * 2, 'since 1000')
})

t.test('samples in quick succession keep a whole window', async (t) => {
  const fixture = emptyFixture(t)
  const sampler = new MachineSampler(fixture)
  let idleCores = 0
  for (let atMs = 0; atMs <= 5000; atMs += 10) {
    // busy until 4000, idle since
    const busy = Math.min(atMs, 4000) / 5
    fixture.set('proc/stat', stat(busy, atMs / 5 - busy))
    idleCores = sampler.sample(atMs, []).idleCores
  }
  t.equal(idleCores, 2, 'one window after the end of the load')
})

t.test('no time passed: the earlier reading or the instant', async (t) => {
  const fixture = emptyFixture(t)
  fixture.set('proc/stat', stat(100, 100, 2))
  const sampler = new MachineSampler(fixture)
  sampler.sample(1000, [])
  t.equal(sampler.sample(1000, []).idleCores, 1)
})

t.test('counters that fall and CPUs that come and go are no load', async (t) => {
  const fixture = emptyFixture(t)
  fixture.set('proc/stat', stat(1000, 9000))
  const sampler = new MachineSampler(fixture)
  sampler.sample(0, [])
  fixture.set('proc/stat', 'cpu0 400 0 0 4600 0 0 0 0 0 0\ncpu7 5 0 0 5 0 0 0 0 0 0\nprocs_running 1\n')
  const { cores, idleCores } = sampler.sample(1000, [])
  t.strictSame({ cores, idleCores }, { cores: 2, idleCores: 2 })
})

t.test('runnable tasks are smoothed exponentially over the window, less this process', async (t) => {
  const fixture = emptyFixture(t)
  const sampler = new MachineSampler({ ...fixture, windowMs: 500 })
  const sampleAt = (atMs: number, running: number) => {
    fixture.set('proc/stat', stat(atMs / 10, atMs / 10, running))
    return sampler.sample(atMs, []).runnable
  }
  t.equal(sampleAt(0, 1), 0)
  t.equal(sampleAt(500, 3), 2 * (1 - Math.exp(-1)))
  t.equal(sampleAt(500, 9), 2 * (1 - Math.exp(-1)), 'no time, no weight')
  t.ok(sampleAt(10_000, 1) < 1e-6)
})

t.test('limits that change and a move to another cgroup are seen', async (t) => {
  const fixture = emptyFixture(t)
  fixture.set('proc/stat', stat(0, 0))
  fixture.set(`proc/self/cgroup`, '0::/a\n')
  fixture.set('proc/self/mountinfo', '34 23 0:29 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n')
  fixture.set('cgroup/a/cpu.max', '50000 100000\n')
  fixture.set('cgroup/b/cpu.max', '10000 100000\n')
  const sampler = new MachineSampler(fixture)
  t.equal(sampler.sample(0, []).cores, 0.5)
  fixture.set('cgroup/a/cpu.max', '70000 100000\n')
  t.equal(sampler.sample(1000, []).cores, 0.7, 'a limit at once')
  fixture.set('proc/self/cgroup', '0::/b\n')
  t.equal(sampler.sample(10_000, []).cores, 0.1, 'a move within ten windows')
})

t.test('how often a quota that is less than the CPUs was used up since that was asked last', async (t) => {
  const fixture = emptyFixture(t)
  const sampler = new MachineSampler(fixture)
  const group = 'cgroup/cpu/house'
  fixture.set('proc/self/cgroup', '3:cpu,cpuacct:/house\n')
  fixture.set('proc/self/mountinfo', '31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n')
  fixture.set('proc/stat', stat(0, 0))
  fixture.set(`${group}/cpu.cfs_period_us`, '100000\n')
  const useAt = (atMs: number, quotaUs: number, periods: number, throttled: number) => {
    fixture.set(`${group}/cpu.cfs_quota_us`, `${quotaUs}\n`)
    fixture.set(`${group}/cpu.stat`, `nr_periods ${periods}\nnr_throttled ${throttled}\nthrottled_time 1\n`)
    fixture.set(`${group}/cpuacct.usage`, `${atMs * 200_000}\n`)
    sampler.sample(atMs, [])
    return sampler.quotaUse()
  }
  t.strictSame(useAt(0, 50_000, 100, 40), { cores: 0.5, usedUp: 0, others: 0 }, 'nothing to compare with')
  t.strictSame(useAt(1000, 50_000, 110, 48), { cores: 0.5, usedUp: 0.8, others: 0.2 })
  t.strictSame(useAt(2000, 150_000, 110, 48), { cores: 1.5, usedUp: 0, others: 0.2 }, 'no period in which anything ran')
  t.equal(useAt(3000, 200_000, 120, 50), undefined, 'as much as there are CPUs: priority holds')
  t.equal(useAt(4000, -1, 120, 50), undefined)
  fixture.set('proc/stat', 'cpu0 0 0 0 0 0 0 0 0 0 0\n')
  t.equal(useAt(5000, 50_000, 130, 60), undefined, 'on one CPU as well')
})
