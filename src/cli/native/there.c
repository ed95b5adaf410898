/*
 * The daemon's answer, and the job there with this process's streams joined to it. Nothing waits but poll: no inherited
 * descriptor is made non-blocking (others share it), pipes and terminals are opened anew.
 */

#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { STDIN, STDOUT, STDERR, INS, OUTS };
/* Bytes of data in one frame; the window of a stream at first and at most: src/protocols/exec. */
enum { DATA_BYTES_MAX = 64 * 1024, WINDOW_BYTES_MIN = 256 * 1024, WINDOW_BYTES_MAX = 1024 * 1024 };
enum { DATA_HEADER_BYTES = STREAM_BYTES + OFFSET_BYTES, ACK_BYTES = DATA_HEADER_BYTES + OFFSET_BYTES };
/* Data frames are the longest, but for an error that has much to say. */
enum { FRAME_BYTES_MAX = 128 * 1024 - LENGTH_BYTES };
/* Beside a frame of data there is always room for what is said of both outputs, and a signal. */
enum { SMALL_BYTES_MAX = 128 };

/* What goes to the daemon: data of stdin, read in place, and small frames. */
static struct {
  unsigned char bytes[LENGTH_BYTES + DATA_HEADER_BYTES + DATA_BYTES_MAX + 4 * SMALL_BYTES_MAX];
  size_t at, end;
} out;

/* What came from the daemon and isn't dealt with; frames that wait for a reader of stdout or stderr stay here. */
static struct {
  unsigned char bytes[LENGTH_BYTES + FRAME_BYTES_MAX];
  size_t at, end;
  bool waits;
} in;

struct descriptor {
  int fd;
  enum {
    /* Files and devices: they don't wait, or there is no way not to. */
    DIRECT,
    /* Opened anew, so that not waiting is ours alone. */
    OWN,
    /* A socket can be told for each call not to wait. */
    SOCKET,
    /* A pipe or terminal that may not be opened anew: asked before each call, which then takes little. */
    SHARED
  } kind;
};

static struct sink {
  struct descriptor to;
  /* Bytes that wait for the reader: WINDOW_BYTES_MAX of memory, used as a ring. */
  unsigned char *ring;
  size_t first, held;
  /* Offset of the next byte from the daemon, and what it knows of what was taken. */
  uint64_t arrived, told;
  bool gone, ending, close_untold;
} sinks[3];

static struct {
  struct descriptor from;
  bool open, at_end;
  uint64_t sent, limit;
} source = {.limit = WINDOW_BYTES_MIN};

static struct {
  /* -1 when the daemon has gone. */
  int daemon;
  char **command;
  bool started, over;
  /* How to leave when all is written. */
  int status, number;
  char *message;
  /* Why not all of an output could be written here. */
  char unwritten[160];
} job;

static _Noreturn void fail(int status, const char *what, const char *more);

/* ------------------------------------------------------------------------------------------------- descriptors */

static bool ready(int fd, short events) {
  struct pollfd one = {.fd = fd, .events = events};
  return poll(&one, 1, 0) > 0;
}

static struct descriptor opened(int fd, int access) {
  struct descriptor descriptor = {.fd = fd, .kind = DIRECT};
  struct stat stat;
  char path[32];
  if (fstat(fd, &stat) != 0) return descriptor;
  if (S_ISSOCK(stat.st_mode)) descriptor.kind = SOCKET;
  /* The master of a terminal opened anew would be another terminal. */
  bool terminal = S_ISCHR(stat.st_mode) && stat.st_rdev != makedev(5, 2) && isatty(fd);
  if (!S_ISFIFO(stat.st_mode) && !terminal) return descriptor;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int own = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  descriptor.kind = own < 0 ? SHARED : OWN;
  if (own >= 0) descriptor.fd = own;
  return descriptor;
}

