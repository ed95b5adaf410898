/*
 * Does for home's file server what Node has no call for, with the server's own descriptors: renames with flags, holes, copies,
 * times to the nanosecond, FIFOs, and locks. It holds a lock by an open file description of its own for each owner, so
 * that locks hold among owners as among processes, and towards every process here (F_OFD_SETLK, flock).
 *
 *     kappa-files PID
 *
 * PID's thread asks by the pipe at REQUESTS and reads each answer, before it asks again, at ANSWERS; it finds both in
 * /proc once this process is named READY. What is asked for later, a lock that was waited for, is told on standard
 * output. It ends with standard input. All numbers are as this machine has them.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As src/files/home/native.ts has all of these. */
enum { REQUESTS = 3, REQUESTS_END = 4, ANSWERS_END = 5, ANSWERS = 6 };
#define READY "kappa-ready"
enum { RENAME = 1, FIFO, TIMES, ALLOCATE, SEEK, COPY, HOLD, LOCK, TEST, DROP, CANCEL, GUARD };
enum { SLOTS = 4096, WAITERS = 64 };
enum { MAY_WRITE = 1, WHOLE = 2, WAIT = 4 };
enum { NOWHERE = -1 };

struct request {
  uint32_t what, flags;
  int32_t one, two; /* Descriptors of the server, or slots. */
  int64_t a, b, c, d;
  uint16_t name_bytes, to_bytes;
  uint32_t type; /* Of a lock, a mode, or the number of who waits. */
};

struct answer {
  int64_t value, start, end;
  int32_t error;
  uint32_t type;
};

struct told {
  uint32_t waiter;
  int32_t error;
};

/* The byte of NAME-shm on which every process that shares it has a lock: see os_unix.c of SQLite. */
enum { SHM_USED = 128 };

/* The server's descriptors. */
static int descriptors, server;

/* Open file descriptions that hold locks; NOWHERE: none. */
static int slots[SLOTS];
/* What is locked in the place of a guarded file, by the slot of its guard. */
static int shadows[SLOTS];

enum state { FREE, WAITING, OVER };

static struct waiter {
  _Atomic enum state state;
  atomic_bool cancelled;
  pthread_t thread;
  uint32_t number;
  int fd;
  bool whole;
  struct flock64 lock;
  int operation;
} waiters[WAITERS];

/* ------------------------------------------------------------------------------------------------- descriptors */

/* The same file, opened anew. */
static int opened_anew(int fd, int flags) {
  char name[16];
  snprintf(name, sizeof name, "%d", fd);
  return openat(descriptors, name, flags | O_CLOEXEC | O_NONBLOCK);
}

/* The server's own, where that is allowed: by now the file's mode may forbid to open it anew. */
static int borrowed(int fd, int flags) {
  const int got = (int)syscall(SYS_pidfd_getfd, server, fd, 0);
  return got >= 0 ? got : opened_anew(fd, flags);
}

static int directory(int fd) { return opened_anew(fd, O_PATH | O_DIRECTORY); }

/* Keeps errno. */
static void release(int fd) {
  const int why = errno;
  if (fd >= 0) close(fd);
  errno = why;
}

/* ------------------------------------------------------------------------------------------------------- files */

static int64_t rename_flagged(const struct request *asked, const char *name, const char *to) {
  const int from = directory(asked->one), into = directory(asked->two);
  const bool both = from >= 0 && into >= 0;
  const long result = both ? syscall(SYS_renameat2, from, name, into, to, asked->flags) : -1;
  release(from);
  release(into);
  return result;
}

static int64_t make_fifo(const struct request *asked, const char *name) {
  const int in = directory(asked->one);
  if (in < 0) return -1;
  const int result = mknodat(in, name, S_IFIFO | (asked->type & 07777), 0);
  release(in);
  return result;
}

static int64_t set_times(const struct request *asked) {
  char name[16];
  snprintf(name, sizeof name, "%d", asked->one);
  const struct timespec times[2] = {{asked->a, asked->b}, {asked->c, asked->d}};
  return utimensat(descriptors, name, times, 0);
}

static int64_t allocate(const struct request *asked) {
  const int fd = borrowed(asked->one, O_WRONLY);
  if (fd < 0) return -1;
  const int result = fallocate(fd, (int)asked->type, asked->a, asked->b);
  release(fd);
  return result;
}

static int64_t seek(const struct request *asked) {
  const int fd = borrowed(asked->one, O_RDONLY);
  if (fd < 0) return -1;
  const int64_t result = lseek(fd, asked->a, (int)asked->type);
  release(fd);
  return result;
}

static int64_t copy(const struct request *asked) {
  const int from = borrowed(asked->one, O_RDONLY), to = borrowed(asked->two, O_WRONLY);
  off_t at = asked->a, to_at = asked->b;
  const bool both = from >= 0 && to >= 0;
  const int64_t result = both ? copy_file_range(from, &at, to, &to_at, (size_t)asked->c, 0) : -1;
  release(from);
  release(to);
  return result;
}

