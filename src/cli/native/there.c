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
#include <time.h>
#include <unistd.h>

enum { STDIN, STDOUT, STDERR, INS, OUTS, KEYS, SCREEN, STREAMS };
/* Those that come here. */
static const int outputs[] = {STDOUT, STDERR, SCREEN};
enum { OUTPUTS = sizeof outputs / sizeof *outputs };
/* Bytes of data in one frame; the window of a stream at first and at most: src/protocols/exec. */
enum { DATA_BYTES_MAX = 64 * 1024, WINDOW_BYTES_MIN = 256 * 1024, WINDOW_BYTES_MAX = 1024 * 1024 };
enum { DATA_HEADER_BYTES = STREAM_BYTES + OFFSET_BYTES, ACK_BYTES = DATA_HEADER_BYTES + OFFSET_BYTES };
/* Data frames are the longest, but for an error that has much to say. */
enum { FRAME_BYTES_MAX = 128 * 1024 - LENGTH_BYTES };
/* Beside a frame of data there is always room for what is said of the outputs, a signal and a size. */
enum { SMALL_BYTES_MAX = 128 };
/* ms until a terminal that isn't ours is looked at again, and until the job must have stopped before this process does. */
enum { LOOK_MS = 250, STOP_MS = 500 };

/* What goes to the daemon: data of stdin, read in place, and small frames. */
static struct {
  unsigned char bytes[LENGTH_BYTES + DATA_HEADER_BYTES + DATA_BYTES_MAX + 8 * SMALL_BYTES_MAX];
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
} sinks[STREAMS];

/* stdin, and what is typed at the terminal that the job has. */
static struct source {
  int stream;
  struct descriptor from;
  bool open, at_end;
  uint64_t sent, limit;
} input = {.stream = STDIN, .limit = WINDOW_BYTES_MIN}, keys = {.stream = KEYS, .limit = WINDOW_BYTES_MIN};

static struct {
  /* -1 when the daemon has gone. */
  int daemon;
  char **command;
  bool started, over;
  /* It has the terminal that was asked for. */
  bool on_terminal;
  /* When this process stops, in ms of the clock; 0: it doesn't. */
  uint64_t stop_at;
  /* How to leave when all is written. */
  int status, number;
  char *message;
  /* Why not all of an output could be written here. */
  char unwritten[160];
} job;

static _Noreturn void fail(int status, const char *what, const char *more);

/* ------------------------------------------------------------------------------------------------- descriptors */

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

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
  bool screen = S_ISCHR(stat.st_mode) && stat.st_rdev != makedev(5, 2) && isatty(fd);
  if (!S_ISFIFO(stat.st_mode) && !screen) return descriptor;
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

static void tell_size(void) {
  char text[64];
  if (!job.on_terminal || job.over || !new_size()) return;
  int count = snprintf(text, sizeof text, "{\"rows\":%u,\"columns\":%u}", terminal.rows, terminal.columns);
  memcpy(begin_frame(FRAME_RESIZE, (size_t)count), text, (size_t)count);
}