static ssize_t write_some(const struct descriptor *to, const unsigned char *bytes, size_t count) {
  if (to->kind == SOCKET) return send(to->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (to->kind != SHARED) return write(to->fd, bytes, count);
  if (!ready(to->fd, POLLOUT)) {
    errno = EAGAIN;
    return -1;
  }
  return write(to->fd, bytes, count < PIPE_BUF ? count : PIPE_BUF);
}

static ssize_t read_some(const struct descriptor *from, unsigned char *bytes, size_t count) {
  if (from->kind == SOCKET) return recv(from->fd, bytes, count, MSG_DONTWAIT);
  return read(from->fd, bytes, count);
}

static void close_descriptor(const struct descriptor *descriptor, int number) {
  if (descriptor->fd != number) close(descriptor->fd);
}

/* ------------------------------------------------------------------------------------------------ to the daemon */

static void put_number(unsigned char *to, uint64_t number, int bytes) {
  while (bytes-- > 0) {
    to[bytes] = (unsigned char)number;
    number >>= 8;
  }
}

static uint64_t number_at(const unsigned char *from, int bytes) {
  uint64_t number = 0;
  for (int index = 0; index < bytes; index++) number = number << 8 | from[index];
  return number;
}

static void flush(void) {
  while (out.at < out.end && job.daemon >= 0) {
    ssize_t count = send(job.daemon, out.bytes + out.at, out.end - out.at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) out.at += (size_t)count;
    else if (errno == EAGAIN) return;
    /* The daemon has gone: reading tells, when everything that it had said is read. */
    else if (errno != EINTR) break;
  }
  out.at = out.end = 0;
}

static bool has_room(size_t bytes) {
  return sizeof out.bytes - out.end >= bytes;
}

/* Begins a frame at the end of what goes out; its rest is `count` bytes, written by the caller where this points. */
static unsigned char *begin_frame(int type, size_t count) {
  unsigned char *frame = out.bytes + out.end;
  put_number(frame, HEADER_BYTES + count, LENGTH_BYTES);
  frame[LENGTH_BYTES] = (unsigned char)type;
  put_number(frame + LENGTH_BYTES + 1, 0, HEADER_BYTES - 1);
  out.end += LENGTH_BYTES + HEADER_BYTES + count;
  return frame + LENGTH_BYTES + HEADER_BYTES;
}

static void tell_signal(int number) {
  char text[32];
  int count = snprintf(text, sizeof text, "{\"number\":%d}", number);
  memcpy(begin_frame(FRAME_SIGNAL, (size_t)count), text, (size_t)count);
}

/* What was taken, and what can't be written any more; the newest is enough however long the daemon didn't listen. */
static void tell_outputs(void) {
  for (int stream = STDOUT; stream <= STDERR; stream++) {
    struct sink *sink = &sinks[stream];
    uint64_t taken = sink->arrived - sink->held;
    if (!has_room(SMALL_BYTES_MAX)) return;
    if (taken > sink->told) {
      unsigned char *rest = begin_frame(FRAME_ACK, ACK_BYTES - HEADER_BYTES);
      *rest = (unsigned char)stream;
      put_number(rest + 1, taken, OFFSET_BYTES);
      put_number(rest + 1 + OFFSET_BYTES, 0, OFFSET_BYTES);
      sink->told = taken;
    }
    if (sink->close_untold) *begin_frame(FRAME_CLOSE, 1) = (unsigned char)stream;
    sink->close_untold = false;
  }
}

/* -------------------------------------------------------------------------------------------------------- stdin */

static void open_source(void) {
  struct stat stat;
  source.open = true;
  source.from = opened(STDIN, O_RDONLY);
  /* Nothing can come from there; also the stand-in for a stdin that was closed. */
  source.at_end = fstat(STDIN, &stat) != 0 || (S_ISCHR(stat.st_mode) && stat.st_rdev == makedev(1, 3));
}

static void close_source(void) {
  if (source.open) close_descriptor(&source.from, STDIN);
  source.open = false;
}

/* Reads only what may be sent at once: nothing is taken from stdin that the job may never ask for. */
static bool source_wanted(void) {
  return source.open && !source.at_end && source.sent < source.limit && out.end == 0;
}

static void feed(void) {
  uint64_t room = source.limit - source.sent;
  size_t most = room < DATA_BYTES_MAX ? (size_t)room : DATA_BYTES_MAX;
  unsigned char *data = out.bytes + LENGTH_BYTES + DATA_HEADER_BYTES;
  ssize_t count = read_some(&source.from, data, most);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  /* An error is an end like any other: there is no more to read. */
  if (count <= 0) {
    source.at_end = true;
    return;
  }
  unsigned char *rest = begin_frame(FRAME_DATA, DATA_HEADER_BYTES - HEADER_BYTES + (size_t)count);
  *rest = STDIN;
  put_number(rest + 1, source.sent, OFFSET_BYTES);
  source.sent += (uint64_t)count;
}

static void tell_end_of_source(void) {
  if (!source.open || !source.at_end || !has_room(SMALL_BYTES_MAX)) return;
  unsigned char *rest = begin_frame(FRAME_EOF, DATA_HEADER_BYTES - HEADER_BYTES);
  *rest = STDIN;
  put_number(rest + 1, source.sent, OFFSET_BYTES);
  close_source();
}

/* --------------------------------------------------------------------------------------------- stdout and stderr */

static void sink_gone(int stream, int error) {
  struct sink *sink = &sinks[stream];
  sink->gone = sink->close_untold = true;
  sink->held = 0;
  /* The job itself would have been told so by its write; it may have ended well without knowing. */
  if (error == EPIPE || job.unwritten[0]) return;
  const char *name = stream == STDOUT ? "stdout" : "stderr";
  if (sink->to.kind == SOCKET) snprintf(job.unwritten, sizeof job.unwritten, "%s: write %s", name, error_name(error));
  else snprintf(job.unwritten, sizeof job.unwritten, "%s: %s: %s, write", name, error_name(error), error_words(error));
}

/* How many bytes of a stretch were taken; fewer when its reader is slow, all when it has gone. */
static size_t write_out(int stream, const unsigned char *bytes, size_t count) {
  size_t taken = 0;
  while (taken < count) {
    ssize_t some = write_some(&sinks[stream].to, bytes + taken, count - taken);
    if (some > 0) taken += (size_t)some;
    else if (some < 0 && errno == EAGAIN) return taken;
    else if (some == 0 || errno != EINTR) {
      /* What takes nothing without a reason never will. */
      sink_gone(stream, some == 0 ? EIO : errno);
      return count;
    }
  }
  return taken;
}

static void close_if_ended(int stream) {
  struct sink *sink = &sinks[stream];
  if (!sink->ending || sink->held > 0) return;
  sink->ending = false;
  close_descriptor(&sink->to, stream);
  close(stream);
  sink->gone = true;
}

/* What waits, as far as its reader takes it. */
static void drain(int stream) {
  struct sink *sink = &sinks[stream];
  while (sink->held > 0) {
    size_t straight = WINDOW_BYTES_MAX - sink->first;
    size_t part = sink->held < straight ? sink->held : straight;
    size_t taken = write_out(stream, sink->ring + sink->first, part);
    if (sink->gone) break;
    sink->held -= taken;
    sink->first = (sink->first + taken) % WINDOW_BYTES_MAX;
    if (taken < part) return;
  }
  /* The memory that was used last is used again. */
  sink->first = 0;
  close_if_ended(stream);
}

/* False: there is no room for the bytes now. */
static bool deliver(int stream, const unsigned char *bytes, size_t count) {
  struct sink *sink = &sinks[stream];
  if (sink->held + count > WINDOW_BYTES_MAX) return false;
  sink->arrived += count;
  if (sink->gone) return true;
  size_t taken = sink->held > 0 ? 0 : write_out(stream, bytes, count);
  while (taken < count) {
    size_t end = (sink->first + sink->held) % WINDOW_BYTES_MAX;
    size_t straight = WINDOW_BYTES_MAX - end;
    size_t part = count - taken < straight ? count - taken : straight;
    memcpy(sink->ring + end, bytes + taken, part);
    sink->held += part;
    taken += part;
  }
  return true;
}

static bool all_written(void) {
  return sinks[STDOUT].held == 0 && sinks[STDERR].held == 0;
}

/* The job runs there: from now on its streams are ours. */
static void begin(void) {
  job.started = true;
  /* Told by the write itself. */
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  for (int stream = STDOUT; stream <= STDERR; stream++) {
    void *ring = mmap(NULL, WINDOW_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) fail(EXIT_LOST, "there is no memory for what the job writes", NULL);
    sinks[stream].ring = ring;
    sinks[stream].to = opened(stream, O_WRONLY);
  }
  open_source();
}

/* ---------------------------------------------------------------------------------------------------------- ends */

static void finish(void) {
  if (job.message) say(job.message, NULL);
  if (job.unwritten[0]) {
    say("what the job wrote is not whole: ", job.unwritten, NULL);
    if (job.status == 0 && job.number == 0) job.status = EXIT_FAILED;
  }
  leave(job.status, job.number);
}

static void close_daemon(void) {
  if (job.daemon >= 0) close(job.daemon);
  job.daemon = -1;
}

static void wait_and_drain(void) {
  struct pollfd waits[3] = {{.fd = -1}};
  for (int stream = STDOUT; stream <= STDERR; stream++) {
    waits[stream].fd = sinks[stream].held > 0 ? sinks[stream].to.fd : -1;
    waits[stream].events = POLLOUT;
  }
  poll(waits, 3, -1);
  for (int stream = STDOUT; stream <= STDERR; stream++)
    if (waits[stream].revents) drain(stream);
}

/* It can't go on: what the job wrote so far still goes out, unless a signal ends this first. */
static _Noreturn void fail(int status, const char *what, const char *more) {
  say(what, more, NULL);
  close_daemon();
  sigprocmask(SIG_SETMASK, &signals.mask_before, NULL);
  while (!all_written()) wait_and_drain();
  _exit(status);
}

static _Noreturn void unknown_end(const char *why, const char *more) {
  char text[256];
  snprintf(text, sizeof text, "%s%s", why, more);
  fail(EXIT_LOST, text, "; whether the job ran isn't known (kappa ps)");
}

static _Noreturn void malformed(const char *how) {
  unknown_end("what the daemon says is wrong: ", how);
}

/* ----------------------------------------------------------------------------------------------- from the daemon */

static void read_object(unsigned char *bytes, size_t count, struct json_field *fields, size_t field_count) {
  if (!json_read(bytes, count, fields, field_count)) malformed("a control frame is not the JSON that it should be");
}

static void take_end(unsigned char *bytes, size_t count) {
  struct json_field fields[] = {{.name = "exitCode", .kind = JSON_INTEGER},
                                {.name = "signal", .kind = JSON_TEXT},
                                {.name = "status", .kind = JSON_INTEGER},
                                {.name = "message", .kind = JSON_TEXT}};
  read_object(bytes, count, fields, 4);
  if (job.over) return;
  job.over = true;
  close_source();
  if (fields[3].present && fields[3].text[0]) job.message = strdup(fields[3].text);
  job.status = fields[0].present ? fields[0].integer : 1;
  if (fields[2].present) job.status = fields[2].integer;
  else if (fields[1].present) {
    job.number = signal_number(fields[1].text);
    /* A signal that nobody knows. */
    if (job.number == 0) job.status = 128;
  }
}

/* An error is one line; the status is a shell's where the daemon says so. */
static void take_failure(unsigned char *bytes, size_t count) {
  struct json_field fields[] = {{.name = "name", .kind = JSON_TEXT}, {.name = "message", .kind = JSON_TEXT}};
  read_object(bytes, count, fields, 2);
  if (!fields[0].present || !fields[1].present) malformed("an error has no name or no words");
  char *to = fields[1].text;
  for (const char *from = to; *from;) {
    size_t space = strspn(from, " \t\r\n\v\f");
    bool breaks = memchr(from, '\n', space);
    if (breaks) *to++ = ' ';
    else {
      space = space ? space : 1;
      memmove(to, from, space);
      to += space;
    }
    from += space;
  }
  *to = 0;
  const char *name = fields[0].text;
  int status = EXIT_NOTHING_RAN;
  if (strcmp(name, "LostError") == 0) status = EXIT_LOST;
  else if (strcmp(name, "CommandNotFoundError") == 0) status = EXIT_NOT_FOUND;
  else if (strcmp(name, "NotExecutableError") == 0) status = EXIT_NOT_EXECUTABLE;
  fail(status, fields[1].text, NULL);
}

static void take_notice(unsigned char *bytes, size_t count) {
  struct json_field text = {.name = "text", .kind = JSON_TEXT};
  read_object(bytes, count, &text, 1);
  if (text.present) say(text.text, NULL);
}

/* Of the streams; `rest` begins with the stream's number. False: it must wait until a reader has taken more. */
static bool take_stream_frame(int type, unsigned char *rest, size_t count) {
  static const size_t least[] = {1 + OFFSET_BYTES, 1 + 2 * OFFSET_BYTES, 1 + OFFSET_BYTES, 1};
  if (count < least[type - FRAME_DATA] || rest[0] > OUTS) malformed("a control frame is malformed");
  int stream = rest[0];
  if (stream >= INS) return true;
  if (!job.started) malformed("a stream begins before the job");
  if (type == FRAME_ACK && stream == STDIN) source.limit = number_at(rest + 1 + OFFSET_BYTES, OFFSET_BYTES);
  else if (type == FRAME_CLOSE) close_source();
  else if (type == FRAME_EOF && stream == STDOUT) {
    /* stderr stays open: kappa may have something to say itself. */
    sinks[STDOUT].ending = !sinks[STDOUT].gone;
    close_if_ended(STDOUT);
  } else if (type == FRAME_DATA) {
    size_t bytes = count - least[0];
    if (stream == STDIN || bytes > DATA_BYTES_MAX) malformed("a control frame is malformed");
    if (number_at(rest + 1, OFFSET_BYTES) != sinks[stream].arrived) malformed("a stream has a gap");
    return deliver(stream, rest + least[0], bytes);
  }
  return true;
}

/* False: it must wait until a reader has taken more. */
static bool take_frame(unsigned char *frame, size_t length) {
  int type = frame[0];
  unsigned char *rest = frame + HEADER_BYTES;
  size_t count = length - HEADER_BYTES;
  if (type >= FRAME_DATA && type <= FRAME_CLOSE) return take_stream_frame(type, rest, count);
  if (type == FRAME_LOCAL && !job.started) run_here(job.daemon, job.command);
  else if (type == FRAME_STARTED && !job.started) begin();
  else if (type == FRAME_END) take_end(rest, count);
  else if (type == FRAME_FAILURE) take_failure(rest, count);
  else if (type == FRAME_NOTICE) take_notice(rest, count);
  return true;
}

static void take_frames(void) {
  in.waits = false;
  while (!in.waits && in.end - in.at >= LENGTH_BYTES) {
    size_t length = (size_t)number_at(in.bytes + in.at, LENGTH_BYTES);
    if (length > FRAME_BYTES_MAX || length < HEADER_BYTES) malformed("a control frame has a wrong length");
    if (in.end - in.at < LENGTH_BYTES + length) break;
    in.waits = !take_frame(in.bytes + in.at + LENGTH_BYTES, length);
    if (!in.waits) in.at += LENGTH_BYTES + length;
  }
  memmove(in.bytes, in.bytes + in.at, in.end - in.at);
  in.end -= in.at;
  in.at = 0;
}

static void receive(void) {
  ssize_t count = recv(job.daemon, in.bytes + in.end, sizeof in.bytes - in.end, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count > 0) {
    in.end += (size_t)count;
    take_frames();
    return;
  }
  /* What became of the job isn't known, unless it has been said. */
  if (!job.over) unknown_end("the daemon here ended while the job was with it", "");
  close_daemon();
}

/* ------------------------------------------------------------------------------------------------------ the loop */

static void take_signal(void) {
  struct signalfd_siginfo info;
  if (read(signals.fd, &info, sizeof info) != sizeof info) return;
  int number = (int)info.ssi_signo;
  if (number == SIGCHLD) return;
  if (job.over && number != SIGCONT && number != SIGTSTP) {
    /* The job has ended, its output waits for a reader: what would have ended the job's write ends us. */
    leave(EXIT_FAILED, number);
  }
  if (job.daemon >= 0) tell_signal(number);
  if (number != SIGTSTP) return;
  /* Ctrl-Z: the job stops there, then this process here; CONT wakes both. */
  flush();
  kill(getpid(), SIGSTOP);
}

static void wait_for_work(void) {
  enum { SIGNALS = 3, DAEMON, WAITS };
  struct pollfd waits[WAITS];
  for (int index = 0; index < WAITS; index++) waits[index] = (struct pollfd){.fd = -1};
  if (source_wanted()) waits[STDIN] = (struct pollfd){.fd = source.from.fd, .events = POLLIN};
  for (int stream = STDOUT; stream <= STDERR; stream++)
    if (sinks[stream].held > 0) waits[stream] = (struct pollfd){.fd = sinks[stream].to.fd, .events = POLLOUT};
  if (has_room(SMALL_BYTES_MAX)) waits[SIGNALS] = (struct pollfd){.fd = signals.fd, .events = POLLIN};
  /* Left out when there is nothing to do with it: its end would be told over and over. */
  short wanted = (short)((in.waits ? 0 : POLLIN) | (out.end > 0 ? POLLOUT : 0));
  if (wanted) waits[DAEMON] = (struct pollfd){.fd = job.daemon, .events = wanted};
  if (poll(waits, WAITS, -1) < 0) return;
  if (waits[SIGNALS].revents) take_signal();
  for (int stream = STDOUT; stream <= STDERR; stream++)
    if (waits[stream].revents) drain(stream);
  if (in.waits && (waits[STDOUT].revents || waits[STDERR].revents)) take_frames();
  if (job.daemon >= 0 && !in.waits && waits[DAEMON].revents) receive();
  if (waits[STDIN].revents && source_wanted()) feed();
}

_Noreturn void serve_answer(int daemon, char **command) {
  job.daemon = daemon;
  job.command = command;
  watch_signals();
  for (;;) {
    if (job.over && all_written()) finish();
    wait_for_work();
    tell_outputs();
    tell_end_of_source();
    flush();
  }
}
