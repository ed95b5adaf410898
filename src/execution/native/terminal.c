/*
 * The terminal of a job: makes a PTY where the job is, runs the command on it as a shell would, and carries its bytes over
 * pipes. Neither Node nor any program that is on every Linux can do this exactly: `script` merges what is apart, loses
 * stops and sizes, and nothing else opens a PTY inside of the cell.
 *
 *     kappa-terminal DESCRIPTORS ROWS COLUMNS MODES COMMAND [ARGUMENT...]
 *
 * DESCRIPTORS: bit n is set when descriptor n of the command is the terminal; the others are this process's own.
 * MODES: input, output and local flags, then the control characters, in hexadecimal with colons; `-`: those of Linux.
 *
 * It must be the leader of a session without a terminal, and becomes the command's parent in that session: so the command
 * has a group of its own in the foreground, which may be stopped, as under any shell. It ends as the command ends.
 *
 *     3  says `stopped NUMBER` when the command was stopped, `noterminal WHY` when there can be none
 *     7  takes orders of 5 bytes: `w` rows u16 columns u16 (a size), `s` number u16 0 0 (a signal for the command's group)
 *     8  takes what is typed; at its end the command reads an end of file
 *     9  gets what the terminal shows
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { STATUS = 3, ORDERS = 7, KEYS = 8, SCREEN = 9 };
enum { ORDER_BYTES = 5, BUFFER_BYTES = 64 * 1024 };
enum { EXIT_NO_TERMINAL = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };
/* What a command that has ended can have left in its terminal; what comes after is not its own. */
enum { LEFT_BYTES_MAX = 256 * 1024 };

static struct {
  int master, slave, signals;
  pid_t command;
  bool stopped, ended;
  int status;
} job;

struct buffer {
  unsigned char bytes[BUFFER_BYTES];
  size_t at, end;
};

/* Typed and not yet read by the command; shown and not yet taken. */
static struct buffer keys, screen;
/* What was typed last did not end its line. */
static bool line_open;

static _Noreturn void give_up(const char *what) {
  dprintf(STATUS, "noterminal %s: %s\n", what, strerror(errno));
  _exit(EXIT_NO_TERMINAL);
}

static void say_stopped(int number) {
  dprintf(STATUS, "stopped %d\n", number);
}

/* ------------------------------------------------------------------------------------------------- the beginning */

static unsigned long number_of(const char *text, int base) {
  return strtoul(text, NULL, base);
}

/* The usual flags only: what a terminal of hardware has besides means nothing here. */
static void set_modes(const char *text) {
  struct termios modes;
  if (tcgetattr(job.slave, &modes) != 0) give_up("the modes of a terminal");
  modes.c_iflag |= IUTF8;
  tcflag_t *flags[] = {&modes.c_iflag, &modes.c_oflag, &modes.c_lflag};
  size_t index = 0;
  for (const char *at = text; *at && *at != '-'; index++) {
    unsigned long number = number_of(at, 16);
    if (index < 3) *flags[index] = (tcflag_t)number;
    else if (index - 3 < 17) modes.c_cc[index - 3] = (cc_t)number;
    at += strcspn(at, ":");
    if (*at) at++;
  }
  if (tcsetattr(job.slave, TCSANOW, &modes) != 0) give_up("the modes of a terminal");
}

static void set_size(unsigned rows, unsigned columns) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  ioctl(job.master, TIOCSWINSZ, &size);
}

