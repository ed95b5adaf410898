import t, { type Test } from 'tap'
import { OwnProcesses } from '../../src/machine/own-processes.ts'
import { ProcReader } from '../../src/machine/proc-reader.ts'
import { emptyFixture, type Fixture, taskStat } from './fixture.ts'

const SELF = 10

/** Processes as numbers of jiffies by PID; children are listed as the kernel does unless `scan`. */
function machine(t: Test, scan = false) {
  const fixture: Fixture = emptyFixture(t)
  const children = new Map<number, number[]>()
  const write = (pid: number) => {
    if (!scan) fixture.set(`proc/${pid}/task/${pid}/children`, `${(children.get(pid) ?? []).join(' ')} `)
  }
  return {
    fixture,
    put(pid: number, task: Omit<Parameters<typeof taskStat>[0], 'pid'>) {
      fixture.set(`proc/${pid}/stat`, taskStat({ pid, ...task }))
      const siblings = children.get(task.parent) ?? []
      if (!siblings.includes(pid)) children.set(task.parent, [...siblings, pid])
      write(pid)
      write(task.parent)
    },
    end(pid: number, parent: number) {
      fixture.set(`proc/${pid}`, undefined)
      children.set(
        parent,
        children.get(parent)!.filter((child) => child !== pid)
      )
      write(parent)
    },
    open: () => new OwnProcesses(new ProcReader(fixture.procRoot), SELF)
  }
}

for (const scan of [false, true]) {
  t.test(`a whole tree counts, ${scan ? 'found by parents' : 'found by children'}`, async (t) => {
    const { put, open } = machine(t, scan)
    put(SELF, { parent: 1 })
    put(20, { parent: SELF, ticks: 1 })
    put(21, { parent: 20, ticks: 100, state: 'R' })
    put(22, { parent: 21, ticks: 50, reaped: 5, state: 'D' })
    put(30, { parent: SELF, ticks: 1000, state: 'R' })
    const own = open()
    const { cpuTicks, runnable, processes } = own.read([20], 0)
    t.strictSame({ runnable, processes: [...processes].sort() }, { runnable: 1, processes: [20, 21, 22] })
    put(21, { parent: 20, ticks: 130, state: 'S' })
    put(22, { parent: 21, ticks: 60, reaped: 5 })
    t.equal(own.read([20], 1000).cpuTicks - cpuTicks, 40)
  })
}

t.test('the time of a descendant that ended is not lost, nor counted twice', async (t) => {
  const { put, end, open } = machine(t)
  put(SELF, { parent: 1 })
  put(20, { parent: SELF })
  put(21, { parent: 20, ticks: 100 })
  const own = open()
  const first = own.read([20], 0).cpuTicks
  end(21, 20)
  put(20, { parent: SELF, reaped: 130 })
  t.equal(own.read([20], 1000).cpuTicks - first, 30)
})

t.test('a child of this process that ended: exactly what it used to its end', async (t) => {
  const { put, end, open } = machine(t)
  put(SELF, { parent: 1, reaped: 7 })
  put(20, { parent: SELF, ticks: 100 })
  const own = open()
  const first = own.read([20], 0).cpuTicks
  end(20, SELF)
  put(SELF, { parent: 1, reaped: 7 + 145 })
  t.equal(own.read([20], 1000).cpuTicks - first, 45)
  t.equal(own.read([], 1000).cpuTicks - first, 45)
})

t.test('a job that came and went between two readings', async (t) => {
  const { put, open } = machine(t)
  put(SELF, { parent: 1 })
  const own = open()
  own.read([], 0)
  put(SELF, { parent: 1, reaped: 60 })
  t.equal(own.read([], 1000).cpuTicks, 60)
})

t.test("somebody else's child that ended is taken to have gone on as before", async (t) => {
  const { put, end, open } = machine(t)
  put(SELF, { parent: 1 })
  put(20, { parent: 99, ticks: 100 })
  const own = open()
  own.read([20], 0)
  put(20, { parent: 99, ticks: 180 })
  const before = own.read([20], 1000).cpuTicks
  end(20, 99)
  t.equal(own.read([20], 500).cpuTicks - before, 40)
  t.equal(own.read([], 1000).cpuTicks - before, 40, 'and no longer')
})

t.test('a number that is used again is another process', async (t) => {
  const { put, open } = machine(t)
  put(SELF, { parent: 1 })
  put(20, { parent: SELF, ticks: 500, start: 1 })
  const own = open()
  const before = own.read([20], 0).cpuTicks
  put(SELF, { parent: 1, reaped: 500 })
  put(20, { parent: SELF, ticks: 9, start: 2 })
  t.equal(own.read([20], 1000).cpuTicks - before, 9)
})

t.test('one tree inside another counts once', async (t) => {
  const { put, open } = machine(t)
  put(SELF, { parent: 1 })
  put(20, { parent: SELF, ticks: 10 })
  put(21, { parent: 20, ticks: 10 })
  t.equal(open().read([21, 20, 20], 0).cpuTicks, 20)
})

t.test('runnable threads count one by one', async (t) => {
  const { fixture, put, open } = machine(t)
  put(SELF, { parent: 1 })
  put(20, { parent: SELF, threads: 3 })
  for (const [pid, state] of [
    [20, 'S'],
    [23, 'R'],
    [24, 'R']
  ] as const) {
    fixture.set(`proc/20/task/${pid}/stat`, taskStat({ pid, parent: SELF, state }))
  }
  t.equal(open().read([20], 0).runnable, 2)
})

t.test('trees beyond 4096 processes are counted in part, loops end', async (t) => {
  const { fixture, put, open } = machine(t)
  put(SELF, { parent: 1 })
  put(20, { parent: SELF, ticks: 1 })
  put(21, { parent: 20, ticks: 1 })
  fixture.set('proc/21/task/21/children', '20 21 ')
  t.equal(open().read([20], 0).cpuTicks, 2)
  const many = Array.from({ length: 5000 }, (_, index) => 100 + index)
  for (const pid of many) fixture.set(`proc/${pid}/stat`, taskStat({ pid, parent: 20, ticks: 1 }))
  fixture.set('proc/20/task/20/children', many.join(' '))
  t.equal(open().read([20], 0).processes.size, 4096)
})

t.test('a tree that has ended is told of: all of its time counts, and only once', async (t) => {
  const { put, end, open } = machine(t)
  put(SELF, { parent: 1 })
  const own = open()
  const first = own.read([], 0).cpuTicks
  const used = (roots: number[], elapsedMs = 1000) => own.read(roots, elapsedMs).cpuTicks - first
  own.ended(20, 41)
  t.equal(used([]), 41, 'never seen')
  t.equal(used([]), 41)

  put(21, { parent: 1, ticks: 30 })
  t.equal(used([21]), 71)
  own.ended(21, 37)
  end(21, 1)
  t.equal(used([21]), 78, 'seen while it ran, and in no reading since')

  put(22, { parent: 1 })
  used([22])
  put(22, { parent: 1, ticks: 60 })
  t.equal(used([22]), 138)
  end(22, 1)
  t.equal(used([22], 500), 168, 'seen to be gone first: it is taken to have gone on')
  own.ended(22, 92)
  t.equal(used([]), 170, 'and then corrected')

  put(23, { parent: SELF, ticks: 10 })
  t.equal(used([23]), 180)
  own.ended(23, 1000)
  t.equal(used([23]), 180, 'a child of this process is known exactly without')
})
