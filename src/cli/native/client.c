/*
 * The beginning of `kappa run`: options, the daemon's socket, the request. Until the request goes out nothing has had any
 * effect, and whatever is unusual is left to the Node client.
 *
 * The launcher calls it as `kappa-client-linux-… LAUNCHER run ARGUMENT…`.
 */

#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

/* Of each repeated option; who needs more is served by the Node client. */
enum { REPEATED_MAX = 64, VERSION_BYTES_MAX = 64 };

struct list {
  const char *values[REPEATED_MAX];
  size_t count;
};

struct options {
  bool plain, shim, local, remote, wait, no_env, verbose, terminal, no_terminal;
  /* Names separated by commas. */
  struct list on, not;
  struct list tools, needs, env;
  /* As text that is a number of JSON too. */
  const char *cores;
  bool memory_given;
  uint64_t memory_bytes;
  char **command;
};

/* -------------------------------------------------------------------------------------------------- to people */

void say(const char *first, ...) {
  struct iovec parts[10] = {{.iov_base = (void *)"kappa: ", .iov_len = 7}};
  int count = 1;
  va_list rest;
  va_start(rest, first);
  for (const char *part = first; part && count < 9; part = va_arg(rest, const char *))
    parts[count++] = (struct iovec){(void *)part, strlen(part)};
  va_end(rest);
  parts[count++] = (struct iovec){(void *)"\n", 1};
  if (terminal.in_line) parts[0] = (struct iovec){(void *)"\r\nkappa: ", 9};
  if (terminal.raw) parts[count - 1] = (struct iovec){(void *)"\r\n", 2};
  terminal.in_line = false;
  /* Nobody may read it, or nobody can; the exit status still tells. */
  ssize_t written = writev(2, parts, count);
  (void)written;
}

static const struct {
  int error;
  const char *name, *words;
} errors[] = {
  {E2BIG, "E2BIG", "argument list too long"},
  {EACCES, "EACCES", "permission denied"},
  {EAGAIN, "EAGAIN", "resource temporarily unavailable"},
  {EBADF, "EBADF", "bad file descriptor"},
  {ECONNRESET, "ECONNRESET", "connection reset by peer"},
  {EFBIG, "EFBIG", "file too large"},
  {EINVAL, "EINVAL", "invalid argument"},
  {EIO, "EIO", "i/o error"},
  {EISDIR, "EISDIR", "illegal operation on a directory"},
  {ELOOP, "ELOOP", "too many symbolic links encountered"},
  {EMFILE, "EMFILE", "too many open files"},
  {ENAMETOOLONG, "ENAMETOOLONG", "name too long"},
  {ENFILE, "ENFILE", "file table overflow"},
  {ENOENT, "ENOENT", "no such file or directory"},
  {ENOEXEC, "ENOEXEC", "exec format error"},
  {ENOMEM, "ENOMEM", "not enough memory"},
  {ENOSPC, "ENOSPC", "no space left on device"},
  {ENOTDIR, "ENOTDIR", "not a directory"},
  {ENXIO, "ENXIO", "no such device or address"},
  {EPERM, "EPERM", "operation not permitted"},
  {EPIPE, "EPIPE", "broken pipe"},
  {EROFS, "EROFS", "read-only file system"},
  {ETXTBSY, "ETXTBSY", "text file is busy"},
};

const char *error_name(int error) {
  static char other[32];
  for (size_t index = 0; index < sizeof errors / sizeof *errors; index++)
    if (errors[index].error == error) return errors[index].name;
  snprintf(other, sizeof other, "Unknown system error -%d", error);
  return other;
}

const char *error_words(int error) {
  for (size_t index = 0; index < sizeof errors / sizeof *errors; index++)
    if (errors[index].error == error) return errors[index].words;
  return strerror(error);
}

/* ---------------------------------------------------------------------------------------------- the Node client */