/* ------------------------------------------------------------------------------------------------------- locks */

static int *slot_of(int32_t number) {
  static int none = NOWHERE;
  return number >= 0 && number < SLOTS ? &slots[number] : &none;
}

static int drop(int32_t number) {
  int *slot = slot_of(number);
  if (*slot < 0) return 0;
  close(*slot);
  *slot = NOWHERE;
  if (shadows[number] >= 0) close(shadows[number]);
  shadows[number] = NOWHERE;
  return 0;
}

/* Byte ranges are locked for writing by what is open for writing: once for all that its owner may want. */
static int opened_to_lock(const struct request *asked) {
  if (asked->c >= 0 && asked->c < SLOTS && shadows[asked->c] >= 0) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", shadows[asked->c]);
    return open(path, O_RDWR | O_CLOEXEC);
  }
  const int fd = asked->flags & MAY_WRITE ? opened_anew(asked->two, O_RDWR) : NOWHERE;
  return fd >= 0 ? fd : opened_anew(asked->two, O_RDONLY);
}

static int hold(const struct request *asked) {
  int *slot = slot_of(asked->one);
  if (asked->one < 0 || asked->one >= SLOTS || *slot >= 0) {
    errno = EINVAL;
    return -1;
  }
  *slot = opened_to_lock(asked);
  return *slot < 0 ? -1 : 0;
}

/* Nobody else shares that memory, nor will as long as this is held. */
static int guard(const struct request *asked) {
  int *slot = slot_of(asked->one);
  if (asked->one < 0 || asked->one >= SLOTS || *slot >= 0) {
    errno = EINVAL;
    return -1;
  }
  struct flock64 lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = SHM_USED, .l_len = 1};
  *slot = opened_anew(asked->two, O_RDWR);
  if (*slot < 0) return -1;
  shadows[asked->one] = memfd_create("kappa-shm", MFD_CLOEXEC);
  if (shadows[asked->one] >= 0 && fcntl(*slot, F_OFD_SETLK, &lock) == 0) return 0;
  const int why = errno;
  drop(asked->one);
  errno = why == EACCES ? EAGAIN : why;
  return -1;
}

static struct flock64 range(const struct request *asked) {
  struct flock64 lock = {.l_type = (short)asked->type, .l_whence = SEEK_SET, .l_start = asked->a};
  lock.l_len = asked->b == INT64_MAX ? 0 : asked->b - asked->a + 1;
  return lock;
}

static int operation_of(uint32_t type) { return type == F_RDLCK ? LOCK_SH : type == F_WRLCK ? LOCK_EX : LOCK_UN; }

static void *wait_for(void *argument) {
  struct waiter *waiter = argument;
  struct told told = {.waiter = waiter->number, .error = EINTR};
  while (!waiter->cancelled) {
    const int result =
        waiter->whole ? flock(waiter->fd, waiter->operation) : fcntl(waiter->fd, F_OFD_SETLKW, &waiter->lock);
    told.error = result == 0 ? 0 : errno;
    if (told.error != EINTR) break;
  }
  /* Fewer bytes than the socket has room for, however many wait. */
  if (write(STDOUT_FILENO, &told, sizeof told) != sizeof told) _exit(1);
  waiter->state = OVER;
  return NULL;
}

static struct waiter *waiter_free(void) {
  for (struct waiter *waiter = waiters; waiter < waiters + WAITERS; waiter++) {
    if (waiter->state == OVER) {
      pthread_join(waiter->thread, NULL);
      waiter->state = FREE;
    }
    if (waiter->state == FREE) return waiter;
  }
  return NULL;
}

/* Answers 1: it will be told. A thread waits, since a poll would come late, and out of turn. */
static int64_t wait_for_lock(const struct request *asked, int fd) {
  struct waiter *waiter = waiter_free();
  if (waiter == NULL) {
    errno = ENOLCK;
    return -1;
  }
  waiter->number = (uint32_t)asked->c;
  waiter->fd = fd;
  waiter->whole = (asked->flags & WHOLE) != 0;
  waiter->lock = range(asked);
  waiter->operation = operation_of(asked->type);
  waiter->cancelled = false;
  waiter->state = WAITING;
  const int why = pthread_create(&waiter->thread, NULL, wait_for, waiter);
  if (why == 0) return 1;
  waiter->state = FREE;
  errno = ENOLCK;
  return -1;
}

static int64_t lock(const struct request *asked) {
  const int fd = *slot_of(asked->one);
  struct flock64 wanted = range(asked);
  const int result = asked->flags & WHOLE ? flock(fd, operation_of(asked->type) | LOCK_NB)
                                          : fcntl(fd, F_OFD_SETLK, &wanted);
  if (result == 0) return 0;
  if (errno == EACCES) errno = EAGAIN;
  return errno == EAGAIN && asked->flags & WAIT ? wait_for_lock(asked, fd) : -1;
}

