/**
 * What a hostile guest tries, as programs that run in the sandbox. Each says `GOT IN` for what must not be, and else
 * something that matches `says`: a program that did not even try shows. docs/security.md lists the same names and outcomes.
 */

/** refused: the kernel says no. contained: it happens, to the job itself alone. allowed: it happens; the docs say why. */
export type Outcome = 'refused' | 'contained' | 'allowed'

export interface Attack {
  /** As in docs/security.md. */
  name: string
  outcome: Outcome
  /** A program for `sh`. */
  script: string
  says: RegExp
  /** Numbers of system calls are those of x86-64. */
  x64?: true
  /** How it may end, when not with 0: killed by itself. */
  ends?: string
  /** It never ends by itself: it is killed once it has said its word. */
  killed?: true
}

/** `try(what, result)`: whether a call of Perl's succeeded; `call(what, number, …)` the same for a raw system call. */
const PERL = `use POSIX (); use Socket; use Fcntl;
sub try { my ($what, $result) = @_; print $result ? "GOT IN: $what\\n" : "$what: $!\\n" }
sub call { my $what = shift; my $result = syscall(shift, @_); try($what, $result != -1) }
`

function perl(program: string): string {
  return `exec perl - <<'PERL'\n$| = 1;\n${PERL}${program}\nPERL`
}