/* Becomes the Node client, with the arguments and everything else as they came: the launcher knows it by KAPPA_LAUNCH. */
static _Noreturn void leave_to_node(char **argv) {
  static char mark[] = "KAPPA_LAUNCH=node";
  size_t count = 0;
  while (environ[count]) count++;
  char **environment = calloc(count + 2, sizeof *environment);
  int error = ENOMEM;
  if (environment) {
    size_t kept = 0;
    for (size_t index = 0; index < count; index++)
      if (strncmp(environ[index], "KAPPA_LAUNCH=", 13) != 0) environment[kept++] = environ[index];
    environment[kept] = mark;
    execve(argv[1], argv + 1, environment);
    error = errno;
  }
  say(argv[1], " can't be started: ", error_words(error), NULL);
  _exit(EXIT_NOTHING_RAN);
}

/* ----------------------------------------------------------------------------------------------------- options */

static bool given(const char *name) {
  const char *value = getenv(name);
  return value && *value;
}

/* The text of a number of cores that JSON has too: `2` or `0.5`, above 0 and up to 1024. */
static bool is_cores(const char *text) {
  size_t whole = strspn(text, "0123456789");
  if (whole == 0 || whole > 4 || (text[0] == '0' && whole > 1)) return false;
  const char *rest = text + whole;
  size_t fraction = 0;
  if (*rest == '.') {
    fraction = strspn(++rest, "0123456789");
    if (fraction == 0 || fraction > 6) return false;
  }
  if (rest[fraction] != 0) return false;
  bool plain = strspn(rest, "0") == fraction;
  int number = atoi(text);
  return number == 0 ? !plain : number < 1024 || (number == 1024 && plain);
}

/* A size such as 800M or 2GiB; whole numbers only. */
static bool read_size(const char *text, uint64_t *bytes) {
  static const char units[] = "kmgt";
  size_t digits = strspn(text, "0123456789");
  /* So that the largest stays a safe integer of JavaScript. */
  if (digits == 0 || digits > 15) return false;
  *bytes = strtoull(text, NULL, 10);
  const char *rest = text + digits;
  const char *unit = *rest ? memchr(units, *rest | 0x20, 4) : NULL;
  for (long power = unit ? unit - units + 1 : 0; power > 0; power--) {
    if (*bytes > UINT64_C(1) << 42) return false;
    *bytes *= 1024;
  }
  if (unit) rest++;
  if ((*rest | 0x20) == 'i') {
    rest++;
    if ((*rest | 0x20) != 'b') return false;
  }
  if ((*rest | 0x20) == 'b') rest++;
  return *rest == 0 && *bytes <= UINT64_C(1) << 53;
}

static bool append(struct list *list, const char *value) {
  if (list->count == REPEATED_MAX) return false;
  list->values[list->count++] = value;
  return true;
}

static bool set_value(struct options *options, const char *name, size_t length, const char *value) {
  const struct {
    const char *name;
    struct list *list;
  } lists[] = {{"on", &options->on},
               {"not", &options->not},
               {"tool", &options->tools},
               {"need", &options->needs},
               {"env", &options->env}};
  if (!value || !*value || !is_utf8(value)) return false;
  for (size_t index = 0; index < sizeof lists / sizeof *lists; index++)
    if (strlen(lists[index].name) == length && memcmp(lists[index].name, name, length) == 0)
      return append(lists[index].list, value);
  if (length == 5 && memcmp(name, "cores", 5) == 0) {
    options->cores = value;
    return is_cores(value);
  }
  if (length != 6 || memcmp(name, "memory", 6) != 0) return false;
  options->memory_given = true;
  return read_size(value, &options->memory_bytes);
}

static bool set_flag(struct options *options, const char *word) {
  const struct {
    const char *word;
    bool *flag;
  } flags[] = {{"-v", &options->verbose},      {"--verbose", &options->verbose}, {"--local", &options->local},
               {"--remote", &options->remote}, {"--wait", &options->wait},       {"--plain", &options->plain},
               {"--no-env", &options->no_env}, {"--shim", &options->shim},       {"-t", &options->terminal},      {"-T", &options->no_terminal}};
  for (size_t index = 0; index < sizeof flags / sizeof *flags; index++) {
    if (strcmp(flags[index].word, word) != 0) continue;
    *flags[index].flag = true;
    return true;
  }
  return false;
}

