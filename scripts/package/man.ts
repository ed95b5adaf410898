/** The page of the manual, from what each command says with --help. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from '../../src/cli/command.ts'
import { VERSION } from '../../src/version.ts'

export async function manPage(root: string): Promise<string> {
  const load = async (name: string): Promise<Command> => {
    const module = await import(join(root, 'src/cli', `${name}.ts`))
    return module.command ?? module.completionsOf({})
  }
  const { help } = await load('help')
  const names = [...help.matchAll(/^ {2}(\S.*?)(?: {2,}.*)?$/gm)]
    .flatMap(([, usage]) => usage!.split(/[ ,]+/))
    .filter((name) => /^[a-z]+$/.test(name) && name !== 'help' && existsSync(join(root, 'src/cli', `${name}.ts`)))
  const sections = await Promise.all(
    [...new Set(names)].map(async (name) => section(`kappa ${name}`, (await load(name)).help))
  )
  return `.TH KAPPA 1 "" "kappa ${VERSION}" "User Commands"
.SH NAME
kappa \\- run commands on whichever of your paired machines finishes them soonest
${section('DESCRIPTION', help)}${sections.join('')}.SH SEE ALSO
.BR ssh (1),
.BR parallel (1),
.BR distcc (1),
and the files beside the README of this package
`
}

/** Text as it stands. */
function section(title: string, text: string): string {
  const lines = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('`', '\\(ga')
    .replaceAll("'", '\\(aq')
    .replaceAll(/^\./gm, '\\&.')
  return `.SH "${title}"\n.nf\n${lines}\n.fi\n`
}