export const ATTACKS: readonly Attack[] = [
  // ------------------------------------------------------------------------------------------- the owner's processes
  {
    name: "signals to the owner's processes",
    outcome: 'refused',
    script: perl(`try("kill $_", kill(0, $_)) for $ENV{VICTIM}, $ENV{DAEMON}, $ENV{DAEMON_PARENT}`),
    says: /(No such process[\s\S]*){3}/
  },
  {
    name: 'kill -9 -1, everything that may be killed',
    outcome: 'contained',
    script: 'sleep 9999 & kill -9 -1; kill -9 1; wait; echo it hit its own sandbox alone',
    says: /it hit its own sandbox alone/
  },
  {
    name: "ptrace of the owner's processes, their memory",
    outcome: 'refused',
    script: perl(`my $p = $ENV{VICTIM}; call("attach", 101, 16, $p, 0, 0); call("seize", 101, 0x4206, $p, 0, 0);
my $b = "x" x 64; my $iov = pack("PQ", $b, 64); my $far = pack("QQ", 0x400000, 64);
call("process_vm_readv", 310, $p, $iov, 1, $far, 1, 0); call("process_vm_writev", 311, $p, $iov, 1, $far, 1, 0);
call("pidfd_open", 434, $p, 0); try("mem", open(F, "/proc/$p/mem"))`),
    says: /((No such (process|file)|Invalid argument)[\s\S]*){6}/,
    x64: true
  },
  {
    name: "/proc/*/root, environ, cwd, fd and maps of the owner's processes",
    outcome: 'refused',
    script: `cat /proc/*/environ | tr '\\0' '\\n' | grep '^TOKEN=' && echo GOT IN: environ
for p in $VICTIM $DAEMON; do for f in environ maps cmdline root/etc/hostname cwd/. fd/0; do cat /proc/$p/$f && echo "GOT IN: $f"; done; done
for r in /proc/[0-9]*/root /proc/[0-9]*/cwd; do [ -e "$r$SECRET" ] && echo GOT IN: $r; done; echo looked everywhere`,
    says: /(No such file[\s\S]*){12}looked everywhere/
  },
  {
    name: 'overwriting a running program by /proc/*/exe',
    outcome: 'refused',
    script: perl(`for my $p (1, "self") { try("exe of $p", open(F, "+<", "/proc/$p/exe")) }`),
    says: /(Permission denied|Read-only|Text file busy)[\s\S]*(Permission denied|Read-only|Text file busy)/
  },
  {
    name: 'priorities above what guests get: nice, real-time, I/O',
    outcome: 'refused',
    script: perl(`my $fifo = pack("i", 1); call("nice", 141, 0, 0, 0); call("real time", 144, 0, 1, $fifo);
call("io", 251, 1, 0, (1 << 13) | 0)`),
    says: /(not permitted|Permission denied)[\s\S]*(not permitted|Permission denied)[\s\S]*(not permitted|Permission denied)/,
    x64: true
  },
  // ------------------------------------------------------------------------------------------- the owner's files
  {
    name: "the owner's files by any path, link or handle",
    outcome: 'refused',
    script: perl(`my $s = $ENV{SECRET}; try("path", open(F, $s)); symlink($s, "link"); try("link", open(F, "link"));
try("hard link", link($s, "hard")); my $up = "../" x 40; try("up", open(F, "$up$s"));
my $h = pack("LlQQ", 8, 1, 2, 0); opendir(D, "/"); call("handle", 304, fileno(D), $h, 0);
for my $f (glob("/proc/self/fd/* /proc/1/fd/*")) { my $l = readlink($f) // ""; try("$f $l", 0) if $l =~ m{^/} && $l !~ m{^/(proc|dev/null)} }`),
    says: /(No such file[\s\S]*){4}not permitted/,
    x64: true
  },
  {
    name: 'writing to the system: /usr, /etc, /dev, /proc/1/root',
    outcome: 'refused',
    script: `for d in / /usr /usr/bin /usr/local/bin /etc /opt /dev /run /home /root /k /var /proc/1/root /sys/devices/system
do (echo x >$d/kappa-test) && echo "GOT IN: $d"; done; (: >>/etc/passwd) && echo GOT IN; mount -o remount,rw /usr; :`,
    says: /((Read-only|Permission denied|cannot create)[\s\S]*){15}/
  },
  {
    name: 'leaving a chroot: chroot again, open directories, ..',
    outcome: 'refused',
    script: perl(`mkdir "in"; try("chroot", chroot("in")); chdir("/"); for (1..50) { chdir("..") }
print -e "/k" && !-e $ENV{SECRET} && !-e ".$ENV{SECRET}" ? "still inside\\n" : "GOT IN\\n"`),
    says: /not permitted\nstill inside/
  },
  {
    name: 'mounts: mount, umount, pivot_root, fsopen, open_tree, move_mount, remount',
    outcome: 'refused',
    script: perl(`mkdir "m"; my ($m, $n, $t) = ("m", "none", "tmpfs");
call("mount $_", 165, $n, $m, my $x = $_, 0, my $o = "") for qw(tmpfs proc sysfs cgroup cgroup2 devpts overlay fuse);
call("bind", 165, my $r = "/", $m, $t, 4096, 0); call("remount", 165, $n, my $u = "/usr", $t, 32 | 4096, 0);
call("umount", 166, my $p = "/proc", 2); call("pivot_root", 155, $m, $m); call("fsopen", 430, $t, 0);
call("open_tree", 428, -100, $r, 1); call("mount_setattr", 442, -100, $r, 0, my $a = "\\0" x 32, 32)`),
    says: /(not permitted[\s\S]*){14}/,
    x64: true
  },
  {
    name: 'namespaces of its own, to be root in them: unshare, clone, setns',
    outcome: 'refused',
    script:
      perl(`call("unshare $_", 272, $_) for 0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000, 0x10020000;
my $args = pack("Q8", 0x10000000, 0, 0, 0, 17, 0, 0, 0); my $r = syscall(435, $args, 64); POSIX::_exit(0) if $r == 0; try("clone3", $r != -1);
for my $ns (qw(user mnt pid net ipc uts cgroup)) { open(my $f, "/proc/1/ns/$ns"); call("setns $ns", 308, fileno($f), 0) }
open(my $f, "/proc/self/ns/user"); call("parent of the namespace", 16, fileno($f), 0xb702, 0)`),
    says: /((not permitted|Invalid argument)[\s\S]*){17}/,
    x64: true
  },
  // ------------------------------------------------------------------------------------------- privileges
  {
    name: 'setuid programs: su, sudo, mount, and a setuid copy of its own',
    outcome: 'refused',
    script: `for p in /bin/su /usr/bin/sudo /usr/bin/passwd /usr/bin/newgrp; do [ ! -u $p ] || echo "$p would be setuid"; done
cp /usr/bin/id ./id; chmod 4755 ./id; ./id -u; su -c 'echo GOT IN' root </dev/null; grep NoNewPrivs /proc/self/status`,
    says: /NoNewPrivs:\t1/
  },
  {
    name: 'becoming root or getting capabilities: setuid, capset, prctl, file capabilities',
    outcome: 'refused',
    script:
      perl(`call("setresuid", 117, 0, 0, 0); call("setresgid", 119, 0, 0, 0); call("setgroups", 116, 1, my $g = pack("L", 0));
call("capset", 126, my $h = pack("Ll", 0x20080522, 0), my $d = pack("L6", 0xffffffff, 0xffffffff, 0, 0xffffffff, 0xffffffff, 0));
call("ambient", 157, 47, 2, 21, 0, 0); call("no_new_privs off", 157, 38, 0, 0, 0, 0);
open(F, ">f"); my ($n, $v) = ("security.capability", pack("L5", 0x02000001, 0xffffffff, 0, 0, 0)); call("file capability", 188, my $f = "f", $n, $v, 20, 0)`),
    says: /((not permitted|Invalid argument)[\s\S]*){7}/,
    x64: true
  },
  {
    name: "the machine's own calls: modules, kexec, reboot, swap, clocks, names, accounting, quotas, I/O ports",
    outcome: 'refused',
    script: perl(`my ($e, $p, $n) = ("", "/dev/null", "kappa"); my $t = pack("q2", 0, 0);
call("init_module", 175, $e, 0, $e); call("finit_module", 313, 0, $e, 0); call("delete_module", 176, $n, 0);
call("kexec_load", 246, 0, 0, 0, 0); call("reboot", 169, 0xfee1dead, 672274793, 0x01234567, 0); call("swapon", 167, $p, 0);
call("settimeofday", 164, $t, 0); call("clock_settime", 227, 0, $t); call("sethostname", 170, $n, 5);
call("acct", 163, $p); call("quotactl", 179, 0x80000100, $p, 0, 0); call("iopl", 172, 3); call("ioperm", 173, 0x80, 1, 1); call("vhangup", 153)`),
    says: /((not permitted|not implemented|No such device|Block device)[\s\S]*){14}/,
    x64: true
  },
  {
    name: 'kernel interfaces for the privileged: bpf, perf of others, fanotify, tracing, userfaultfd for the kernel',
    outcome: 'refused',
    script: perl(`my $a = pack("L4Q", 2, 4, 8, 1, 0) . "\\0" x 100; my $prog = pack("LLQQ", 5, 0, 0, 0) . "\\0" x 96;
call("bpf program", 321, 5, $prog, 120); my $perf = pack("LLQ", 1, 112, 0) . "\\0" x 96;
call("perf of all", 298, $perf, -1, 0, -1, 0); call("fanotify", 300, 0x4, 0); try("tracefs", -e "/sys/kernel/tracing" || -e "/sys/kernel/debug");
my $u = syscall(323, 0); if ($u == -1) { try("userfaultfd", 0) } else { print "userfaultfd: Operation not permitted for the kernel's own\\n"; POSIX::close($u); POSIX::_exit(9) unless -r "/proc/sys/vm/unprivileged_userfaultfd" }`),
    says: /((not permitted|Permission denied|No such|Invalid argument|not implemented|Argument list)[\s\S]*){5}/,
    x64: true
  },
  {
    name: 'settings of the kernel: /proc/sys, /proc/sysrq-trigger, /sys, core_pattern',
    outcome: 'refused',
    script: `for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/kernel/modprobe /proc/sys/vm/overcommit_memory \
/proc/sys/user/max_user_namespaces /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/devices/system/cpu/cpu1/online
do [ -e $f ] || continue; (echo 1 >$f) && echo "GOT IN: $f"; done; ls /sys/fs /sys/kernel /sys/firmware /sys/class; :`,
    says: /((cannot create|Permission denied|Read-only)[\s\S]*){5}(No such file[\s\S]*){4}/
  },
  // ------------------------------------------------------------------------------------------- devices
  {
    name: 'device nodes: mknod, raw disks, /dev/mem, /dev/kmsg, /dev/fuse, /dev/kvm, input, loop',
    outcome: 'refused',
    script: `for n in 'sda b 8 0' 'mem c 1 1' 'kmsg c 1 11' 'fuse c 10 229'; do mknod $n && cat \${n%% *} && echo GOT IN; done
for d in sda vda nvme0n1 mem kmem port kmsg fuse kvm loop-control loop0 mapper/control net/tun vhost-net uinput input/event0 snd/timer dri/card0 nvidia0 console tty0 ttyS0 hpet cpu_dma_latency
do [ -e /dev/$d ] && echo "GOT IN: /dev/$d"; done; ls /dev | wc -l`,
    says: /((not permitted|Permission denied)[\s\S]*){4}^13$/m
  },
  {
    name: "the daemon's terminal: TIOCSTI, /dev/tty, /dev/console",
    outcome: 'refused',
    script:
      perl(`try("/dev/tty", open(T, "+</dev/tty")); for my $fd (0..9) { my $r = syscall(16, $fd, 0x5412, my $c = "x"); try("TIOCSTI $fd", $r != -1) }
for (glob("/dev/pts/[0-9]*")) { print "GOT IN: $_\\n" }`),
    says: /No such device or address[\s\S]*(ioctl|Bad file|not permitted|Input\/output)/,
    x64: true
  },
  // ------------------------------------------------------------------------------------------- sockets and services
  {
    name: "the owner's sockets by path: the control socket, D-Bus, X, ssh-agent, Docker",
    outcome: 'refused',
    script:
      perl(`for my $path ($ENV{SOCKET}, "/run/dbus/system_bus_socket", "/tmp/.X11-unix/X0", "/var/run/docker.sock", "/run/docker.sock", "/run/systemd/private", "/run/user/$</bus") {
socket(S, AF_UNIX, SOCK_STREAM, 0); try($path, connect(S, pack_sockaddr_un($path))) }`),
    says: /(No such file[\s\S]*){7}/
  },
  {
    name: "abstract sockets of the machine, by a friend's job",
    outcome: 'refused',
    script: perl(
      `for my $name ($ENV{ABSTRACT}, "/tmp/.X11-unix/X0") { socket(S, AF_UNIX, SOCK_STREAM, 0); try("\\@$name", connect(S, pack("S a*", AF_UNIX, "\\0$name"))) }`
    ),
    says: /Connection refused[\s\S]*Connection refused/
  },
  {
    name: "services on localhost and in the network, by a friend's job",
    outcome: 'refused',
    script: perl(`for my $at (["127.0.0.1", $ENV{PORT}], ["192.0.2.1", 80], ["255.255.255.255", 9]) {
socket(S, PF_INET, SOCK_STREAM, 0); try("@$at", connect(S, pack_sockaddr_in($at->[1], inet_aton($at->[0])))) }
socket(U, PF_INET, SOCK_DGRAM, 0); try("mDNS", send(U, "x", 0, pack_sockaddr_in(5353, inet_aton("224.0.0.251"))))`),
    says: /Connection refused[\s\S]*(Network is unreachable[\s\S]*){3}/
  },
  {
    name: 'raw and packet sockets, the configuration of the network',
    outcome: 'refused',
    script: perl(`try("packet", socket(S, 17, 3, 0x0300)); try("raw", socket(R, 2, 3, 1)); socket(N, 16, 3, 0) or die;
my $add = pack("LSSLL", 32, 16, 0x605, 1, 0) . pack("CCSlLL", 0, 0, 0, 1, 0, 1); send(N, $add, 0); recv(N, my $answer, 100, 0);
my $error = unpack("x16 l", $answer); $! = -$error; try("netlink", $error == 0)`),
    says: /(not permitted[\s\S]*){3}/
  },
  {
    name: 'System V and POSIX shared memory, semaphores and message queues of the owner',
    outcome: 'refused',
    script: perl(`try("shm by key", shmget($ENV{SHM_KEY}, 0, 0)); try("shm by id", shmread($ENV{SHM_ID}, my $b, 0, 8));
try("sem", semget($ENV{SHM_KEY}, 0, 0)); try("msg", msgget($ENV{SHM_KEY}, 0)); try("shm_open", -e "/dev/shm/$ENV{SHM_NAME}")`),
    says: /((No such file|Invalid argument)[\s\S]*){5}/
  },
  {
    name: "the keys in the owner's keyrings: session, user, by number",
    outcome: 'refused',
    script:
      perl(`my ($type, $name, $buffer) = ("user", $ENV{KEY_NAME}, "\\0" x 64); call("request_key", 249, $type, $name, 0, 0);
for my $ring (-3, -4, -5) { call("search in $ring", 250, 10, $ring, $type, $name, 0) }
call("read", 250, 11, $ENV{KEY_ID} + 0, $buffer, 64); call("link", 250, 8, $ENV{KEY_ID} + 0, -3)`),
    says: /((Required key|Permission denied|No such|not available|does not exist)[\s\S]*){6}/,
    x64: true
  },
  // ------------------------------------------------------------------------------------------- its own sandbox
  {
    name: 'cgroups: release_agent, cgroup.procs, a cgroup of its own',
    outcome: 'refused',
    script: `ls /sys/fs/cgroup; mkdir c; mount -t cgroup -o memory none c; mount -t cgroup2 none c; find / -xdev -name release_agent -o -xdev -name cgroup.procs 2>/dev/null | sed 's/^/GOT IN: /'; :`,
    says: /No such file[\s\S]*(must be superuser|permission denied|only root)[\s\S]*(must be superuser|permission denied|only root)/
  },
  {
    name: 'io_uring, to get round checks of system calls',
    outcome: 'contained',
    script: perl(
      `my $p = "\\0" x 120; my $fd = syscall(425, 4, $p); print $fd == -1 ? "io_uring: $!\\n" : "io_uring: the same rights, no filter to get round\\n"`
    ),
    says: /io_uring: /,
    x64: true
  },
  {
    name: 'personality, to weaken address randomisation',
    outcome: 'contained',
    script: perl(
      `syscall(135, 0x0040000 | 0x0400000); print "its own: ", -e $ENV{SECRET} ? "GOT IN" : "nothing won", "\\n"`
    ),
    says: /nothing won/,
    x64: true
  },
  {
    name: 'stopping or killing PID 1 of its sandbox',
    outcome: 'contained',
    script: 'kill -STOP 1; kill -TERM 1; kill -KILL 1; sed -n "s/^State:.//p" /proc/1/status',
    says: /sleeping|running/
  },
  {
    name: 'ptrace of PID 1 of its sandbox, so that its end is never told',
    outcome: 'contained',
    script: perl(
      `my $r = syscall(101, 16, 1, 0, 0); print $r == -1 ? "attach: $!\\n" : "attached: it lives on until it is killed\\n"; sleep 1000`
    ),
    says: /attach/,
    x64: true,
    killed: true
  },
  {
    name: 'false words to the daemon, in the name of PID 1',
    outcome: 'contained',
    script: `exec >/proc/1/fd/1; echo; echo ready; echo cpu 9$(printf %0400d 7); echo end 9$(printf %0400d 7); head -c 10000000 /dev/zero`,
    says: /^$/,
    ends: 'SIGKILL'
  },
  {
    name: 'processes that outlive the job: double fork, setsid, ignored signals',
    outcome: 'contained',
    script: `(trap '' TERM HUP INT; setsid sh -c "trap '' TERM HUP; exec sleep $MARK" >/dev/null 2>&1 & ) ; (setsid nohup sleep $MARK >/dev/null 2>&1 &); echo left behind`,
    says: /left behind/
  },
  {
    name: 'removing and renaming its own directories',
    outcome: 'contained',
    script: `cd /; mv "$HOME" "$HOME.old"; ln -s /etc "$HOME"; rm -f "$HOME/../shm"; ln -s /etc "$HOME/../shm"; rm -rf "$HOME.old" "$HOME/../tmp"; ln -s / "$HOME/../tmp"; echo moved`,
    says: /moved/
  },
  {
    name: 'files that are hard to remove: depth, modes, odd names, FIFOs, links',
    outcome: 'contained',
    script: `d=.; i=0; while [ $i -lt 200 ]; do d=$d/d; mkdir $d; i=$((i+1)); done; ln -s "$SECRET" $d/l; mkfifo p; printf x >"$(printf 'a\\033]0;x\\007\\nb')"; mkdir n; echo >n/f; chmod 000 n .; echo made`,
    says: /made/
  },
  {
    name: 'inotify, of which the kernel counts few for each user',
    outcome: 'contained',
    script: perl(
      `my $n = 0; $n++ while $n < 1000 && syscall(294, 0) != -1; print $n > 64 ? "GOT IN: $n\\n" : "$n: $!\\n"`
    ),
    says: /^\d+: Too many open files/,
    x64: true
  },
  {
    name: 'other counts that the kernel keeps for each user: keys, pending signals, pipe buffers',
    outcome: 'allowed',
    script: perl(
      `my ($t, $v) = ("user", "x"); my $n = 0; for (1..1000) { my $d = "kappa $_"; last if syscall(248, $t, $d, $v, 1, -3) == -1; $n++ } print "$n keys: $!\\n"`
    ),
    says: /keys: /,
    x64: true
  },
  {
    name: "the names of the owner's keys, in /proc/keys",
    outcome: 'allowed',
    script: 'cat /proc/keys >/dev/null && echo read',
    says: /read/
  },
  {
    name: 'a core dump into the handler of the machine',
    outcome: 'refused',
    script: `ulimit -c unlimited; ulimit -H -c; kill -SEGV $$`,
    says: /^0$/m,
    ends: 'SIGSEGV'
  },
  {
    name: 'the names of other users and of the owner',
    outcome: 'refused',
    script: `ls /home /root /work /k /shm; cut -d: -f1 /etc/passwd | grep -vx 'root\\|guest\\|nobody' | sed 's/^/GOT IN: /'; ls /run /var; cat /etc/shadow; cat /proc/[0-9]*/cmdline >all; grep -c "$SECRET_WORD" all`,
    says: /(Permission denied[\s\S]*){3}^0$/m
  },
  {
    name: "the machine's load, model, kernel and addresses in /proc",
    outcome: 'allowed',
    script: 'uname -r; cat /proc/loadavg /proc/meminfo /proc/cpuinfo | wc -l; grep -c " /work " /proc/self/mountinfo',
    says: /^1$/m
  },
  {
    name: 'a lower oom_score_adj',
    outcome: 'allowed',
    script: 'cat /proc/self/oom_score_adj; echo 0 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj',
    says: /^1000\n/
  },
  {
    name: 'socket families without a namespace: AF_VSOCK, AF_ALG',
    outcome: 'allowed',
    script: perl(
      `for my $f (40, 38) { print "family $f: ", socket(S, $f, $f == 38 ? 5 : 1, 0) ? "there" : "$!", "\\n" }`
    ),
    says: /family 40: [\s\S]*family 38: /
  },
  {
    name: "the kernel's log by syslog(2)",
    outcome: 'allowed',
    script: perl(
      `my $b = "\\0" x 65536; my $r = syscall(103, 3, $b, 65536); print $r == -1 ? "log: $!\\n" : "log: as the machine shows to every user (kernel.dmesg_restrict)\\n"`
    ),
    says: /log: /,
    x64: true
  }
]

