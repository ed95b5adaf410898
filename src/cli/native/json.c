/* JSON, as far as the client and its daemon speak it. */

#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* ----------------------------------------------------------------------------------------------------- writing */

void json_flush(struct json_writer *writer) {
  size_t sent = 0;
  while (writer->fd >= 0 && sent < writer->held) {
    ssize_t count = send(writer->fd, writer->buffer + sent, writer->held - sent, MSG_NOSIGNAL);
    if (count > 0) sent += (size_t)count;
    /* The daemon has gone, or said already what was wrong: reading tells. */
    else if (errno != EINTR) writer->fd = -1;
  }
  writer->held = 0;
}

void json_put(struct json_writer *writer, const void *bytes, size_t count) {
  writer->bytes += count;
  if (writer->fd < 0) return;
  const unsigned char *rest = bytes;
  while (count > 0) {
    if (writer->held == sizeof writer->buffer) json_flush(writer);
    size_t room = sizeof writer->buffer - writer->held;
    size_t part = count < room ? count : room;
    memcpy(writer->buffer + writer->held, rest, part);
    writer->held += part;
    rest += part;
    count -= part;
  }
}

void json_raw(struct json_writer *writer, const char *text) {
  json_put(writer, text, strlen(text));
}

void json_number(struct json_writer *writer, uint64_t number) {
  char text[24];
  json_put(writer, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)number));
}

static void escaped(struct json_writer *writer, unsigned char byte) {
  char text[8];
  json_put(writer, text, (size_t)snprintf(text, sizeof text, "\\u%04x", byte));
}

void json_text(struct json_writer *writer, const char *text, size_t count) {
  json_put(writer, "\"", 1);
  size_t plain = 0;
  for (size_t at = 0; at < count; at++) {
    unsigned char byte = (unsigned char)text[at];
    if (byte >= ' ' && byte != '"' && byte != '\\') continue;
    json_put(writer, text + plain, at - plain);
    escaped(writer, byte);
    plain = at + 1;
  }
  json_put(writer, text + plain, count - plain);
  json_put(writer, "\"", 1);
}

void json_bytes(struct json_writer *writer, const char *bytes) {
  json_put(writer, "\"", 1);
  const char *plain = bytes;
  const char *at = bytes;
  for (; *at; at++) {
    unsigned char byte = (unsigned char)*at;
    if (byte >= ' ' && byte != '"' && byte != '\\' && byte < 0x80) continue;
    json_put(writer, plain, (size_t)(at - plain));
    plain = at + 1;
    unsigned char encoded[2] = {(unsigned char)(0xc0 | byte >> 6), (unsigned char)(0x80 | (byte & 0x3f))};
    if (byte < 0x80) escaped(writer, byte);
    else json_put(writer, encoded, sizeof encoded);
  }
  json_put(writer, plain, (size_t)(at - plain));
  json_put(writer, "\"", 1);
}

/* ----------------------------------------------------------------------------------------------------- reading */

struct reader {
  unsigned char *at;
  unsigned char *end;
};

/* Deeper than anything that a daemon says. */
enum { DEPTH_MAX = 16 };

/* Bytes of the valid character of UTF-8 at `at`; 0 when there is none. */
static size_t utf8_bytes(const unsigned char *at, const unsigned char *end) {
  unsigned char first = *at;
  if (first < 0x80) return 1;
  size_t count = first >= 0xc2 && first <= 0xdf ? 2 : (first & 0xf0) == 0xe0 ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
  if (count == 0 || (size_t)(end - at) < count) return 0;
  for (size_t index = 1; index < count; index++)
    if ((at[index] & 0xc0) != 0x80) return 0;
  /* Longer than need be, a surrogate, or beyond the last character. */
  bool wrong = (first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] > 0x9f) || (first == 0xf0 && at[1] < 0x90) ||
               (first == 0xf4 && at[1] > 0x8f);
  return wrong ? 0 : count;
}

bool is_utf8(const char *text) {
  const unsigned char *at = (const unsigned char *)text;
  const unsigned char *end = at + strlen(text);
  while (at < end) {
    size_t count = utf8_bytes(at, end);
    if (count == 0) return false;
    at += count;
  }
  return true;
}

static void skip_space(struct reader *reader) {
  while (reader->at < reader->end && memchr(" \t\r\n", *reader->at, 4)) reader->at++;
}

static bool take(struct reader *reader, char expected) {
  skip_space(reader);
  if (reader->at >= reader->end || *reader->at != (unsigned char)expected) return false;
  reader->at++;
  return true;
}

static bool read_word(struct reader *reader, const char *word) {
  size_t count = strlen(word);
  if ((size_t)(reader->end - reader->at) < count || memcmp(reader->at, word, count) != 0) return false;
  reader->at += count;
  return true;
}

/* Four hexadecimal digits; -1 when they aren't. */
static long read_unit(struct reader *reader) {
  if (reader->end - reader->at < 4) return -1;
  long unit = 0;
  for (int index = 0; index < 4; index++) {
    unsigned char digit = *reader->at++;
    if (digit >= '0' && digit <= '9') unit = unit * 16 + (digit - '0');
    else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f') unit = unit * 16 + ((digit | 0x20) - 'a' + 10);
    else return -1;
  }
  return unit;
}