/* Shims take no options: the environment can carry them. */
static bool read_environment(struct options *options) {
  const char *cores = getenv("KAPPA_CORES");
  options->local = given("KAPPA_LOCAL");
  options->remote = given("KAPPA_REMOTE");
  options->verbose = given("KAPPA_VERBOSE");
  if (given("KAPPA_ON") && !set_value(options, "on", 2, getenv("KAPPA_ON"))) return false;
  if (given("KAPPA_NOT") && !set_value(options, "not", 3, getenv("KAPPA_NOT"))) return false;
  return !cores || !*cores || set_value(options, "cores", 5, cores);
}

/* Options up to the first word that is none, the command. False: help, wrong usage, or what only the Node client does. */
static bool read_options(struct options *options, char **words) {
  if (!read_environment(options)) return false;
  for (; *words; words++) {
    const char *word = *words;
    if (strcmp(word, "--") == 0) {
      words++;
      break;
    }
    if (word[0] != '-' || word[1] == 0) break;
    if (set_flag(options, word)) continue;
    if (strncmp(word, "--", 2) != 0) return false;
    size_t length = strcspn(word + 2, "=");
    const char *value = word[2 + length] == '=' ? word + 2 + length + 1 : *++words;
    if (!set_value(options, word + 2, length, value)) return false;
  }
  options->command = words;
  /* The place in line is shown on a terminal, as long as it takes: that the Node client does. */
  if (options->wait && isatty(2)) return false;
  return *words && !(options->local && options->remote) && !(options->terminal && options->no_terminal);
}

/* -------------------------------------------------------------------------------------------------- the daemon */

static bool is_private(const char *directory) {
  struct stat stat;
  return lstat(directory, &stat) == 0 && S_ISDIR(stat.st_mode) && stat.st_uid == getuid() && (stat.st_mode & 077) == 0;
}

/* Whether a path is one that resolving it would leave as it is. */
static bool is_plain(const char *path) {
  return path[0] == '/' && !strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../");
}

/* The directory of the socket as src/daemon/directories.ts finds it. False: in the rarer ways, that is for Node. */
static bool runtime_directory(char *path, size_t size) {
  const char *own = getenv("KAPPA_DIR");
  const char *login = getenv("XDG_RUNTIME_DIR");
  const char *home = getenv("HOME");
  const char *state = getenv("XDG_STATE_HOME");
  char usual[48];
  struct stat stat;
  int count;
  if (own && *own) count = snprintf(path, size, "%s/run", own);
  else if (login && login[0] == '/') count = snprintf(path, size, "%s/kappa", login);
  else {
    snprintf(usual, sizeof usual, "/run/user/%u", (unsigned)getuid());
    if (lstat(usual, &stat) == 0 && stat.st_uid == getuid()) count = snprintf(path, size, "%s/kappa", usual);
    else if (state && state[0] == '/') count = snprintf(path, size, "%s/kappa/run", state);
    else if (home && *home) count = snprintf(path, size, "%s/.local/state/kappa/run", home);
    else return false;
  }
  return count > 0 && (size_t)count < size && is_plain(path) && is_utf8(path);
}

