import { spawnSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { needs } from '../../require.ts'
import { fuseUnavailable } from '../fuse/mounted.ts'
import { PROGRAMS, stressors } from '../suites.ts'
import { TreeMount } from './tree-mount.ts'

/** The longer ones are for `npm run test:files`. */
const QUICK = [
  'what editors',
  'a tree is removed',
  'stress-ng: dentry',
  'stress-ng: rename',
  'stress-ng: iomix',
  'stress-ng: flock',
  'stress-ng: open',
  'stress-ng: utime',
  'stress-ng: chdir'
]
const unavailable = fuseUnavailable()

if (needs(t, unavailable === undefined, unavailable ?? '')) {
  const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-suites-'))
  const mount = await TreeMount.start()
  t.teardown(async () => {
    await mount[Symbol.asyncDispose]()
    rmSync(home, { recursive: true, force: true })
  })
  const has = (program: string) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
  const quick = [...PROGRAMS, ...stressors(1)].filter(({ name }) => QUICK.some((begin) => name.startsWith(begin)))
  for (const { name, programs, script, says } of quick) {
    t.test(name, async (t) => {
      if (!needs(t, programs.every(has), programs.join(', '))) return
      const { stdout, stderr, code } = await mount.run(
        home,
        `set -e; mkdir here; cd here\n${script}\ncd ..; rm -r here`
      )
      t.match({ stdout, code }, { stdout: says, code: 0 }, stderr)
    })
  }
}
