/*
 * wire: the switch of an emulated LAN, with a delay. Kernels without sch_netem can't delay frames between network
 * namespaces, so this program does: it is a learning switch between TAP interfaces.
 *
 *   wire DELAY_US RATE_MBIT NAMESPACE...
 *
 * Makes `eth0` in each network namespace (a path such as /proc/123/ns/net; port 0, 1, …), prints `ready`, and forwards frames.
 * A frame reaches its host after it was on the cable to it (length / rate; rate 0: no limit) and after the delay. What
 * a port can't hold is dropped. Large frames pass whole (TSO), so a gigabit costs little CPU time.
 *
 * Standard input is the control: `unplug PORT` (the host sees its carrier go), `drop PORT` (frames vanish
 * silently both ways), `mend PORT`; each is answered with `ok`. Its end ends the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
  PORTS_MAX = 64,
  HEADER = 10,            /* struct virtio_net_hdr */
  FRAME_MAX = 66 * 1024,  /* header and a frame of TSO */
  BURST = 32,             /* frames taken from a port before the others have their turn */
  CABLE_OVERHEAD = 24,    /* preamble, checksum and gap of each frame on the cable */
  SEGMENT_HEADERS = 66,   /* Ethernet, IP and TCP headers of each segment of a TSO frame */
  SEGMENT = 1448
};

struct frame {
  struct frame *next;
  uint64_t due_ns;
  size_t length;
  unsigned char bytes[];
};

struct port {
  int tap;
  int cut;
  unsigned char mac[6];   /* of the host, once it has sent something */
  struct frame *first, *last;
  size_t queued_bytes;
  uint64_t cable_free_ns;
};

static struct port ports[PORTS_MAX];
static int port_count;
static uint64_t delay_ns, rate_mbit;
static size_t queue_max_bytes;

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int open_tap(const char *namespace) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  int header = HEADER;
  int handle = open(namespace, O_RDONLY | O_CLOEXEC);
  if (handle < 0 || setns(handle, CLONE_NEWNET) < 0) fail(namespace);
  close(handle);
  int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) fail("/dev/net/tun");
  strcpy(request.ifr_name, "eth0");
  if (ioctl(tap, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
  if (ioctl(tap, TUNSETVNETHDRSZ, &header) < 0) fail("TUNSETVNETHDRSZ");
  if (ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0) fail("TUNSETOFFLOAD");
  return tap;
}

static uint64_t cable_ns(size_t length) {
  if (rate_mbit == 0) return 0;
  uint64_t bytes = length - HEADER + CABLE_OVERHEAD;
  if (length > 2048) bytes += length / SEGMENT * (CABLE_OVERHEAD + SEGMENT_HEADERS);
  return bytes * 8000 / rate_mbit;
}

static void enqueue(struct port *port, const unsigned char *bytes, size_t length, uint64_t now) {
  if (port->cut || port->queued_bytes + length > queue_max_bytes) return;
  struct frame *frame = malloc(sizeof *frame + length);
  if (frame == NULL) return;
  uint64_t start = port->cable_free_ns > now ? port->cable_free_ns : now;
  port->cable_free_ns = start + cable_ns(length);
  *frame = (struct frame){.due_ns = port->cable_free_ns + delay_ns, .length = length};
  memcpy(frame->bytes, bytes, length);
  if (port->first == NULL) port->first = frame;
  else port->last->next = frame;
  port->last = frame;
  port->queued_bytes += length;
}

static void drop_first(struct port *port) {
  struct frame *frame = port->first;
  port->first = frame->next;
  port->queued_bytes -= frame->length;
  free(frame);
}

/* Hands over what is due; returns when the next frame is. */
static uint64_t deliver(struct port *port, uint64_t now) {
  while (port->first != NULL && port->first->due_ns <= now) {
    if (!port->cut) (void)!write(port->tap, port->first->bytes, port->first->length);
    drop_first(port);
  }
  return port->first == NULL ? UINT64_MAX : port->first->due_ns;
}

static void forward(struct port *from, const unsigned char *bytes, size_t length) {
  const unsigned char *destination = bytes + HEADER, *source = destination + 6;
  uint64_t now = now_ns();
  if (from->cut) return;
  memcpy(from->mac, source, 6);
  if ((destination[0] & 1) == 0)
    for (struct port *port = ports; port < ports + port_count; port++)
      if (memcmp(port->mac, destination, 6) == 0) {
        if (port != from) enqueue(port, bytes, length, now);
        return;
      }
  for (struct port *port = ports; port < ports + port_count; port++)
    if (port != from) enqueue(port, bytes, length, now);
}

static void take(struct port *port) {
  static unsigned char bytes[FRAME_MAX];
  for (int i = 0; i < BURST; i++) {
    ssize_t length = read(port->tap, bytes, sizeof bytes);
    if (length <= HEADER + 14) return;
    forward(port, bytes, (size_t)length);
  }
}

static void obey(char *line) {
  char word[16];
  int number;
  if (sscanf(line, "%15s %d", word, &number) != 2 || number < 0 || number >= port_count) exit(2);
  int carrier = strcmp(word, "unplug") != 0;
  ports[number].cut = strcmp(word, "mend") != 0;
  if (ioctl(ports[number].tap, TUNSETCARRIER, &carrier) < 0) fail("TUNSETCARRIER");
  puts("ok");
  fflush(stdout);
}

static void read_commands(void) {
  static char text[256];
  static size_t length;
  ssize_t count = read(STDIN_FILENO, text + length, sizeof text - 1 - length);
  if (count <= 0) exit(0);
  length += (size_t)count;
  text[length] = 0;
  for (char *end; (end = strchr(text, '\n')) != NULL;) {
    *end = 0;
    obey(text);
    length -= (size_t)(end + 1 - text);
    memmove(text, end + 1, length + 1);
  }
}

int main(int count, char **arguments) {
  struct pollfd polled[PORTS_MAX + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
  struct sched_param priority = {.sched_priority = 1};
  if (count < 4 || count - 3 > PORTS_MAX) {
    fputs("usage: wire DELAY_US RATE_MBIT NAMESPACE...\n", stderr);
    return 2;
  }
  delay_ns = strtoull(arguments[1], NULL, 10) * 1000;
  rate_mbit = strtoull(arguments[2], NULL, 10);
  queue_max_bytes = rate_mbit == 0 ? 16 << 20 : 1 << 20;
  for (; port_count < count - 3; port_count++) {
    ports[port_count].tap = open_tap(arguments[port_count + 3]);
    polled[port_count + 1] = (struct pollfd){.fd = ports[port_count].tap, .events = POLLIN};
  }
  prctl(PR_SET_TIMERSLACK, 1);
  sched_setscheduler(0, SCHED_FIFO, &priority); /* where not allowed, delays are less exact under load */
  puts("ready");
  fflush(stdout);
  for (;;) {
    uint64_t now = now_ns(), next = UINT64_MAX;
    for (int i = 0; i < port_count; i++) {
      uint64_t due = deliver(&ports[i], now);
      if (due < next) next = due;
    }
    now = now_ns();
    uint64_t wait = next > now ? next - now : 0;
    struct timespec time = {.tv_sec = (time_t)(wait / 1000000000), .tv_nsec = (long)(wait % 1000000000)};
    if (ppoll(polled, (nfds_t)port_count + 1, next == UINT64_MAX ? NULL : &time, NULL) <= 0) continue;
    if (polled[0].revents != 0) read_commands();
    for (int i = 0; i < port_count; i++)
      if (polled[i + 1].revents & POLLIN) take(&ports[i]);
  }
}