/* A connection to the daemon; -1 when none runs or its socket isn't as it should be. */
static int connect_daemon(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char directory[sizeof address.sun_path];
  if (!runtime_directory(directory, sizeof directory) || !is_private(directory)) return -1;
  int count = snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", directory);
  if (count < 0 || (size_t)count >= sizeof address.sun_path) return -1;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

/* ------------------------------------------------------------------------------------------------- the request */

static void put_list(struct json_writer *writer, const char *name, const struct list *list, bool separated) {
  if (list->count == 0) return;
  json_raw(writer, name);
  for (size_t index = 0; index < list->count; index++) {
    const char *value = list->values[index];
    for (bool more = true, first = index == 0; more; first = false) {
      size_t length = separated ? strcspn(value, ",") : strlen(value);
      json_raw(writer, first ? "[" : ",");
      json_text(writer, value, length);
      more = value[length] != 0;
      value += length + 1;
    }
  }
  json_raw(writer, "],");
}

static void put_options(struct json_writer *writer, const struct options *options) {
  json_raw(writer, ",\"options\":{");
  if (options->plain) json_raw(writer, "\"plain\":true,");
  if (options->local) json_raw(writer, "\"local\":true,");
  if (options->remote) json_raw(writer, "\"remote\":true,");
  if (options->wait) json_raw(writer, "\"wait\":true,");
  if (options->no_env) json_raw(writer, "\"noEnv\":true,");
  put_list(writer, "\"on\":", &options->on, true);
  put_list(writer, "\"not\":", &options->not, true);
  put_list(writer, "\"tools\":", &options->tools, false);
  put_list(writer, "\"needs\":", &options->needs, false);
  if (options->cores) {
    json_raw(writer, "\"cores\":");
    json_raw(writer, options->cores);
    json_raw(writer, ",");
  }
  if (options->memory_given) {
    json_raw(writer, "\"memoryBytes\":");
    json_number(writer, options->memory_bytes);
    json_raw(writer, ",");
  }
  for (size_t index = 0; index < options->env.count; index++) {
    json_raw(writer, index == 0 ? "\"env\":[" : ",");
    json_bytes(writer, options->env.values[index]);
  }
  if (options->env.count > 0) json_raw(writer, "],");
  if (options->shim) json_raw(writer, "\"shim\":true,");
  json_raw(writer, options->verbose ? "\"verbose\":true}" : "\"verbose\":false}");
}

/* Soft limits as the job should get them; -1 is unlimited. */
static void put_limits(struct json_writer *writer) {
  static const struct {
    int resource;
    const char *name;
  } limits[] = {{RLIMIT_AS, "as"},       {RLIMIT_CORE, "core"},       {RLIMIT_CPU, "cpu"},
                {RLIMIT_DATA, "data"},   {RLIMIT_FSIZE, "fsize"},     {RLIMIT_MEMLOCK, "memlock"},
                {RLIMIT_NPROC, "nproc"}, {RLIMIT_NOFILE, "nofile"},   {RLIMIT_STACK, "stack"}};
  json_raw(writer, ",\"limits\":");
  for (size_t index = 0; index < sizeof limits / sizeof *limits; index++) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    getrlimit(limits[index].resource, &limit);
    json_raw(writer, index == 0 ? "[{\"name\":\"" : ",{\"name\":\"");
    json_raw(writer, limits[index].name);
    json_raw(writer, "\",\"soft\":");
    if (limit.rlim_cur == RLIM_INFINITY) json_raw(writer, "-1");
    else json_number(writer, limit.rlim_cur);
    json_raw(writer, "}");
  }
  json_raw(writer, "]");
}

static void put_words(struct json_writer *writer, char **words, bool environment) {
  const char *separator = "[";
  for (; *words; words++) {
    if (environment && strncmp(*words, "KAPPA_LAUNCH", 12) == 0) continue;
    json_raw(writer, separator);
    json_bytes(writer, *words);
    separator = ",";
  }
  json_raw(writer, *separator == '[' ? "[]" : "]");
}

/*
 * How large the command's input is, as far as that shows: a file on stdin, and those among the first arguments. Here and not
 * in the daemon, because a file system that hangs, hangs who asks; the command would ask next.
 */
static uint64_t input_bytes(char **command) {
  struct stat stat_buffer;
  uint64_t bytes = fstat(0, &stat_buffer) == 0 && S_ISREG(stat_buffer.st_mode) ? (uint64_t)stat_buffer.st_size : 0;
  int looked = 0;
  for (char **word = command + 1; *word && looked < 8; word++) {
    if (strcmp(*word, "-o") == 0) {
      if (!*++word) break;
    } else if (**word && **word != '-') {
      looked++;
      if (stat(*word, &stat_buffer) == 0 && S_ISREG(stat_buffer.st_mode)) bytes += (uint64_t)stat_buffer.st_size;
    }
  }
  return bytes;
}

/* What is asked of the daemon; src/daemon/control-codec.ts says what each member means. */
struct request {
  const struct options *options;
  const char *directory, *version, *launcher;
  mode_t umask;
  int nice;
  uint64_t input_bytes;
};

