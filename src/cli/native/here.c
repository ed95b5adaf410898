/* The job as a child here: streams, terminal and descriptors are its own by nature. */

#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* The file that a shell would run, or what it would say. */
struct found {
  const char *path;
  char room[PATH_MAX];
  int status;
};

static void refuse(struct found *found, const char *name, int status, const char *why) {
  say(*name ? name : "''", ": ", why, NULL);
  found->status = status;
}

/* As a shell decides: not found is 127, found and not executable 126. */
static void find_command(struct found *found, const char *name) {
  const char *search = getenv("PATH");
  if (!search) search = "/usr/local/bin:/usr/bin:/bin";
  bool named = strchr(name, '/');
  bool seen = false;
  struct stat stat_of;
  for (bool more = *name != 0; more;) {
    size_t length = strcspn(search, ":");
    int count = snprintf(found->room, sizeof found->room, "%.*s/%s", length ? (int)length : 1, length ? search : ".", name);
    more = !named && search[length] == ':';
    search += length + 1;
    if (!named && count >= PATH_MAX) continue;
    found->path = named ? name : found->room;
    if (stat(found->path, &stat_of) != 0) {
      if (!named || errno == ENOENT || errno == ENOTDIR) continue;
      int error = errno;
      found->status = EXIT_NOT_EXECUTABLE;
      if (error == EACCES) say(name, ": permission denied", NULL);
      else say(name, ": ", error_name(error), ": ", error_words(error), ", stat '", name, "'", NULL);
      return;
    }
    if (S_ISREG(stat_of.st_mode) && access(found->path, X_OK) == 0) return;
    if (named && S_ISDIR(stat_of.st_mode)) {
      refuse(found, name, EXIT_NOT_EXECUTABLE, "is a directory");
      return;
    }
    seen = seen || !S_ISDIR(stat_of.st_mode);
  }
  if (seen) refuse(found, name, EXIT_NOT_EXECUTABLE, "permission denied");
  else refuse(found, name, EXIT_NOT_FOUND, "command not found");
}

struct wishes wishes;

static bool has_value(const char *wish) {
  return *wish && strchr(wish + 1, '=');
}

/* Whether two entries or names are of one variable. */
static bool same_name(const char *one, const char *other) {
  size_t length = strcspn(one, "=");
  return length == strcspn(other, "=") && memcmp(one, other, length) == 0;
}

/* Whether a variable of the client is one of the job's as it is. */
static bool is_kept(const char *entry) {
  static const char *const place[] = {"HOME", "PATH", "PWD", "TMPDIR"};
  if (same_name(entry, "KAPPA_LAUNCH") || same_name(entry, "KAPPA_LAUNCHER")) return false;
  for (size_t index = wishes.env_count; index-- > 0;)
    if (same_name(entry, wishes.env[index])) return !has_value(wishes.env[index]);
  for (size_t index = 0; wishes.no_env && index < sizeof place / sizeof *place; index++)
    if (same_name(entry, place[index])) return true;
  return !wishes.no_env;
}

/* Whether a variable is given a value, and not another one later. */
static bool is_given(size_t index) {
  if (!has_value(wishes.env[index])) return false;
  for (size_t later = index + 1; later < wishes.env_count; later++)
    if (same_name(wishes.env[index], wishes.env[later])) return false;
  return true;
}

/* The environment as the user wants it. */
static char **own_environment(void) {
  size_t count = 0, kept = 0;
  while (environ[count]) count++;
  char **environment = calloc(count + wishes.env_count + 1, sizeof *environment);
  if (!environment) return environ;
  for (size_t index = 0; index < count; index++)
    if (is_kept(environ[index])) environment[kept++] = environ[index];
  for (size_t index = 0; index < wishes.env_count; index++)
    if (is_given(index)) environment[kept++] = (char *)wishes.env[index];
  return environment;
}

/* 0, or why it could not be started. The child gets every signal as this process found it. */
static int start(const char *path, char **argv, char **environment, pid_t *child) {
  int failure[2];
  int error = 0;
  if (pipe2(failure, O_CLOEXEC) != 0) return errno;
  *child = fork();
  if (*child == 0) {
    if (signals.child_was_ignored) signal(SIGCHLD, SIG_IGN);
    sigprocmask(SIG_SETMASK, &signals.mask_before, NULL);
    execve(path, argv, environment);
    error = errno;
    ssize_t told = write(failure[1], &error, sizeof error);
    _exit(told == sizeof error ? EXIT_NOT_EXECUTABLE : EXIT_NOTHING_RAN);
  }
  if (*child < 0) error = errno;
  close(failure[1]);
  /* Closed without a word by what has become the command. */
  if (*child > 0 && read(failure[0], &error, sizeof error) == sizeof error) waitpid(*child, NULL, 0);
  close(failure[0]);
  return error;
}

