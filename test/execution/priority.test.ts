import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import t from 'tap'
import { autogroupsMatter } from '../../src/execution/autogroup.ts'
import { GROUP_NAME, GuestGroup, ownGroupOf } from '../../src/execution/guest-group.ts'
import { needs } from '../require.ts'
import { place, processesWith, sandboxed, sh, specOf, uniqueSeconds, until } from './executing.ts'

const MOUNTS_V1 = `31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw`

const MOUNTS = readFileSync('/proc/self/mountinfo', 'latin1')

t.test('the CPU cgroup is found in both versions, also from within a container', (t) => {
  const v1 = '5:cpu,cpuacct:/user.slice\n1:name=systemd:/user.slice\n0::/user.slice\n'
  t.same(ownGroupOf('cpu', v1, MOUNTS_V1), { version: 1, path: '/sys/fs/cgroup/cpu,cpuacct/user.slice' })
  const container = '31 24 0:27 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu'
  t.same(ownGroupOf('cpu', '5:cpu:/docker/abc/inner\n', container), { version: 1, path: '/sys/fs/cgroup/cpu/inner' })
  const root = place(t)
  mkdirSync(`${root}/a.service`)
  const v2 = (path: string) => ownGroupOf('cpu', `0::${path}\n`, `30 24 0:26 / ${root} rw - cgroup2 cgroup2 rw`)
  t.equal(v2('/a.service'), null, 'without a CPU controller')
  writeFileSync(`${root}/a.service/cgroup.controllers`, 'cpuset cpu io\n')
  t.same(v2('/a.service'), { version: 2, path: `${root}/a.service` })
  t.same(v2('/a.service/kappa-daemon'), { version: 2, path: `${root}/a.service` }, 'where an older daemon moved itself')
  t.equal(ownGroupOf('cpu', '', ''), null)
  t.end()
})

t.test('a cgroup that is not this process alone is left as it is', (t) => {
  const path = place(t)
  writeFileSync(`${path}/cgroup.procs`, '1\n2\n')
  writeFileSync(`${path}/cgroup.subtree_control`, '')
  t.equal(
    GuestGroup.open(true, () => ({ version: 2, path })),
    null
  )
  t.equal(
    GuestGroup.open(true, () => ({ version: 1, path: `${path}/missing` })),
    null
  )
  t.end()
})

t.test('a delegated cgroup is parted in two, guests with the least weight', (t) => {
  const path = place(t)
  writeFileSync(`${path}/cgroup.procs`, `${process.pid}\n`)
  writeFileSync(`${path}/cgroup.subtree_control`, '')
  const group = GuestGroup.open(true, () => ({ version: 2, path }))
  t.same(group?.procs, [`${path}/${GROUP_NAME}/cgroup.procs`])
  t.equal(readFileSync(`${path}/kappa-daemon/cgroup.procs`, 'utf8'), String(process.pid))
  t.equal(readFileSync(`${path}/cgroup.subtree_control`, 'utf8'), '+pids', 'the last controller that was asked for')
  t.equal(readFileSync(`${path}/${GROUP_NAME}/cpu.weight`, 'utf8'), '2')
  t.end()
})

t.test("guests' sessions have the least share of the CPU", async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const idle = await executor.begin(specOf(['true']))
  const around = processesWith(idle.directory.split('/').at(-2)!)
  const grouped = around.map((pid) => readFileSync(`/proc/${pid}/cgroup`, 'latin1').includes(GROUP_NAME))
  await idle.close()
  if (grouped[0]) {
    t.ok(
      grouped.every((inside) => inside),
      'all of a cell is in the group'
    )
    return
  }
  if (!needs(t, autogroupsMatter(), 'a cgroup of its own, or autogroups')) return
  const seconds = uniqueSeconds()
  const job = await executor.begin(specOf(['sh', '-c', `setsid sleep ${seconds} & sleep ${seconds}`]))
  job.start()
  await until(t, 'all sessions are lowered', () => {
    const sleeping = processesWith(`sleep\0${seconds}`)
    return (
      sleeping.length === 2 &&
      sleeping.every((pid) => readFileSync(`/proc/${pid}/autogroup`, 'latin1').endsWith('nice 19\n'))
    )
  })
  await job.close()
})

t.test('the owner may let guests compete as equals', async (t) => {
  const lowest = await sandboxed(t)
  const equal = await sandboxed(t, { nice: 0 })
  if (lowest === null || equal === null) return
  t.equal(await sh(lowest, 'nice'), '19')
  t.equal(await sh(equal, 'nice'), String(getPriority()))
  const job = await equal.begin(specOf(['true']))
  const around = processesWith(job.directory.split('/').at(-2)!)
  const weighed = (pid: number | string) => ownGroupOf('cpu', readFileSync(`/proc/${pid}/cgroup`, 'latin1'), MOUNTS)
  t.ok(around.length > 0)
  for (const pid of around) t.same(weighed(pid), weighed('self'))
  await job.close()
})

t.test("a guest does not have the daemon's session keyring", async (t) => {
  const perl = '/usr/bin/perl'
  if (!needs(t, existsSync(perl) && process.arch === 'x64', 'perl, to look at keyrings')) return
  const executor = await sandboxed(t)
  if (executor === null) return
  const KEYCTL_GET_KEYRING_ID = 0
  const SESSION = -3
  const look = `print syscall(250, ${KEYCTL_GET_KEYRING_ID}, ${SESSION}, 1)`
  const ours = execFileSync(perl, ['-e', look]).toString()
  t.not(await sh(executor, `perl -e '${look}'`), ours)
})
