/** The programs that sandbox and launcher are made of: util-linux, coreutils or their like, awk and sh. */

import { accessSync, constants, statSync } from 'node:fs'

/** Where guests find programs, and where this file looks for its own: the target's own default PATH. */
export const targetPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** NixOS and Guix keep everything elsewhere; harmless where the directories don't exist. */
const otherPaths = ['/run/current-system/sw/bin', '/run/current-system/profile/bin']

const PACKAGES = {
  sh: 'a POSIX shell',
  awk: 'mawk, gawk or busybox',
  env: 'coreutils',
  mkdir: 'coreutils',
  mkfifo: 'coreutils',
  nice: 'coreutils',
  mount: 'util-linux or mount',
  pivot_root: 'util-linux',
  setpriv: 'util-linux or setpriv',
  setsid: 'util-linux',
  umount: 'util-linux or mount',
  unshare: 'util-linux'
} as const

export type ToolName = keyof typeof PACKAGES

/** Absolute paths, found once. */
export type Tools = Record<ToolName, string>

/** The absolute path of a program on the target's PATH, or null. */
export function findProgram(name: string): string | null {
  for (const directory of [...targetPath.split(':'), ...otherPaths]) {
    const path = `${directory}/${name}`
    try {
      accessSync(path, constants.X_OK)
      if (statSync(path).isFile()) return path
    } catch {}
  }
  return null
}

/** All tools, or the first that is missing and the package that brings it. */
export function findTools(): { tools: Tools } | { missing: ToolName; from: string } {
  const tools: Partial<Tools> = {}
  for (const [name, from] of Object.entries(PACKAGES) as [ToolName, string][]) {
    const path = findProgram(name)
    if (path === null) return { missing: name, from }
    tools[name] = path
  }
  return { tools: tools as Tools }
}

/** Those that aren't here. */
export function missingTools(): ToolName[] {
  return (Object.keys(PACKAGES) as ToolName[]).filter((name) => findProgram(name) === null)
}
