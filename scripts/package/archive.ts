/** An archive for any distribution: unpacked anywhere, it runs. */

import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { VERSION } from '../../src/version.ts'
import { addPapers, layOut, type Platform, ROOT, run } from './layout.ts'

/** Its path; what is in it stays in `work`/kappa. */
export async function makeArchive(platform: Platform, work: string, output: string, quick: boolean): Promise<string> {
  const home = join(work, 'kappa')
  await layOut(platform, home, work)
  await addPapers(home, {
    bash: 'share/bash-completion/completions/kappa',
    zsh: 'share/zsh/site-functions/_kappa',
    fish: 'share/fish/vendor_completions.d/kappa.fish',
    man: 'share/man/man1/kappa.1.gz'
  })
  mkdirSync(join(home, 'docs'))
  cpSync(join(ROOT, 'docs'), join(home, 'docs'), { recursive: true, filter: (path) => !path.endsWith('/results') })
  for (const file of ['LICENSE', 'README.md']) cpSync(join(ROOT, file), join(home, file))
  const path = join(output, `kappa-${VERSION}-${platform.name}.tar.gz`)
  const owner = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mode=u+w,go=rX']
  // gzip is on every Linux, xz is not.
  run('tar', [...owner, '-C', work, '-I', `gzip -n -${quick ? 1 : 9}`, '-cf', path, 'kappa'])
  return path
}