/* What was taken, and what can't be written any more; the newest is enough however long the daemon didn't listen. */
static void tell_outputs(void) {
  for (int index = 0; index < OUTPUTS; index++) {
    int stream = outputs[index];
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

/* ----------------------------------------------------------------------------------------------- stdin and keys */

static void open_source(struct source *source, int fd) {
  struct stat stat;
  source->open = true;
  source->from = opened(fd, O_RDONLY);
  /* Nothing can come from there; also the stand-in for a stdin that was closed. */
  source->at_end = fstat(fd, &stat) != 0 || (S_ISCHR(stat.st_mode) && stat.st_rdev == makedev(1, 3));
}

static void close_source(struct source *source) {
  if (source->open && source->from.kind == OWN) close(source->from.fd);
  source->open = false;
}

/* A terminal is read as long as it is given over to the job. */
static bool is_ours(const struct source *source) {
  return source->stream != KEYS || terminal.fd < 0 || terminal.raw;
}

/* Reads only what may be sent at once: nothing is taken from stdin that the job may never ask for. */
static bool source_wanted(const struct source *source) {
  return source->open && !source->at_end && source->sent < source->limit && out.end == 0 && is_ours(source);
}

static void feed(struct source *source) {
  uint64_t room = source->limit - source->sent;
  size_t most = room < DATA_BYTES_MAX ? (size_t)room : DATA_BYTES_MAX;
  unsigned char *data = out.bytes + LENGTH_BYTES + DATA_HEADER_BYTES;
  ssize_t count = read_some(&source->from, data, most);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count < 0 && source->stream == KEYS && terminal.raw && lost_terminal()) {
    lose_terminal();
    return;
  }
  /* An error is an end like any other: there is no more to read. */
  if (count <= 0) {
    source->at_end = true;
    return;
  }
  unsigned char *rest = begin_frame(FRAME_DATA, DATA_HEADER_BYTES - HEADER_BYTES + (size_t)count);
  *rest = (unsigned char)source->stream;
  put_number(rest + 1, source->sent, OFFSET_BYTES);
  source->sent += (uint64_t)count;
}

static void tell_end_of_source(struct source *source) {
  if (!source->open || !source->at_end || !has_room(SMALL_BYTES_MAX)) return;
  unsigned char *rest = begin_frame(FRAME_EOF, DATA_HEADER_BYTES - HEADER_BYTES);
  *rest = (unsigned char)source->stream;
  put_number(rest + 1, source->sent, OFFSET_BYTES);
  close_source(source);
}

/* --------------------------------------------------------------------------------------------- stdout and stderr */

static void sink_gone(int stream, int error) {
  struct sink *sink = &sinks[stream];
  sink->gone = sink->close_untold = true;
  sink->held = 0;
  /* The job itself would have been told so by its write; it may have ended well without knowing. */
  if (error == EPIPE || job.unwritten[0]) return;
  const char *name = stream == STDOUT ? "stdout" : stream == STDERR ? "stderr" : "the terminal";
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
  if (stream == SCREEN && count > 0) terminal.in_line = bytes[count - 1] != '\n';
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
  return sinks[STDOUT].held == 0 && sinks[STDERR].held == 0 && sinks[SCREEN].held == 0;
}

static void open_sink(int stream, int fd) {
  void *ring = mmap(NULL, WINDOW_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (ring == MAP_FAILED) fail(EXIT_LOST, "there is no memory for what the job writes", NULL);
  sinks[stream].ring = ring;
  sinks[stream].to = opened(fd, O_WRONLY);
}

/* The job runs there: from now on its streams are ours; those that are its terminal carry nothing themselves. */
static void begin(int descriptors) {
  job.started = true;
  /* Told by the write itself. */
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  open_sink(STDOUT, STDOUT);
  open_sink(STDERR, STDERR);
  if (!(descriptors & 1 << STDIN)) open_source(&input, STDIN);
  if (descriptors == 0) return;
  job.on_terminal = true;
  open_sink(SCREEN, terminal.forced ? STDOUT : terminal.number);
  open_source(&keys, terminal.forced ? STDIN : terminal.number);
}

/* ---------------------------------------------------------------------------------------------------------- ends */

static void finish(void) {
  release_terminal();
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
  struct pollfd waits[OUTPUTS];
  for (int index = 0; index < OUTPUTS; index++) {
    const struct sink *sink = &sinks[outputs[index]];
    waits[index] = (struct pollfd){.fd = sink->held > 0 ? sink->to.fd : -1, .events = POLLOUT};
  }
  poll(waits, OUTPUTS, -1);
  for (int index = 0; index < OUTPUTS; index++)
    if (waits[index].revents) drain(outputs[index]);
}

/* It can't go on: what the job wrote so far still goes out, unless a signal ends this first. */
static _Noreturn void fail(int status, const char *what, const char *more) {
  release_terminal();
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
  close_source(&input);
  close_source(&keys);
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
  if (count < least[type - FRAME_DATA] || rest[0] > SCREEN) malformed("a control frame is malformed");
  int stream = rest[0];
  if (stream == INS || stream == OUTS) return true;
  if (!job.started || (stream >= KEYS && !job.on_terminal)) malformed("a stream begins before the job");
  struct source *source = stream == STDIN ? &input : stream == KEYS ? &keys : NULL;
  if (type == FRAME_ACK && source) source->limit = number_at(rest + 1 + OFFSET_BYTES, OFFSET_BYTES);
  else if (type == FRAME_CLOSE && source) close_source(source);
  else if (type == FRAME_EOF && stream == STDOUT && !job.on_terminal) {
    /* stderr stays open: kappa may have something to say itself. */
    sinks[STDOUT].ending = !sinks[STDOUT].gone;
    close_if_ended(STDOUT);
  } else if (type == FRAME_DATA) {
    size_t bytes = count - least[0];
    if (source || bytes > DATA_BYTES_MAX) malformed("a control frame is malformed");
    if (number_at(rest + 1, OFFSET_BYTES) != sinks[stream].arrived) malformed("a stream has a gap");
    return deliver(stream, rest + least[0], bytes);
  }
  return true;
}

static void take_started(unsigned char *bytes, size_t count) {
  struct json_field descriptors = {.name = "terminal", .kind = JSON_INTEGER};
  read_object(bytes, count, &descriptors, 1);
  begin(descriptors.present && terminal.descriptors ? terminal.descriptors : 0);
}

/* The job was stopped, as by Ctrl-Z: so is this process, and who is in a pipeline with it; CONT wakes both. */
static void stop_too(void) {
  sigset_t stop, mask, pending;
  bool asked = job.stop_at > 0;
  job.stop_at = 0;
  release_terminal();
  flush();
  if (asked) kill(getpid(), SIGSTOP);
  else {
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    kill(0, SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stop, &mask);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    /* Nobody is there who could wake a group without a shell: the kernel doesn't stop it. */
    if (sigpending(&pending) == 0 && !sigismember(&pending, SIGCONT)) tell_signal(SIGCONT);
  }
}

/* False: it must wait until a reader has taken more. */
static bool take_frame(unsigned char *frame, size_t length) {
  int type = frame[0];
  unsigned char *rest = frame + HEADER_BYTES;
  size_t count = length - HEADER_BYTES;
  if (type >= FRAME_DATA && type <= FRAME_CLOSE) return take_stream_frame(type, rest, count);
  if (type == FRAME_LOCAL && !job.started) run_here(job.daemon, job.command);
  else if (type == FRAME_STARTED && !job.started) take_started(rest, count);
  else if (type == FRAME_STOPPED && job.on_terminal) stop_too();
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
  if (number == SIGWINCH) {
    tell_size();
    return;
  }
  if (number == SIGCONT) {
    hold_terminal_again();
    tell_size();
  }
  if (job.over && number != SIGCONT && number != SIGTSTP) {
    /* The job has ended, its output waits for a reader: what would have ended the job's write ends us. */
    leave(EXIT_FAILED, number);
  }
  if (job.daemon >= 0) tell_signal(number);
  if (number != SIGTSTP) return;
  /* Ctrl-Z: the job stops there, then this process here; CONT wakes both. What has a terminal may put it in order first. */
  job.stop_at = now_ms() + (job.on_terminal && !job.over ? STOP_MS : 0);
  if (!job.on_terminal || job.over) stop_too();
}

/* Takes the terminal as soon as it may; returns how long poll may wait, in ms. */
static int look_after_terminal(void) {
  if (!job.on_terminal || job.over) return -1;
  if (job.stop_at > 0) {
    uint64_t now = now_ms();
    if (now < job.stop_at) return (int)(job.stop_at - now);
    stop_too();
  }
  if (terminal.fd < 0 || terminal.raw) return -1;
  hold_terminal();
  if (!terminal.raw) return LOOK_MS;
  if (has_room(SMALL_BYTES_MAX)) tell_size();
  return -1;
}

static void wait_for_work(int wait_ms) {
  enum { SIGNALS = STREAMS, DAEMON, WAITS };
  struct pollfd waits[WAITS];
  for (int index = 0; index < WAITS; index++) waits[index] = (struct pollfd){.fd = -1};
  struct source *sources[] = {&input, &keys};
  for (int index = 0; index < 2; index++) {
    const struct source *source = sources[index];
    if (source_wanted(source)) waits[source->stream] = (struct pollfd){.fd = source->from.fd, .events = POLLIN};
  }
  for (int index = 0; index < OUTPUTS; index++) {
    const struct sink *sink = &sinks[outputs[index]];
    if (sink->held > 0) waits[outputs[index]] = (struct pollfd){.fd = sink->to.fd, .events = POLLOUT};
  }
  if (has_room(SMALL_BYTES_MAX)) waits[SIGNALS] = (struct pollfd){.fd = signals.fd, .events = POLLIN};
  /* Left out when there is nothing to do with it: its end would be told over and over. */
  short wanted = (short)((in.waits ? 0 : POLLIN) | (out.end > 0 ? POLLOUT : 0));
  if (wanted) waits[DAEMON] = (struct pollfd){.fd = job.daemon, .events = wanted};
  if (poll(waits, WAITS, wait_ms) < 0) return;
  if (waits[SIGNALS].revents) take_signal();
  for (int index = 0; index < OUTPUTS; index++)
    if (waits[outputs[index]].revents) drain(outputs[index]);
  if (in.waits && (waits[STDOUT].revents || waits[STDERR].revents || waits[SCREEN].revents)) take_frames();
  if (job.daemon >= 0 && !in.waits && waits[DAEMON].revents) receive();
  for (int index = 0; index < 2; index++)
    if (waits[sources[index]->stream].revents && source_wanted(sources[index])) feed(sources[index]);
}

_Noreturn void serve_answer(int daemon, char **command) {
  job.daemon = daemon;
  job.command = command;
  watch_signals();
  for (;;) {
    if (job.over && all_written()) finish();
    wait_for_work(look_after_terminal());
    tell_outputs();
    tell_end_of_source(&input);
    tell_end_of_source(&keys);
    flush();
  }
}