/** Held by tests of their own: they need a look from outside, a limit, or a second machine. */
export const OTHER_ATTACKS: readonly Pick<Attack, 'name' | 'outcome'>[] = [
  // limits.test.ts
  { name: 'a fork bomb', outcome: 'contained' },
  { name: 'a memory hog', outcome: 'contained' },
  { name: 'a disk filler: many files, hidden, unlinked, empty or one large', outcome: 'contained' },
  { name: 'many open files', outcome: 'contained' },
  { name: 'a job without an end', outcome: 'contained' },
  // stage-out.test.ts, stage-hostile.test.ts
  { name: 'links that lead out of scratch, in `--out` or in place of its own directories', outcome: 'contained' },
  { name: '`--out` that writes elsewhere: absolute, .., through links', outcome: 'refused' },
  // sandbox.test.ts, attacks.test.ts
  { name: 'files and processes of jobs of other homes', outcome: 'refused' },
  { name: 'files of other jobs of the same home, by force', outcome: 'allowed' },
  { name: "localhost, the LAN and abstract sockets, by an own machine's job", outcome: 'allowed' },
  // shown.test.ts
  { name: 'writing to a directory of guests.paths that is `:ro`', outcome: 'refused' },
  { name: 'a setuid program or device in a directory of guests.paths that is `:rw`', outcome: 'refused' },
  { name: 'devices of guests.devices without asking for the label', outcome: 'refused' },
  // end-to-end/odd-input.test.ts
  { name: 'control characters in commands, in `kappa ps` and `kappa why`', outcome: 'refused' }
]
