import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { removeTree } from '../../src/execution/removal.ts'
import { isWritable, needs } from '../require.ts'
import { FRIEND, sandboxed, sh } from './executing.ts'

function placeIn(t: Test, base: string): string {
  const directory = mkdtempSync(join(base, 'kappa-shown-'))
  t.teardown(() => removeTree(directory))
  return directory
}

t.test('directories that the owner shows: one to read, one to write', async (t) => {
  const base = ['/srv', '/mnt', homedir()].find(isWritable)
  if (
    !needs(t, base !== undefined, 'a directory to be shown, elsewhere than in /tmp, which guests have for themselves')
  )
    return
  const [open, locked] = [placeIn(t, base!), placeIn(t, base!)]
  // Guests of a root daemon are another user.
  chmodSync(open, 0o755)
  const [read, write] = [`${open}/it's read`, `${open}/write`]
  for (const directory of [read, write]) mkdirSync(directory)
  writeFileSync(`${read}/film`, 'moving pictures')
  symlinkSync('/etc/shadow', `${read}/link`)
  chmodSync(write, 0o777)
  const paths = [`${read}:ro`, `${write}:rw`, `${locked}:ro`, '/not/there:ro', '/:rw', '/proc:rw', '/work:rw']
  const executor = await sandboxed(t, { nice: 1, paths })
  if (executor === null) return
  t.equal(await sh(executor, `cat "${read}/film"`), 'moving pictures')
  t.match(
    await sh(
      executor,
      `echo x >"${read}/film"; rm "${read}/film"; mkdir "${read}/d"; ln -s x "${read}/l"; chmod 777 "${read}"`
    ),
    /(Read-only[\s\S]*){5}/
  )
  t.match(
    await sh(executor, `mount -o remount,bind,rw "${read}"; cat "${read}/link"`),
    /(denied|No such file|must be superuser)/
  )
  t.equal(readFileSync(`${read}/film`, 'utf8'), 'moving pictures')
  await sh(executor, `echo made >"${write}/new"; cp /usr/bin/id "${write}/id"; chmod 4755 "${write}/id"`)
  t.equal(readFileSync(`${write}/new`, 'utf8'), 'made\n')
  t.match(
    await sh(executor, `mknod "${write}/null" c 1 3; grep -F "${write} " /proc/self/mountinfo`),
    /not permitted[\s\S]*nosuid,nodev/
  )
  t.equal(await sh(executor, 'ls -A /home; ls -A /root'), '', 'nothing else is shown')
})

t.test('devices are shown to jobs that asked for their label, and to no others', async (t) => {
  const device = ['/dev/fuse', '/dev/kmsg', '/dev/loop-control', '/dev/rtc0'].find((path) => existsSync(path))
  if (!needs(t, device !== undefined, 'a device beyond the harmless ones')) return
  const executor = await sandboxed(t, { nice: 1 })
  if (executor === null) return
  const script = `[ -c ${device} ] && stat -c %t:%T ${device}; ls /dev`
  const without = await sh(executor, script)
  t.notMatch(without, device!.slice(5))
  const shown = await sh(executor, script, { home: { ...FRIEND, devices: [device!] } })
  t.match(shown, /^[0-9a-f]+:[0-9a-f]+\n/)
  t.equal(shown.split('\n').length, without.split('\n').length + 2, 'it and no other')
  t.equal(await sh(executor, script), without, 'nor after that')
  await t.rejects(sh(executor, 'true', { home: { ...FRIEND, devices: ['/dev/none'] } }), {
    name: 'SandboxError',
    message: 'guests.devices'
  })
})