static void put_request(struct json_writer *writer, const struct request *request) {
  char number[16];
  json_raw(writer, "{\"command\":\"run\",\"params\":{\"argv\":");
  put_words(writer, request->options->command, false);
  json_raw(writer, ",\"env\":");
  put_words(writer, environ, true);
  json_raw(writer, ",\"cwd\":");
  json_text(writer, request->directory, strlen(request->directory));
  json_raw(writer, ",\"umask\":");
  json_number(writer, request->umask);
  snprintf(number, sizeof number, "%d", request->nice);
  json_raw(writer, ",\"nice\":");
  json_raw(writer, number);
  put_limits(writer);
  put_options(writer, request->options);
  json_raw(writer, ",\"ins\":false,\"outs\":[],\"outAlways\":false,\"inputBytes\":");
  json_number(writer, request->input_bytes);
  json_raw(writer, ",\"terminal\":");
  json_raw(writer, isatty(2) ? "true" : "false");
  put_terminal(writer);
  json_raw(writer, ",\"pid\":");
  json_number(writer, (uint64_t)getpid());
  json_raw(writer, "},\"version\":");
  json_text(writer, request->version, strlen(request->version));
  json_raw(writer, ",\"launcher\":");
  json_text(writer, request->launcher, strlen(request->launcher));
  json_raw(writer, "}");
}

static void send_request(int daemon, const struct request *request) {
  static struct json_writer writer;
  writer.fd = -1;
  put_request(&writer, request);
  size_t length = HEADER_BYTES + writer.bytes;
  unsigned char head[LENGTH_BYTES + HEADER_BYTES] = {(unsigned char)(length >> 24), (unsigned char)(length >> 16),
                                                     (unsigned char)(length >> 8), (unsigned char)length, FRAME_REQUEST};
  writer.fd = daemon;
  json_put(&writer, head, sizeof head);
  put_request(&writer, request);
  json_flush(&writer);
}

/* The version stands beside this program, so that a release needs no new build of it. */
static bool read_version(const char *program, char *version) {
  char path[PATH_MAX];
  const char *slash = strrchr(program, '/');
  if (!slash || snprintf(path, sizeof path, "%.*s/kappa-client.version", (int)(slash - program), program) >= PATH_MAX)
    return false;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t count = read(fd, version, VERSION_BYTES_MAX - 1);
  close(fd);
  if (count <= 0) return false;
  version[count] = 0;
  return is_utf8(version);
}

/* -------------------------------------------------------------------------------------------------------- main */

/*
 * A standard stream that is closed stays so for the command, and for the Node client; but nothing that is opened here may
 * take its number.
 */
static void hold_standard_streams(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) != fd) _exit(EXIT_NOTHING_RAN);
}

int main(int argc, char **argv) {
  static struct options options;
  char directory[PATH_MAX];
  char version[VERSION_BYTES_MAX];
  hold_standard_streams();
  if (argc < 3 || strcmp(argv[2], "run") != 0) {
    say("this program is for kappa itself; use: kappa run", NULL);
    return EXIT_NOTHING_RAN;
  }
  if (!read_options(&options, argv + 3)) leave_to_node(argv);
  wishes = (struct wishes){options.no_env, options.env.values, options.env.count};
  /* No cluster within the cluster: a job that calls kappa runs the command where it is. */
  if (given("KAPPA_JOB")) run_here(-1, options.command);
  if (!getcwd(directory, sizeof directory) || !is_utf8(directory) || !is_utf8(argv[1])) leave_to_node(argv);
  if (!read_version(argv[0], version)) leave_to_node(argv);
  int daemon = connect_daemon();
  if (daemon < 0) leave_to_node(argv);
  if (!options.local) find_terminal(options.terminal, options.no_terminal);
  mode_t mask = umask(0);
  umask(mask);
  struct request request = {.options = &options,
                            .directory = directory,
                            .version = version,
                            .launcher = argv[1],
                            .umask = mask,
                            .nice = getpriority(PRIO_PROCESS, 0),
                            .input_bytes = input_bytes(options.command)};
  send_request(daemon, &request);
  serve_answer(daemon, options.command);
}
