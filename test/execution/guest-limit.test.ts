import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { GROUP_NAME, GuestGroup } from '../../src/execution/guest-group.ts'
import { GuestLimit } from '../../src/execution/guest-limit.ts'
import { place } from './executing.ts'

const HELD_UP = { cores: 1, usedUp: 0.9 }
const FREE = { cores: 1, usedUp: 0.1 }

t.test('guests yield while others are held up, to a fiftieth', async (t) => {
  const limit = new GuestLimit()
  t.equal(limit.update(FREE, true), undefined)
  t.same(
    [1, 2, 3, 4].map(() => limit.update(HELD_UP, true)),
    [1 / 4, 1 / 16, 0.02, 0.02]
  )
})

t.test('they come back while the others leave something, and at once when these are gone', async (t) => {
  const limit = new GuestLimit()
  limit.update(HELD_UP, true)
  t.same(
    [1, 2, 3].map(() => limit.update(FREE, true)),
    [0.5, undefined, undefined]
  )
  limit.update(HELD_UP, true)
  t.equal(limit.update(HELD_UP, false), undefined, 'guests alone may use it up')
  limit.update(HELD_UP, true)
  t.equal(limit.update(undefined, true), undefined, 'no quota')
})

t.test('the quota may change', async (t) => {
  const limit = new GuestLimit()
  limit.update({ cores: 4, usedUp: 1 }, true)
  t.equal(limit.cores, 1)
  t.equal(limit.update({ cores: 0.5, usedUp: 1 }, true), 0.125)
  t.equal(limit.update({ cores: 0.1, usedUp: 0 }, true), undefined)
})

t.test('the limit is put on the group of all guests', async (t) => {
  const v1 = place(t)
  const one = GuestGroup.open(true, () => ({ version: 1, path: v1 }))!
  const v1Quota = () => readFileSync(`${v1}/${GROUP_NAME}/cpu.cfs_quota_us`, 'utf8')
  one.limit(0.25)
  t.equal(v1Quota(), '25000')
  one.limit(0.001)
  t.equal(v1Quota(), '1000', 'the least that the kernel takes')
  one.limit(undefined)
  t.equal(v1Quota(), '-1')

  const v2 = place(t)
  writeFileSync(`${v2}/cgroup.procs`, `${process.pid}\n`)
  writeFileSync(`${v2}/cgroup.subtree_control`, 'cpu')
  const two = GuestGroup.open(true, () => ({ version: 2, path: v2 }))!
  const max = () => readFileSync(`${v2}/${GROUP_NAME}/cpu.max`, 'utf8')
  two.limit(1.5)
  t.equal(max(), '150000 100000')
  two.limit(undefined)
  t.equal(max(), 'max 100000')

  const path = place(t)
  const refused = GuestGroup.open(true, () => ({ version: 1, path }))!
  mkdirSync(`${path}/${GROUP_NAME}/cpu.cfs_quota_us`)
  refused.limit(1)
  t.pass('where it may not be set nothing happens')
})
