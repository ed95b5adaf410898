/* Signals: watched for the job, named for the daemon, and the one by which this process leaves. */

#include "client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct signals signals = {.fd = -1};

void watch_signals(void) {
  static const int passed_on[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP};
  struct sigaction action;
  sigprocmask(SIG_SETMASK, NULL, &signals.mask_before);
  sigemptyset(&signals.watched);
  /* A size is of interest to a job that has the terminal; and nothing stops it for what it does to that. */
  if (terminal.fd >= 0) {
    sigset_t output;
    sigemptyset(&output);
    sigaddset(&output, SIGTTOU);
    sigprocmask(SIG_BLOCK, &output, NULL);
    sigaddset(&signals.watched, SIGWINCH);
  }
  for (size_t index = 0; index < sizeof passed_on / sizeof *passed_on; index++) {
    sigaction(passed_on[index], NULL, &action);
    if (action.sa_handler != SIG_IGN && !sigismember(&signals.mask_before, passed_on[index]))
      sigaddset(&signals.watched, passed_on[index]);
  }
  /* Whose end is ignored has no status to wait for. */
  sigaction(SIGCHLD, NULL, &action);
  signals.child_was_ignored = action.sa_handler == SIG_IGN;
  signal(SIGCHLD, SIG_DFL);
  sigaddset(&signals.watched, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals.watched, NULL);
  signals.fd = signalfd(-1, &signals.watched, SFD_CLOEXEC);
  if (signals.fd >= 0) return;
  say("signals can't be watched: ", error_words(errno), NULL);
  _exit(EXIT_NOTHING_RAN);
}

void unwatch_signal(int number) {
  if (!sigismember(&signals.watched, number) || sigismember(&signals.mask_before, number)) return;
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  sigdelset(&signals.watched, number);
  signalfd(signals.fd, &signals.watched, 0);
  sigprocmask(SIG_UNBLOCK, &one, NULL);
}

static const char *const names[] = {
  "",          "SIGHUP",  "SIGINT",  "SIGQUIT", "SIGILL",    "SIGTRAP", "SIGABRT", "SIGBUS",
  "SIGFPE",    "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2",   "SIGPIPE", "SIGALRM", "SIGTERM",
  "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP",   "SIGTTIN", "SIGTTOU", "SIGURG",
  "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",  "SIGPWR",  "SIGSYS",
};
enum { NAMES = sizeof names / sizeof *names, REAL_TIME_FIRST = 34, SIGNAL_MAX = 64 };

const char *signal_name(int number, char other[24]) {
  if (number < NAMES) return names[number];
  if (number < REAL_TIME_FIRST) snprintf(other, 24, "SIG%d", number);
  else snprintf(other, 24, "SIGRTMIN+%d", number - REAL_TIME_FIRST);
  return other;
}

int signal_number(const char *name) {
  for (int number = 1; number < NAMES; number++)
    if (strcmp(names[number], name) == 0) return number;
  /* Other names of the same. */
  if (strcmp(name, "SIGIOT") == 0) return SIGABRT;
  if (strcmp(name, "SIGPOLL") == 0) return SIGIO;
  int base = 0;
  if (strncmp(name, "SIG", 3) != 0) return 0;
  name += 3;
  if (strncmp(name, "RTMIN+", 6) == 0) {
    base = REAL_TIME_FIRST;
    name += 6;
  }
  size_t digits = strspn(name, "0123456789");
  int number = digits > 0 && digits <= 2 && name[digits] == 0 ? base + atoi(name) : 0;
  return number <= SIGNAL_MAX ? number : 0;
}

_Noreturn void leave(int status, int number) {
  release_terminal();
  if (number == SIGINT || number == SIGQUIT || number == SIGTERM || number == SIGHUP || number == SIGPIPE) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    signal(number, SIG_DFL);
    kill(getpid(), number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
  }
  _exit(number > 0 ? 128 + number : status);
}