static int test(const struct request *asked, struct answer *answer) {
  struct flock64 wanted = range(asked);
  if (fcntl(*slot_of(asked->one), F_OFD_GETLK, &wanted) != 0) return -1;
  answer->type = (uint32_t)wanted.l_type;
  answer->start = wanted.l_start;
  answer->end = wanted.l_len == 0 ? INT64_MAX : wanted.l_start + wanted.l_len - 1;
  return 0;
}

static int cancel(const struct request *asked) {
  for (struct waiter *waiter = waiters; waiter < waiters + WAITERS; waiter++)
    if (waiter->state == WAITING && waiter->number == (uint32_t)asked->c) waiter->cancelled = true;
  return 0;
}

/* A signal that comes before a thread waits is lost: once more, until each has heard. */
static bool wake_cancelled(void) {
  bool some = false;
  for (struct waiter *waiter = waiters; waiter < waiters + WAITERS; waiter++) {
    if (waiter->state != WAITING || !waiter->cancelled) continue;
    some = true;
    pthread_kill(waiter->thread, SIGUSR1);
  }
  return some;
}

/* -------------------------------------------------------------------------------------------------------- asked */

static int64_t do_asked(const struct request *asked, const char *name, const char *to, struct answer *answer) {
  switch (asked->what) {
    case RENAME: return rename_flagged(asked, name, to);
    case FIFO: return make_fifo(asked, name);
    case TIMES: return set_times(asked);
    case ALLOCATE: return allocate(asked);
    case SEEK: return seek(asked);
    case COPY: return copy(asked);
    case HOLD: return hold(asked);
    case LOCK: return lock(asked);
    case TEST: return test(asked, answer);
    case DROP: return drop(asked->one);
    case CANCEL: return cancel(asked);
    case GUARD: return guard(asked);
    default: errno = ENOSYS; return -1;
  }
}

/* Whole, or this process has no purpose any more. */
static void take(void *into, size_t bytes) {
  for (char *at = into; bytes > 0;) {
    const ssize_t got = read(REQUESTS, at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) _exit(0);
    at += got;
    bytes -= (size_t)got;
  }
}

static void serve(void) {
  struct request asked;
  char name[NAME_MAX + 1], to[NAME_MAX + 1];
  take(&asked, sizeof asked);
  if (asked.name_bytes > NAME_MAX || asked.to_bytes > NAME_MAX) _exit(1);
  take(name, asked.name_bytes);
  name[asked.name_bytes] = '\0';
  take(to, asked.to_bytes);
  to[asked.to_bytes] = '\0';
  struct answer answer = {0};
  errno = 0;
  answer.value = do_asked(&asked, name, to, &answer);
  answer.error = answer.value < 0 ? errno : 0;
  if (write(ANSWERS, &answer, sizeof answer) != sizeof answer) _exit(1);
}

static void on_signal(int number) { (void)number; }

static void prepare(const char *pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/fd", pid);
  descriptors = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  server = (int)syscall(SYS_pidfd_open, atoi(pid), 0);
  if (descriptors < 0) _exit(1);
  memset(slots, 0xff, sizeof slots);
  memset(shadows, 0xff, sizeof shadows);
  umask(0);
  for (const int *number = (const int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, 0}; *number != 0; number++)
    signal(*number, SIG_IGN);
  const struct sigaction wake = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &wake, NULL);
}

/* With these descriptors, whatever was open. */
static void make_pipe(int reading, int writing) {
  int ends[2];
  if (pipe(ends) != 0) _exit(1);
  const int high[2] = {fcntl(ends[0], F_DUPFD, ANSWERS + 1), fcntl(ends[1], F_DUPFD, ANSWERS + 1)};
  close(ends[0]);
  close(ends[1]);
  if (dup2(high[0], reading) < 0 || dup2(high[1], writing) < 0) _exit(1);
  close(high[0]);
  close(high[1]);
}

int main(int count, char **words) {
  if (count != 2) {
    fputs("kappa-files PID: used by kappa itself\n", stderr);
    return 2;
  }
  /* Whatever else whoever started it had open is nobody's here. Linux before 5.9 can't, and leaves it. */
  syscall(SYS_close_range, 3U, ~0U, 0U);
  make_pipe(REQUESTS, REQUESTS_END);
  make_pipe(ANSWERS_END, ANSWERS);
  prepare(words[1]);
  prctl(PR_SET_NAME, READY);
  struct pollfd watched[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = REQUESTS, .events = POLLIN}};
  for (;;) {
    const bool more = wake_cancelled();
    if (poll(watched, 2, more ? 2 : -1) < 0) continue;
    if (watched[0].revents != 0) return 0;
    if (watched[1].revents & POLLIN) serve();
  }
}
