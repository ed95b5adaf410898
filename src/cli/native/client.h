/*
 * The native client of `kappa run`: what src/cli/run.ts does in the usual case, without the start of Node, which would be
 * most of what a short job costs. The Node client stays the reference; whatever is unusual is left to it, before
 * anything has been asked of the daemon.
 *
 * Bounds: 128 KiB for what comes from the daemon, 65 KiB for what goes to it, 1 MiB for each of stdout, stderr and the
 * terminal, which is what flow control lets come unread (touched only as far as their readers are slow).
 */

#ifndef KAPPA_CLIENT_H
#define KAPPA_CLIENT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses of src/errors.ts. */
enum { EXIT_FAILED = 1, EXIT_LOST = 123, EXIT_NOTHING_RAN = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* Frames of src/protocols/exec/frames.ts: a length u32, then type u8 and channel u32, then what each type has. */
enum {
  FRAME_STARTED = 3,
  FRAME_END = 9,
  FRAME_SIGNAL = 11,
  FRAME_RESIZE = 14,
  FRAME_STOPPED = 15,
  FRAME_DATA = 16,
  FRAME_ACK = 17,
  FRAME_EOF = 18,
  FRAME_CLOSE = 19,
  FRAME_REQUEST = 64,
  FRAME_FAILURE = 68,
  FRAME_LOCAL = 69,
  FRAME_LOCAL_ENDED = 70,
  FRAME_NOTICE = 71
};
enum { LENGTH_BYTES = 4, HEADER_BYTES = 5, STREAM_BYTES = HEADER_BYTES + 1, OFFSET_BYTES = 6 };

/* ------------------------------------------------------------------------------------------------------ json.c */

/* Writes JSON to a socket; with a negative descriptor it only counts. */
struct json_writer {
  int fd;
  /* So far, sent or not. */
  size_t bytes;
  size_t held;
  unsigned char buffer[16 * 1024];
};

void json_put(struct json_writer *writer, const void *bytes, size_t count);
/* Text as it stands in the program. */
void json_raw(struct json_writer *writer, const char *text);
/* A string whose bytes are UTF-8 already. */
void json_text(struct json_writer *writer, const char *text, size_t count);
/* A string that carries any bytes: each is the character of the same number. */
void json_bytes(struct json_writer *writer, const char *bytes);
void json_number(struct json_writer *writer, uint64_t number);
void json_flush(struct json_writer *writer);

/* A member of an object that is looked for; null is the same as none. */
struct json_field {
  const char *name;
  enum { JSON_TEXT, JSON_INTEGER } kind;
  bool present;
  /* Where it was decoded, in the place of what was read, with a zero behind it. */
  char *text;
  int integer;
};

/* Reads one object; other members are passed over. False: it isn't valid, or a field is of another kind. */
bool json_read(unsigned char *bytes, size_t count, struct json_field *fields, size_t field_count);

bool is_utf8(const char *text);

/* --------------------------------------------------------------------------------------------------- signals.c */

extern struct signals {
  /* Gives what is passed on and the end of a child, as they come (signalfd); -1 until they are watched. */
  int fd;
  sigset_t watched;
  /* What the command here must get back. */
  sigset_t mask_before;
  bool child_was_ignored;
} signals;

/*
 * Signals for the job come by the descriptor from now on. Those that were ignored stay so (nohup, jobs in the background
 * of a script), for this process as for the command.
 */
void watch_signals(void);
/* Gives a signal its effect on this process again. */
void unwatch_signal(int number);

const char *signal_name(int number, char other[24]);
/* Real-time signals count from SIGRTMIN, which is 34 for every libc on Linux. 0: there is no such name. */
int signal_number(const char *name);

/* Leaves as the job left: by the same signal where shells and make look at that, else with the status of a shell. */
_Noreturn void leave(int status, int number);

/* -------------------------------------------------------------------------------------------------- terminal.c */

extern struct terminal {
  /* Of the job, that are its terminal: bit n for descriptor n; 0: it gets none. */
  int descriptors;
  /* `-t`: all of them, whatever is a terminal here; keys come from stdin, and stdout gets the screen. */
  bool forced;
  /* Opened anew where that is allowed; negative: there is none here. */
  int fd;
  /* The standard stream that it is. */
  int number;
  bool locks;
  /* It is given over to the job. */
  bool raw;
  /* What the job has shown last did not end its line. */
  bool in_line;
  unsigned rows, columns;
} terminal;

/* Whether the job gets one: when a standard stream is the terminal of this process. */
void find_terminal(bool force, bool forbid);
/* What is asked of the daemon; nothing when the job gets none. */
void put_terminal(struct json_writer *writer);
/* Whether it has changed since it was told. */
bool new_size(void);
/* Gives it over to the job, if this process is in the foreground and no other client has it. */
void hold_terminal(void);
/* After a stop that nobody announced: somebody may have set it otherwise. */
void hold_terminal_again(void);
/* Another group of processes has it now. */
void lose_terminal(void);
bool lost_terminal(void);
/* As it was before. */
void release_terminal(void);

/* ------------------------------------------------------------------------------------------------------ here.c */

/* What the user asked of the environment. */
extern struct wishes {
  /* None but these, and what says where the job is. */
  bool no_env;
  /* `NAME`, as it is here, or `NAME=value`. */
  const char *const *env;
  size_t env_count;
} wishes;

/* Runs the command here; `daemon` is told of its end unless negative. */
_Noreturn void run_here(int daemon, char **command);

/* ----------------------------------------------------------------------------------------------------- there.c */

/* Serves the daemon's answer to its end. */
_Noreturn void serve_answer(int daemon, char **command);

/* ---------------------------------------------------------------------------------------------------- client.c */

/* One line on stderr, in one piece: the strings up to a NULL, 8 at most. */
void say(const char *first, ...);

/* The name and the words of an error, as Node has them. */
const char *error_name(int error);
const char *error_words(int error);

#endif
