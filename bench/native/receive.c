/*
 * The application: receives datagrams as fast as they come, and prints at the end what it saw.
 *
 *     receive COUNTS NETWORK PORT [answer] [gro] [latency]
 *
 * COUNTS is the file that the sender reads meanwhile. Sources have to be NETWORK + 1 + flow (hexadecimal) and PORT; the
 * first datagram of each recvmmsg() is checked. `answer` sends everything back. `latency` notes the age of every
 * datagram, and sleeps until one comes. Without it the program never sleeps, so that waking up is not measured.
 * SIGTERM ends it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/sock_diag.h>

#include "counts.h"

#define BATCH 64
/* An odd number of cache lines, so that payloads are not all in one set of the cache. */
#define LARGEST (65536 + 64)
#define RECEIVE_BUFFER (256 << 20)
#define MAX_AGES 4000000

static volatile sig_atomic_t ended;
static void end(int signal_number) {
  (void)signal_number;
  ended = 1;
}

struct options {
  uint32_t network;
  uint16_t port;
  int answers, gro, latency;
};

struct seen {
  uint64_t datagrams, looks, strangers, answered, ages;
};

static struct mmsghdr message[BATCH];
static struct iovec piece[BATCH];
static struct sockaddr_in source[BATCH];
static union {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
} control[BATCH];
static char payload[BATCH][LARGEST];
static uint32_t *age;

static int open_socket(const struct options *options) {
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0), "socket");
  int one = 1, size = RECEIVE_BUFFER;
  struct timeval patience = {.tv_usec = 100000};
  struct sockaddr_in own = end_point(INADDR_ANY, RPORT);
  must(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size), "SO_RCVBUFFORCE");
  must(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size), "SO_SNDBUFFORCE");
  must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), "SO_RCVTIMEO");
  if (options->gro) must(setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one), "UDP_GRO");
  must(bind(fd, (struct sockaddr *)&own, sizeof own), "bind");
  return fd;
}

/* The kernel writes source addresses only where they are read. */
static void prepare(const struct options *options) {
  for (int i = 0; i < BATCH; i++) {
    struct msghdr *header = &message[i].msg_hdr;
    piece[i] = (struct iovec){.iov_base = payload[i], .iov_len = LARGEST};
    header->msg_iov = &piece[i];
    header->msg_iovlen = 1;
    header->msg_name = i == 0 || options->answers ? &source[i] : NULL;
    header->msg_namelen = header->msg_name == NULL ? 0 : sizeof source[i];
    header->msg_control = options->gro ? control[i].bytes : NULL;
    header->msg_controllen = options->gro ? sizeof control[i].bytes : 0;
  }
}

/* How many datagrams a message stands for. */
static uint64_t datagrams_in(struct mmsghdr *one) {
  struct cmsghdr *header = CMSG_FIRSTHDR(&one->msg_hdr);
  if (header == NULL || header->cmsg_level != SOL_UDP || header->cmsg_type != UDP_GRO) return 1;
  int size;
  memcpy(&size, CMSG_DATA(header), sizeof size);
  return (one->msg_len + (unsigned)size - 1) / (unsigned)size;
}

static void look(const struct options *options, struct seen *seen) {
  struct stamp stamp;
  memcpy(&stamp, payload[0], sizeof stamp);
  struct sockaddr_in right = end_point(flow_address(options->network, stamp.flow), options->port);
  seen->looks++;
  seen->strangers +=
      right.sin_addr.s_addr != source[0].sin_addr.s_addr || right.sin_port != source[0].sin_port;
}

static void note_age(int i, struct seen *seen) {
  struct stamp stamp;
  memcpy(&stamp, payload[i], sizeof stamp);
  if (seen->ages < MAX_AGES) age[seen->ages++] = (uint32_t)(nanoseconds() - stamp.nanoseconds);
}

static void answer(int fd, int count, struct seen *seen) {
  for (int i = 0; i < count; i++) piece[i].iov_len = message[i].msg_len;
  for (int done = 0; done < count;) {
    int sent = sendmmsg(fd, message + done, (unsigned)(count - done), 0);
    if (sent <= 0) break;
    done += sent;
    seen->answered += (uint64_t)sent;
  }
  for (int i = 0; i < count; i++) piece[i].iov_len = LARGEST;
}

static int is_less(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

static void report(int fd, struct seen *seen) {
  uint32_t memory[SK_MEMINFO_VARS] = {0};
  socklen_t size = sizeof memory;
  getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size);
  if (seen->ages > 0) qsort(age, seen->ages, sizeof *age, is_less);
  printf("{\"received\":%lu,\"answered\":%lu,\"looks\":%lu,\"strangers\":%lu,\"socketDrops\":%u,\"ages\":%lu", seen->datagrams,
         seen->answered, seen->looks, seen->strangers, memory[SK_MEMINFO_DROPS], seen->ages);
  if (seen->ages > 0) printf(",\"p50\":%u,\"p99\":%u", age[seen->ages / 2], age[seen->ages * 99 / 100]);
  printf("}\n");
}

int main(int count, char **argument) {
  if (count < 4) return 64;
  struct options options = {.network = (uint32_t)strtoul(argument[2], NULL, 16),
                            .port = (uint16_t)atoi(argument[3])};
  for (int i = 4; i < count; i++) {
    options.answers |= strcmp(argument[i], "answer") == 0;
    options.gro |= strcmp(argument[i], "gro") == 0;
    options.latency |= strcmp(argument[i], "latency") == 0;
  }
  struct counts *counts = map_counts(argument[1]);
  struct seen seen = {0};
  struct sigaction action = {.sa_handler = end};
  sigaction(SIGTERM, &action, NULL);
  if (options.latency) age = calloc(MAX_AGES, sizeof *age);
  int fd = open_socket(&options);
  printf("ready\n");
  fflush(stdout);

  while (!ended) {
    prepare(&options);
    int got = recvmmsg(fd, message, BATCH, options.latency ? MSG_WAITFORONE : MSG_DONTWAIT, NULL);
    if (got <= 0) {
      if (errno != EAGAIN && errno != EINTR) must(got, "recvmmsg");
      if (!options.latency) sched_yield();
      continue;
    }
    look(&options, &seen);
    for (int i = 0; i < got; i++) {
      seen.datagrams += options.gro ? datagrams_in(&message[i]) : 1;
      if (options.latency) note_age(i, &seen);
    }
    atomic_store_explicit(&counts->received, seen.datagrams, memory_order_release);
    if (options.answers) answer(fd, got, &seen);
  }
  report(fd, &seen);
  return 0;
}