/* The other side is opened through the master: no name in any /dev has to be there for it. */
static void open_terminal(void) {
  int unlocked = 0;
  job.master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (job.master < 0) give_up("/dev/ptmx");
  if (ioctl(job.master, TIOCSPTLCK, &unlocked) != 0) give_up("a new terminal");
  job.slave = ioctl(job.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (job.slave < 0) give_up("a new terminal");
  if (ioctl(job.slave, TIOCSCTTY, 0) != 0) give_up("a terminal for this session");
}

static _Noreturn void become(char **command, int descriptors, const struct rlimit *files, const sigset_t *mask) {
  setpgid(0, 0);
  /* From the background: TTOU is blocked still. */
  tcsetpgrp(job.slave, getpid());
  for (int fd = 0; fd <= 2; fd++)
    if (descriptors & 1 << fd && dup2(job.slave, fd) < 0) give_up("a terminal");
  setrlimit(RLIMIT_NOFILE, files);
  sigprocmask(SIG_SETMASK, mask, NULL);
  execvp(command[0], command);
  _exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

static void start(char **command, int descriptors) {
  struct rlimit files, more;
  sigset_t watched, before;
  /* The command's limit may leave no room for what this has open. */
  getrlimit(RLIMIT_NOFILE, &files);
  more = files;
  more.rlim_cur = more.rlim_max;
  setrlimit(RLIMIT_NOFILE, &more);
  /* Every signal that can be is kept away: what is for the command comes as an order. */
  sigfillset(&watched);
  sigprocmask(SIG_SETMASK, &watched, &before);
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  job.signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  job.command = job.signals < 0 ? -1 : fork();
  if (job.command < 0) give_up("a process for the command");
  if (job.command == 0) become(command, descriptors, &files, &before);
  setpgid(job.command, job.command);
  tcsetpgrp(job.slave, job.command);
  /* The command alone holds its streams and its terminal: their ends are told by it. */
  for (int fd = 0; fd <= 2; fd++) close(fd);
  close(job.slave);
}

/* ----------------------------------------------------------------------------------------------------- the relay */

static void take_signals(void) {
  struct signalfd_siginfo info;
  int status;
  while (read(job.signals, &info, sizeof info) == sizeof info) continue;
  while (waitpid(job.command, &status, WNOHANG | WUNTRACED | WCONTINUED) > 0) {
    if (WIFSTOPPED(status)) {
      job.stopped = true;
      say_stopped(WSTOPSIG(status));
    } else if (WIFCONTINUED(status)) job.stopped = false;
    else {
      job.ended = true;
      job.status = status;
      return;
    }
  }
}

static void pass_signal(int number) {
  /* Who was stopped while another group had the terminal gets it back, as from a shell. */
  if (number == SIGCONT && job.stopped) ioctl(job.master, TIOCSPGRP, &job.command);
  kill(-job.command, number);
  /* Nobody is left to continue what was stopped: the line is dead. */
  if (number == SIGHUP) kill(-job.command, SIGCONT);
}

/* False: nobody gives orders any more. */
static bool take_order(void) {
  unsigned char order[ORDER_BYTES];
  if (read(ORDERS, order, sizeof order) != sizeof order) return false;
  unsigned first = (unsigned)order[1] << 8 | order[2], second = (unsigned)order[3] << 8 | order[4];
  if (order[0] == 'w') set_size(first, second);
  else if (order[0] == 's') pass_signal((int)first);
  return true;
}

/* An end of file for the command: the character for it, twice behind an open line, whose first only hands the line over. */
static void end_keys(void) {
  struct termios modes;
  close(KEYS);
  if (tcgetattr(job.master, &modes) != 0 || !(modes.c_lflag & ICANON) || modes.c_cc[VEOF] == _POSIX_VDISABLE) return;
  for (int left = line_open ? 2 : 1; left > 0; left--) keys.bytes[keys.end++] = modes.c_cc[VEOF];
}

/* False: nothing more is typed. */
static bool take_keys(void) {
  ssize_t count = read(KEYS, keys.bytes, sizeof keys.bytes - 2);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  keys.at = 0;
  keys.end = count > 0 ? (size_t)count : 0;
  if (count > 0) line_open = keys.bytes[keys.end - 1] != '\n' && keys.bytes[keys.end - 1] != '\r';
  else end_keys();
  return count > 0;
}

static void type_keys(void) {
  ssize_t count = write(job.master, keys.bytes + keys.at, keys.end - keys.at);
  if (count > 0) keys.at += (size_t)count;
  /* Nobody has the terminal open. */
  else if (errno != EAGAIN && errno != EINTR) keys.at = keys.end;
  if (keys.at == keys.end) keys.at = keys.end = 0;
}

/* As much as is there; false: nothing is, for now or for good. */
static bool take_screen(void) {
  size_t before = screen.end;
  while (screen.end < sizeof screen.bytes) {
    ssize_t count = read(job.master, screen.bytes + screen.end, sizeof screen.bytes - screen.end);
    if (count <= 0) break;
    screen.end += (size_t)count;
  }
  return screen.end > before;
}

/* False: nobody looks any more. */
static bool show_screen(void) {
  ssize_t count = write(SCREEN, screen.bytes + screen.at, screen.end - screen.at);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  screen.at += (size_t)count;
  if (screen.at == screen.end) screen.at = screen.end = 0;
  return true;
}

/* Until the command has ended. */
static void relay(void) {
  enum { SIGNALS, ORDERED, TYPED, MASTER, SHOWN, WAITS };
  bool ordered = true, typed = true, looking = true, hung = false;
  while (!job.ended) {
    struct pollfd waits[WAITS] = {{.fd = job.signals, .events = POLLIN},
                                  {.fd = ordered ? ORDERS : -1, .events = POLLIN},
                                  {.fd = typed && keys.end == 0 ? KEYS : -1, .events = POLLIN},
                                  {.fd = -1},
                                  {.fd = screen.end > 0 ? SCREEN : -1, .events = POLLOUT}};
    short wanted = (short)((screen.end == 0 ? POLLIN : 0) | (keys.end > 0 ? POLLOUT : 0));
    if (wanted && !hung) waits[MASTER] = (struct pollfd){.fd = job.master, .events = wanted};
    /* While nobody has the terminal open it is always at its end: looked at now and then. */
    if (poll(waits, WAITS, hung ? 50 : -1) < 0) continue;
    hung = false;
    if (waits[ORDERED].revents) ordered = take_order();
    if (waits[TYPED].revents) typed = take_keys();
    if (keys.end > 0 && (waits[MASTER].revents & (POLLOUT | POLLHUP) || waits[TYPED].revents)) type_keys();
    if (waits[MASTER].revents & (POLLIN | POLLHUP) && screen.end == 0)
      hung = !take_screen() && waits[MASTER].revents & POLLHUP;
    if (screen.end > 0 && looking) looking = show_screen();
    if (!looking) screen.at = screen.end = 0;
    if (waits[SIGNALS].revents) take_signals();
  }
}

/* What it wrote before it ended: the kernel gives all of it before it says that there is none. */
static void show_rest(void) {
  int flags = fcntl(SCREEN, F_GETFL);
  fcntl(SCREEN, F_SETFL, flags & ~O_NONBLOCK);
  for (size_t shown = 0; shown < LEFT_BYTES_MAX; shown += screen.end) {
    while (screen.end > 0)
      if (!show_screen()) return;
    if (!take_screen()) return;
  }
  while (screen.end > 0)
    if (!show_screen()) return;
}

static _Noreturn void leave(void) {
  if (WIFSIGNALED(job.status)) {
    struct rlimit none = {0, 0};
    sigset_t all;
    int number = WTERMSIG(job.status);
    setrlimit(RLIMIT_CORE, &none);
    signal(number, SIG_DFL);
    kill(getpid(), number);
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
  }
  _exit(WEXITSTATUS(job.status));
}

int main(int argc, char **argv) {
  if (argc < 6) {
    dprintf(2, "kappa: this program is for kappa itself; use: kappa run\n");
    return EXIT_NO_TERMINAL;
  }
  for (int fd = STATUS; fd <= SCREEN; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  open_terminal();
  set_modes(argv[4]);
  set_size((unsigned)number_of(argv[2], 10), (unsigned)number_of(argv[3], 10));
  fcntl(KEYS, F_SETFL, O_NONBLOCK);
  fcntl(SCREEN, F_SETFL, O_NONBLOCK);
  start(argv + 5, (int)number_of(argv[1], 10));
  relay();
  show_rest();
  leave();
}
