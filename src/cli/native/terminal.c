/*
 * The terminal here: whether the job gets one there, and this one given over to it. It is raw only while this process is in
 * the foreground and no other client has it, and as it was before on every way out but KILL.
 */

#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

/* Input, output and local flags, then the control characters that Linux has. */
enum { CONTROL_CHARACTERS = 17 };
/* For a job that gets one although there is none here. */
enum { USUAL_ROWS = 24, USUAL_COLUMNS = 80 };

struct terminal terminal = {.fd = -1, .number = -1};

static struct termios before;
/* `before` is what is to be again. */
static bool saved;

/* The controlling terminal of this process; another one is somebody else's. */
static bool is_own(int fd) {
  struct stat stat;
  if (!isatty(fd) || fstat(fd, &stat) != 0 || stat.st_rdev == makedev(5, 2)) return false;
  return tcgetsid(fd) == getsid(0);
}

/* /dev/tty itself, whichever terminal it leads to: a lock on it would be for all of them. */
static bool is_by_name(int fd) {
  struct stat stat;
  return fstat(fd, &stat) == 0 && stat.st_rdev == makedev(5, 0);
}

/*
 * Somebody else uses the terminal meanwhile: who reads what the job writes, such as a pager; whoever said by an empty stdin
 * that nothing will be typed; a make that prints while several jobs run.
 */
static bool is_shared(void) {
  struct stat stat;
  const char *flags = getenv("MAKEFLAGS");
  if (fstat(1, &stat) == 0 && (S_ISFIFO(stat.st_mode) || S_ISSOCK(stat.st_mode))) return true;
  if (fstat(0, &stat) == 0 && S_ISCHR(stat.st_mode) && stat.st_rdev == makedev(1, 3)) return true;
  return flags && strstr(flags, "jobserver");
}

void find_terminal(bool force, bool forbid) {
  char path[32];
  if (forbid || (!force && is_shared())) return;
  for (int fd = 0; fd <= 2; fd++) {
    if (!is_own(fd)) continue;
    terminal.descriptors |= 1 << fd;
    if (terminal.number < 0 || (!force && is_by_name(terminal.number))) terminal.number = fd;
  }
  if (force) {
    terminal.descriptors = 7;
    terminal.forced = true;
    if (terminal.number != 0) terminal.number = -1;
  }
  if (terminal.number < 0) return;
  /* Opened anew: the lock on it is this process's alone. */
  snprintf(path, sizeof path, "/proc/self/fd/%d", terminal.number);
  terminal.fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  terminal.locks = terminal.fd >= 0;
  if (terminal.fd < 0) terminal.fd = terminal.number;
}

static bool in_foreground(void) {
  return tcgetpgrp(terminal.fd) == getpgrp();
}

static struct winsize size_now(void) {
  struct winsize size = {.ws_row = USUAL_ROWS, .ws_col = USUAL_COLUMNS};
  if (terminal.fd >= 0) ioctl(terminal.fd, TIOCGWINSZ, &size);
  return size;
}

void put_terminal(struct json_writer *writer) {
  struct termios modes;
  struct winsize size = size_now();
  if (terminal.descriptors == 0) return;
  terminal.rows = size.ws_row;
  terminal.columns = size.ws_col;
  json_raw(writer, ",\"pty\":{\"descriptors\":");
  json_number(writer, (uint64_t)terminal.descriptors);
  json_raw(writer, ",\"rows\":");
  json_number(writer, terminal.rows);
  json_raw(writer, ",\"columns\":");
  json_number(writer, terminal.columns);
  json_raw(writer, ",\"modes\":[");
  /* In the background they are another program's. */
  if (terminal.fd >= 0 && in_foreground() && tcgetattr(terminal.fd, &modes) == 0) {
    tcflag_t flags[] = {modes.c_iflag, modes.c_oflag, modes.c_lflag};
    for (int index = 0; index < 3 + CONTROL_CHARACTERS; index++) {
      if (index > 0) json_raw(writer, ",");
      json_number(writer, index < 3 ? flags[index] : modes.c_cc[index - 3]);
    }
  }
  json_raw(writer, "]}");
}

bool new_size(void) {
  struct winsize size = size_now();
  bool changed = size.ws_row != terminal.rows || size.ws_col != terminal.columns;
  terminal.rows = size.ws_row;
  terminal.columns = size.ws_col;
  return changed;
}

/* A signal that ends this process and isn't for the job. */
static void die(int number) {
  release_terminal();
  signal(number, SIG_DFL);
  raise(number);
}

static void watch_for_death(void) {
  struct sigaction action = {.sa_handler = die, .sa_flags = SA_NODEFER}, now;
  for (int number = 1; number <= 64; number++) {
    bool ends = number != SIGCHLD && number != SIGCONT && number != SIGURG && number != SIGWINCH && number != SIGTSTP &&
                number != SIGTTIN && number != SIGTTOU;
    if (ends && sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_DFL) sigaction(number, &action, NULL);
  }
}

static void make_raw(void) {
  struct termios raw = before;
  cfmakeraw(&raw);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  terminal.raw = tcsetattr(terminal.fd, TCSANOW, &raw) == 0;
}

void hold_terminal(void) {
  if (terminal.raw || terminal.fd < 0 || !in_foreground()) return;
  if (terminal.locks && flock(terminal.fd, LOCK_EX | LOCK_NB) != 0) return;
  if (!saved) {
    if (tcgetattr(terminal.fd, &before) != 0) return;
    watch_for_death();
    saved = true;
  }
  make_raw();
}

void hold_terminal_again(void) {
  if (!terminal.raw) return;
  if (in_foreground()) make_raw();
  else lose_terminal();
}

void lose_terminal(void) {
  if (terminal.locks) flock(terminal.fd, LOCK_UN);
  terminal.raw = false;
}

bool lost_terminal(void) {
  return !in_foreground();
}

void release_terminal(void) {
  if (!terminal.raw) return;
  if (in_foreground()) tcsetattr(terminal.fd, TCSANOW, &before);
  saved = false;
  lose_terminal();
}
