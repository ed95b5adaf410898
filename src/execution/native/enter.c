/*
 * Enters home's tree and becomes the job: the last step of a job that sees home's files, whose programs may be another
 * system's. Static, so that nothing of that tree runs before every right is given up.
 *
 *     kappa-enter ROOT DIRECTORY COUNT NAME=VALUE... COMMAND [ARGUMENT...]
 *
 * COUNT variables are its whole environment. The command is found as execvp(3) does, on its PATH in the tree.
 * 3 takes one word when it can't be started, as from the script of any job: `notfound` or `notexecutable`.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STATUS = 3 };
enum { EXIT_NOTHING_RAN = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

static _Noreturn void give_up(const char *what, const char *name) {
  dprintf(STDERR_FILENO, "kappa: %s %s: %s\n", what, name, strerror(errno));
  _exit(EXIT_NOTHING_RAN);
}

static void give_rights_up(void) {
  /* As linux/capability.h has them, in its third version. */
  struct {
    uint32_t version;
    int pid;
  } header = {.version = 0x20080522};
  struct {
    uint32_t effective, permitted, inheritable;
  } none[2] = {{0}};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 || syscall(SYS_capset, &header, none) != 0)
    give_up("can't give up", "capabilities");
}

static bool is_file(const char *path) {
  struct stat file;
  return stat(path, &file) == 0 && S_ISREG(file.st_mode);
}

/* Returns only when it failed. A script without a first line that names its interpreter is one of sh. */
static void become(const char *path, char **words, char **variables) {
  execve(path, words, variables);
  if (errno != ENOEXEC) return;
  size_t count = 0;
  while (words[count] != NULL) count++;
  char **shell = calloc(count + 2, sizeof *shell);
  if (shell == NULL) return;
  shell[0] = "sh";
  shell[1] = (char *)path;
  for (size_t index = 1; index < count; index++) shell[index + 1] = words[index];
  execve("/bin/sh", shell, variables);
}

/* The last colon-separated part is as good as the first; an empty one is the working directory. */
static void become_one_of(const char *directories, char **words, char **variables) {
  bool found = false;
  int why = ENOENT;
  for (const char *at = directories;; at++) {
    const char *end = strchrnul(at, ':');
    char path[PATH_MAX + 1];
    int length = snprintf(path, sizeof path, "%.*s%s%s", (int)(end - at), at, end == at ? "" : "/", words[0]);
    if (length > 0 && (size_t)length < sizeof path && is_file(path)) {
      found = true;
      become(path, words, variables);
      why = errno;
    }
    if (*end == '\0') break;
    at = end;
  }
  errno = found && why == ENOENT ? EACCES : why;
}

static const char *path_of(char **variables) {
  for (; *variables != NULL; variables++)
    if (strncmp(*variables, "PATH=", 5) == 0) return *variables + 5;
  return "/usr/local/bin:/usr/bin:/bin";
}

int main(int count, char **words) {
  if (count < 5) {
    fputs("kappa-enter ROOT DIRECTORY COUNT NAME=VALUE... COMMAND [ARGUMENT...]: used by kappa itself\n", stderr);
    return EXIT_NOTHING_RAN;
  }
  const int variables_count = atoi(words[3]);
  if (variables_count < 0 || variables_count > count - 5) return EXIT_NOTHING_RAN;
  fcntl(STATUS, F_SETFD, FD_CLOEXEC);
  if (chroot(words[1]) != 0) give_up("can't enter", words[1]);
  give_rights_up();
  if (chdir(words[2]) != 0) give_up("can't enter the working directory", words[2]);

  char **variables = calloc((size_t)variables_count + 1, sizeof *variables);
  if (variables == NULL) give_up("no memory for", "the environment");
  memcpy(variables, words + 4, (size_t)variables_count * sizeof *variables);
  char **command = words + 4 + variables_count;
  if (strchr(command[0], '/') != NULL)
    become(command[0], command, variables);
  else
    become_one_of(path_of(variables), command, variables);
  const bool missing = errno == ENOENT || errno == ENOTDIR;
  dprintf(STATUS, missing ? "notfound\n" : "notexecutable\n");
  return missing ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}