/* A script without a first line that names its shell is for /bin/sh. */
static int start_script(const char *path, char **argv, char **environment, pid_t *child) {
  size_t count = 1;
  while (argv[count]) count++;
  char **words = calloc(count + 2, sizeof *words);
  if (!words) return ENOMEM;
  words[0] = (char *)"/bin/sh";
  words[1] = (char *)path;
  memcpy(words + 2, argv + 1, (count - 1) * sizeof *words);
  int error = start(words[0], words, environment, child);
  free(words);
  return error;
}

/* Whether this process is in the foreground group of its terminal: fields 5 and 8 of /proc/self/stat. */
static bool in_foreground(void) {
  char text[512];
  int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  ssize_t count = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (count <= 0) return false;
  text[count] = 0;
  char *at = strrchr(text, ')');
  if (!at || strlen(at) < 4) return false;
  /* Behind the name and the state: parent, group, session, terminal, its foreground group. */
  long fields[5];
  at += 3;
  for (int index = 0; index < 5; index++) fields[index] = strtol(at, &at, 10);
  return fields[1] == fields[4];
}

/* What reaches the client alone is passed on; what a terminal sends to its foreground group has reached the child already. */
static int wait_for(pid_t child, struct rusage *usage) {
  struct signalfd_siginfo signal;
  int status;
  for (;;) {
    if (read(signals.fd, &signal, sizeof signal) != sizeof signal) continue;
    int number = (int)signal.ssi_signo;
    if (number == SIGCHLD) {
      if (wait4(child, &status, WNOHANG, usage) == child) return status;
    } else if ((number != SIGINT && number != SIGQUIT) || !in_foreground()) kill(child, number);
  }
}

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t cpu_ms(const struct rusage *usage) {
  uint64_t seconds = (uint64_t)usage->ru_utime.tv_sec + (uint64_t)usage->ru_stime.tv_sec;
  return seconds * 1000 + ((uint64_t)usage->ru_utime.tv_usec + (uint64_t)usage->ru_stime.tv_usec) / 1000;
}

/* What a command took that was started; NULL when none was. */
static void tell_end(int daemon, int status, int number, const struct rusage *usage, uint64_t wall_ms) {
  static struct json_writer writer;
  char other[24];
  writer.fd = daemon;
  if (number == 0) {
    json_raw(&writer, "{\"exitCode\":");
    json_number(&writer, (uint64_t)status);
    json_raw(&writer, ",\"signal\":null");
  } else {
    json_raw(&writer, "{\"exitCode\":null,\"signal\":\"");
    json_raw(&writer, signal_name(number, other));
    json_raw(&writer, "\"");
  }
  if (usage) {
    json_raw(&writer, ",\"wallMs\":");
    json_number(&writer, wall_ms);
    json_raw(&writer, ",\"cpuMs\":");
    json_number(&writer, cpu_ms(usage));
    json_raw(&writer, ",\"peakBytes\":");
    json_number(&writer, (uint64_t)usage->ru_maxrss * 1024);
  }
  json_raw(&writer, "}");
  /* It fits the buffer: its length is known only now. */
  unsigned char frame[LENGTH_BYTES + HEADER_BYTES + 192] = {0};
  size_t length = HEADER_BYTES + writer.held;
  frame[3] = (unsigned char)length;
  frame[LENGTH_BYTES] = FRAME_LOCAL_ENDED;
  memcpy(frame + LENGTH_BYTES + HEADER_BYTES, writer.buffer, writer.held);
  size_t count = LENGTH_BYTES + length;
  writer.held = 0;
  json_put(&writer, frame, count);
  json_flush(&writer);
}

_Noreturn void run_here(int daemon, char **command) {
  static struct found found;
  static struct rusage usage;
  int status = 0, number = 0;
  uint64_t started_ms = now_ms();
  if (signals.fd < 0) watch_signals();
  /* Ctrl-Z stops both, and the shell notices. */
  unwatch_signal(SIGTSTP);
  unwatch_signal(SIGCONT);
  unwatch_signal(SIGWINCH);
  find_command(&found, *command);
  if (found.status == 0) {
    pid_t child;
    char **environment = own_environment();
    int error = start(found.path, command, environment, &child);
    if (error == ENOEXEC) error = start_script(found.path, command, environment, &child);
    if (error == 0) {
      int ended = wait_for(child, &usage);
      status = WIFEXITED(ended) ? WEXITSTATUS(ended) : 0;
      number = WIFSIGNALED(ended) ? WTERMSIG(ended) : 0;
    } else {
      found.status = EXIT_NOT_EXECUTABLE;
      if (error == EACCES) say(*command, ": permission denied", NULL);
      else if (error == E2BIG) say(*command, ": the argument list is too long", NULL);
      else say(*command, ": spawn ", *command, " ", error_name(error), NULL);
    }
  }
  if (found.status != 0) status = found.status;
  if (daemon >= 0) tell_end(daemon, status, number, found.status == 0 ? &usage : NULL, now_ms() - started_ms);
  leave(status, number);
}