static unsigned char *write_character(unsigned char *to, long character) {
  if (character < 0x80) *to++ = (unsigned char)character;
  else if (character < 0x800) *to++ = (unsigned char)(0xc0 | character >> 6);
  else if (character < 0x10000) *to++ = (unsigned char)(0xe0 | character >> 12);
  else *to++ = (unsigned char)(0xf0 | character >> 18);
  if (character >= 0x10000) *to++ = (unsigned char)(0x80 | (character >> 12 & 0x3f));
  if (character >= 0x800) *to++ = (unsigned char)(0x80 | (character >> 6 & 0x3f));
  if (character >= 0x80) *to++ = (unsigned char)(0x80 | (character & 0x3f));
  return to;
}

/* What stands behind `\u`; half a pair becomes U+FFFD, as when Node prints it. -1 when it isn't hexadecimal. */
static long read_unicode(struct reader *reader) {
  long unit = read_unit(reader);
  if (unit < 0xd800 || unit > 0xdfff) return unit;
  if (unit > 0xdbff || !read_word(reader, "\\u")) return 0xfffd;
  struct reader before = *reader;
  long second = read_unit(reader);
  if (second < 0) return -1;
  if (second >= 0xdc00 && second <= 0xdfff) return 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
  /* The second is a character of its own: it is read again. */
  before.at -= 2;
  *reader = before;
  return 0xfffd;
}

/* Decodes a string where it stands, which is never shorter than its text. NULL when it is malformed. */
static char *read_string(struct reader *reader) {
  static const char names[] = "\"\\/bfnrt";
  static const char meanings[] = "\"\\/\b\f\n\r\t";
  if (!take(reader, '"')) return NULL;
  unsigned char *text = reader->at;
  unsigned char *to = text;
  while (reader->at < reader->end && *reader->at != '"') {
    if (*reader->at < ' ') return NULL;
    if (*reader->at == '\\') {
      if (++reader->at >= reader->end) return NULL;
      unsigned char name = *reader->at++;
      const char *known = memchr(names, name, sizeof names - 1);
      long character = name == 'u' ? read_unicode(reader) : known ? meanings[known - names] : -1;
      if (character < 0) return NULL;
      /* A zero would end the text early. */
      to = write_character(to, character == 0 ? 0xfffd : character);
      continue;
    }
    size_t count = utf8_bytes(reader->at, reader->end);
    if (count == 0) return NULL;
    memmove(to, reader->at, count);
    to += count;
    reader->at += count;
  }
  if (reader->at >= reader->end) return NULL;
  reader->at++;
  *to = 0;
  return (char *)text;
}

static bool read_digits(struct reader *reader) {
  unsigned char *first = reader->at;
  while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') reader->at++;
  return reader->at > first;
}

/* `whole` becomes false when it is no integer or no int can hold it. */
static bool read_number(struct reader *reader, int *integer, bool *whole) {
  bool negative = read_word(reader, "-");
  unsigned char *first = reader->at;
  if (!read_digits(reader) || (*first == '0' && reader->at > first + 1)) return false;
  long value = 0;
  *whole = reader->at - first <= 9;
  for (unsigned char *digit = first; *whole && digit < reader->at; digit++) value = value * 10 + (*digit - '0');
  if (read_word(reader, ".")) {
    *whole = false;
    if (!read_digits(reader)) return false;
  }
  if (read_word(reader, "e") || read_word(reader, "E")) {
    *whole = false;
    if (!read_word(reader, "+")) read_word(reader, "-");
    if (!read_digits(reader)) return false;
  }
  *integer = (int)(negative ? -value : value);
  return true;
}

static bool skip_value(struct reader *reader, int depth);

/* Passes over the members of an object or the items of an array. */
static bool skip_members(struct reader *reader, int depth, bool named, char close) {
  if (depth >= DEPTH_MAX) return false;
  if (take(reader, close)) return true;
  do {
    if (named && (!read_string(reader) || !take(reader, ':'))) return false;
    if (!skip_value(reader, depth + 1)) return false;
  } while (take(reader, ','));
  return take(reader, close);
}

static bool skip_value(struct reader *reader, int depth) {
  skip_space(reader);
  if (reader->at >= reader->end) return false;
  int integer;
  bool whole;
  if (*reader->at == '"') return read_string(reader) != NULL;
  if (take(reader, '{')) return skip_members(reader, depth, true, '}');
  if (take(reader, '[')) return skip_members(reader, depth, false, ']');
  if (read_word(reader, "null") || read_word(reader, "true") || read_word(reader, "false")) return true;
  return read_number(reader, &integer, &whole);
}

static bool read_field(struct reader *reader, struct json_field *field) {
  skip_space(reader);
  field->present = !read_word(reader, "null");
  if (!field->present) return true;
  if (field->kind == JSON_TEXT) {
    field->text = read_string(reader);
    return field->text != NULL;
  }
  bool whole = false;
  return read_number(reader, &field->integer, &whole) && whole;
}

bool json_read(unsigned char *bytes, size_t count, struct json_field *fields, size_t field_count) {
  struct reader reader = {bytes, bytes + count};
  if (!take(&reader, '{')) return false;
  bool empty = take(&reader, '}');
  while (!empty) {
    char *name = read_string(&reader);
    if (!name || !take(&reader, ':')) return false;
    struct json_field *field = NULL;
    for (size_t index = 0; index < field_count; index++)
      if (strcmp(fields[index].name, name) == 0) field = &fields[index];
    if (!(field ? read_field(&reader, field) : skip_value(&reader, 0))) return false;
    if (!take(&reader, ',')) {
      if (!take(&reader, '}')) return false;
      break;
    }
  }
  skip_space(&reader);
  return reader.at == reader.end;
}
