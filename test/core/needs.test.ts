import t from 'tap'
import { isPassing, lackForGuest, lackForHome, slotsWanted } from '../../src/core/needs.ts'
import { GiB, LINUX, needs, record } from './scenario.ts'

t.test('each need that a machine misses is named', async (t) => {
  t.equal(lackForGuest(record(), needs()), undefined)
  t.same(lackForGuest(record({ refuses: 'its owner paused lending until 18:00' }), needs()), {
    code: 'paused',
    reason: 'its owner paused lending until 18:00'
  })
  t.same(lackForGuest(record(), needs({ class: { os: 'darwin' } })), {
    code: 'class',
    reason: 'runs linux, darwin needed'
  })
  t.same(lackForGuest(record(), needs({ class: { arch: 'arm64' } })), { code: 'class', reason: 'is x64, arm64 needed' })
  t.same(lackForGuest(record(), needs({ class: { cpuLevel: 4 } })), {
    code: 'class',
    reason: 'has x86-64-v3, x86-64-v4 needed'
  })
  t.equal(
    lackForGuest(record(), needs({ class: { os: 'linux', arch: 'x64', cpuLevel: 2, pageSize: 4096 } })),
    undefined
  )
  t.same(lackForGuest(record(), needs({ class: { pageSize: 65536 } })), {
    code: 'class',
    reason: 'has pages of 4096 bytes, 65536 needed'
  })
  t.same(lackForGuest(record({ class: { ...LINUX, modes: ['plain'] } }), needs({ mode: 'staged' })), {
    code: 'mode',
    reason: "can't run jobs in staged mode"
  })
  t.same(
    lackForGuest(record({ class: { ...LINUX, modes: ['plain'], noFiles: 'no /dev/fuse' } }), needs({ mode: 'files' })),
    {
      code: 'mode',
      reason: 'plain only, no /dev/fuse'
    }
  )
  const itsOwn = needs({ mode: 'files', programs: 'target', class: { os: 'linux' } })
  t.same(lackForGuest(record({ class: { ...LINUX, modes: ['files'] } }), itsOwn), {
    code: 'mode',
    reason: "can't show jobs its own programs beside home's files"
  })
  t.equal(lackForGuest(record({ class: { ...LINUX, arch: 'arm64', modes: ['files', 'programs'] } }), itsOwn), undefined)
  const onTerminal = needs({ terminal: true })
  t.match(lackForGuest(record({ class: { ...LINUX, modes: ['plain'] } }), onTerminal), {
    code: 'mode',
    reason: /can't give a job a terminal/
  })
  t.equal(lackForGuest(record({ class: { ...LINUX, modes: ['plain', 'pty'] } }), onTerminal), undefined)
  t.same(lackForGuest(record({ labels: ['big'] }), needs({ labels: ['big', 'gpu'] })), {
    code: 'label',
    reason: 'has no label gpu'
  })
})

t.test("memory counts less what is promised and the owner's floor", async (t) => {
  const at = record({ memoryAvailable: 4 * GiB, memoryPromised: GiB, memoryFloor: GiB })
  t.equal(lackForGuest(at, needs({ memoryBytes: 2 * GiB })), undefined)
  t.same(lackForGuest(at, needs({ memoryBytes: 2 * GiB + 1 })), {
    code: 'memory',
    reason: '2048 MiB of memory left for guests, 2048 MiB needed'
  })
  t.equal(
    lackForGuest(record({ memoryAvailable: 0, memoryFloor: GiB }), needs())?.reason,
    '0 MiB of memory left for guests, 512 MiB needed'
  )
})

t.test('more memory than a machine has is had by no waiting', async (t) => {
  const at = record({ memoryTotal: 64 * GiB, memoryAvailable: 32 * GiB, memoryFloor: 4 * GiB })
  t.equal(lackForGuest(at, needs({ memoryBytes: 60 * GiB }))?.code, 'memory')
  t.same(lackForGuest(at, needs({ memoryBytes: 60 * GiB + 1 })), {
    code: 'too-small',
    reason: 'has 60 GiB of memory for guests at most, 60 GiB needed'
  })
  t.ok(isPassing('memory'))
  t.notOk(isPassing('too-small'))
  t.equal(
    lackForHome(at, needs({ memoryBytes: 64 * GiB }), () => true),
    undefined
  )
  t.same(
    lackForHome(at, needs({ memoryBytes: 2 ** 40 }), () => true),
    {
      code: 'too-small',
      reason: 'has 64 GiB of memory in all, 1024 GiB needed'
    }
  )
})

t.test('slots are counted in cores', async (t) => {
  t.equal(lackForGuest(record({ slots: 2, guestDemand: 1 }), needs()), undefined)
  t.same(lackForGuest(record({ slots: 2, guestDemand: 2 }), needs()), {
    code: 'slots',
    reason: '2 of 2 slots taken, 1 needed'
  })
  t.equal(lackForGuest(record({ slots: 2 }), needs({ demand: 16 })), undefined, 'a large job takes them all')
  t.equal(
    lackForGuest(record({ slots: 2, guestDemand: 0.5 }), needs({ demand: 16 }))?.reason,
    '0.5 of 2 slots taken, 2 needed'
  )
  t.same(lackForGuest(record({ slots: 0 }), needs()), { code: 'slots', reason: 'lends no slots' })
  t.equal(slotsWanted(0.1 + 0.2, 8), 0.3)
  t.equal(slotsWanted(1.0001, 8), 1.001)
  t.equal(slotsWanted(1e-9, 8), 0.001)
})

t.test('home lacks only what waiting and sharing cannot mend', async (t) => {
  const has = (name: string) => name === 'gcc'
  const full = record({ refuses: 'paused', slots: 0, memoryAvailable: 0 })
  t.equal(lackForHome(full, needs({ tools: ['gcc'] }), has), undefined)
  t.same(lackForHome(full, needs({ tools: ['gcc', 'ffmpeg'] }), has), { code: 'tool', reason: 'has no ffmpeg' })
  t.same(lackForHome(full, needs({ labels: ['gpu'] }), has), { code: 'label', reason: 'has no label gpu' })
})
