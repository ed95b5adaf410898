/**
 * A seccomp filter for a container that runs kappa, as Docker and Podman take it: what makes sandboxes (unshare, mount,
 * pivot_root, setns) is allowed, and what of a kernel no program in a container has any business with is not. Whatever takes a
 * capability that the container lacks stays forbidden by the kernel itself.
 */

const FORBIDDEN = [
  // Another kernel, or another part of this one.
  ...['kexec_load', 'kexec_file_load', 'init_module', 'finit_module', 'delete_module', 'create_module'],
  ...['query_module', 'get_kernel_syms', 'uselib', '_sysctl', 'sysfs', 'ustat'],
  // The whole machine: its clock, its swap, its accounting, its end.
  ...['reboot', 'swapon', 'swapoff', 'acct', 'settimeofday', 'stime', 'clock_settime', 'clock_settime64'],
  ...['adjtimex', 'clock_adjtime', 'clock_adjtime64', 'quotactl', 'quotactl_fd', 'vhangup', 'nfsservctl'],
  // Its hardware, and files past their permissions.
  ...['iopl', 'ioperm', 'vm86', 'vm86old', 'open_by_handle_at', 'lookup_dcookie', 'syslog'],
  // What attacks on kernels like to use.
  ...['bpf', 'perf_event_open', 'userfaultfd', 'fanotify_init', 'move_pages', 'mbind', 'set_mempolicy', 'migrate_pages']
]

export const SECCOMP = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [{ names: FORBIDDEN, action: 'SCMP_ACT_ERRNO', errnoRet: 1 }]
}
