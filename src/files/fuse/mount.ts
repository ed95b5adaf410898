/**
 * The shell text that mounts a file system for a program of ours to serve. For `sh` as root of a user and a
 * mount namespace of its own, or as root: /dev/fuse must be opened inside the namespaces, which Node can't do.
 */

import { KappaError } from '../../errors.ts'

/** Most bytes of one READ, whatever the size of the machine's pages. */
const MAX_READ_BYTES = 1_048_576

export interface FuseMount {
  /** Where, as words of the shell: quoted already. */
  readonly directory: string
  /** 3 to 9: open in the shell from then on, and inherited by the server, which is given its number. */
  readonly descriptor: number
  /** What mount tables show as the source: letters, digits, `-`. */
  readonly source: string
  readonly isReadOnly: boolean
  /** The kernel checks modes against the users of programs; else only handlers refuse. */
  readonly checksModes: boolean
  /** Who mounts, as its namespace sees it. Programs of other users may use it too, within the namespace. */
  readonly uid: number
  readonly gid: number
}

/**
 * Opens /dev/fuse and mounts. Fails, under `set -e` ends the shell, with a line on standard error. Whoever starts the server
 * must close the descriptor in the shell afterwards (see closeScript): the mount ends with the last one of it.
 */
export function mountScript(mount: FuseMount): string {
  const { descriptor, source } = mount
  if (!(Number.isInteger(descriptor) && descriptor >= 3 && descriptor <= 9) || !/^[A-Za-z0-9-]+$/.test(source)) {
    throw new KappaError('SandboxError', `can't mount ${source} by descriptor ${descriptor}: shells know 3 to 9`)
  }
  const options = [
    `fd=${descriptor}`,
    'rootmode=40000',
    `user_id=${mount.uid}`,
    `group_id=${mount.gid}`,
    'allow_other',
    `max_read=${MAX_READ_BYTES}`,
    'nosuid',
    'nodev',
    mount.isReadOnly ? 'ro' : 'rw',
    ...(mount.checksModes ? ['default_permissions'] : [])
  ]
  // -i: the helper that comes with fuse3 would want to start a program of its own.
  return `exec ${descriptor}<>/dev/fuse\nmount -i -t fuse -o ${options.join(',')} ${source} ${mount.directory}\n`
}

/** Takes the descriptors from the shell, once the server has them. */
export function closeScript(mounts: readonly FuseMount[]): string {
  return mounts.map(({ descriptor }) => `exec ${descriptor}>&-\n`).join('')
}

/**
 * Ends the mount whatever its server does, even if that was stopped or killed: what waits for it gets ECONNABORTED or
 * ENOTCONN, and the directory is free. For a shell that has the mount in its namespace.
 */
export function abortScript(mount: FuseMount): string {
  // Forced: the kernel ends the connection first. It may still be in use, so it is detached; and never looked up.
  return `umount -i -n -c -f ${mount.directory} 2>/dev/null || umount -i -n -c -l ${mount.directory} 2>/dev/null || :\n`
}
