/*
 * The load balancer's part: sends datagrams to the real server, and measures what comes out at the other end.
 *
 *     send COUNTS FLOWS SIZE BURST plain|segments WARM_UP SECONDS window|rate NUMBER [answers]
 *
 * BURST datagrams of SIZE bytes belong to one flow, the next ones to the next flow, in turns. `plain`: one sendmmsg() a
 * burst. `segments`: one sendmsg() with UDP_SEGMENT. With 0 SECONDS each flow has its turn once. `window N`: as fast as
 * they are received, with at most N under way, so nothing is sent only to be dropped. `rate N`: N a second, whatever
 * happens to them. COUNTS has the receiver's count. With `answers`, what comes back here counts instead.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/udp.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "counts.h"
#include "lip-socket.h"

#define LARGEST 65507
#define MAX_BURST 64
#define BATCH 64
#define MOST_SOCKETS 10000
/* Without progress for so long, what has not come is lost. */
#define STALL_NS 300000000u
/* The shortest sleep that is worth it. */
#define SLEEP_NS 100000u

struct options {
  uint32_t flows, size, burst;
  /* shared: one socket for all flows. */
  int segments, answers, shared;
  uint64_t warm_up_ns, duration_ns;
  uint64_t window, rate;
};

struct state {
  /* For all flows, or one for each. */
  int fd;
  int *flow_fd;
  struct counts *counts;
  uint32_t flow;
  uint64_t sent, given_up, answered, looks, strangers;
  uint64_t last_received, last_progress;
};

static char payload[MAX_BURST * 2048 + LARGEST];
static struct mmsghdr message[MAX_BURST];
static struct iovec piece[MAX_BURST];
static union lip_control control;
static struct sockaddr_in target;

static void set_segment(const struct options *options, int fd) {
  int size = (int)options->size;
  if (options->segments) must(setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof size), "UDP_SEGMENT");
}

static void open_sockets(const struct options *options, struct state *state) {
  if (options->shared) {
    state->fd = open_lip_socket();
    set_segment(options, state->fd);
    return;
  }
  struct rlimit most;
  must(getrlimit(RLIMIT_NOFILE, &most), "RLIMIT_NOFILE");
  most.rlim_cur = most.rlim_max;
  must(setrlimit(RLIMIT_NOFILE, &most), "RLIMIT_NOFILE");
  state->flow_fd = calloc(options->flows, sizeof *state->flow_fd);
  for (uint32_t flow = 0; flow < options->flows; flow++) {
    state->flow_fd[flow] = open_flow_socket(flow);
    set_segment(options, state->flow_fd[flow]);
  }
}

static void prepare(const struct options *options) {
  target = end_point(RIP, RPORT);
  uint32_t messages = options->segments ? 1 : options->burst;
  for (uint32_t i = 0; i < messages; i++) {
    size_t length = options->segments ? (size_t)options->size * options->burst : options->size;
    piece[i] = (struct iovec){.iov_base = payload + i * options->size, .iov_len = length};
    struct msghdr *header = &message[i].msg_hdr;
    *header = (struct msghdr){.msg_iov = &piece[i], .msg_iovlen = 1};
    if (!options->shared) continue;
    header->msg_name = &target;
    header->msg_namelen = sizeof target;
    header->msg_control = control.bytes;
    header->msg_controllen = set_lip(&control, 0);
  }
}

static void send_burst(const struct options *options, struct state *state) {
  struct stamp stamp = {.nanoseconds = nanoseconds(), .flow = state->flow};
  for (uint32_t i = 0; i < options->burst; i++) memcpy(payload + i * options->size, &stamp, sizeof stamp);
  if (options->shared) set_lip(&control, state->flow);
  int fd = options->shared ? state->fd : state->flow_fd[state->flow];
  if (++state->flow == options->flows) state->flow = 0;
  if (options->segments) {
    must((int)sendmsg(fd, &message[0].msg_hdr, 0), "sendmsg");
  } else {
    for (uint32_t done = 0; done < options->burst;)
      done += (uint32_t)must(sendmmsg(fd, message + done, options->burst - done, 0), "sendmmsg");
  }
  state->sent += options->burst;
}

/* ---- what has arrived ------------------------------------------------------------------------------------- */

static char answer[BATCH][2048];
static struct mmsghdr reply[BATCH];
static struct iovec reply_piece[BATCH];
static union lip_control reply_control;

/* Takes the answers that are here. The first of each batch has to come to its flow's LIP. */
static void take_answers(struct state *state) {
  for (int i = 0; i < BATCH; i++) {
    reply_piece[i] = (struct iovec){.iov_base = answer[i], .iov_len = sizeof answer[i]};
    reply[i].msg_hdr = (struct msghdr){.msg_iov = &reply_piece[i], .msg_iovlen = 1};
  }
  reply[0].msg_hdr.msg_control = reply_control.bytes;
  reply[0].msg_hdr.msg_controllen = sizeof reply_control.bytes;
  int got = recvmmsg(state->fd, reply, BATCH, MSG_DONTWAIT, NULL);
  if (got <= 0) return;
  struct stamp stamp;
  memcpy(&stamp, answer[0], sizeof stamp);
  state->answered += (uint64_t)got;
  state->looks++;
  state->strangers += received_at(&reply[0].msg_hdr) != flow_address(LIP_NETWORK, stamp.flow);
}

static uint64_t received(const struct options *options, struct state *state) {
  if (!options->answers) return atomic_load_explicit(&state->counts->received, memory_order_acquire);
  take_answers(state);
  return state->answered;
}

/* Datagrams under way. Lost ones count until nothing has arrived for STALL_NS. */
static uint64_t under_way(const struct options *options, struct state *state) {
  uint64_t now_received = received(options, state);
  if (now_received + state->given_up >= state->sent) state->given_up = 0;
  if (now_received >= state->sent) return 0;
  if (now_received != state->last_received) {
    state->last_received = now_received;
    state->last_progress = nanoseconds();
  } else if (nanoseconds() - state->last_progress > STALL_NS) {
    state->given_up = state->sent - now_received;
    state->last_progress = nanoseconds();
  }
  uint64_t out = now_received + state->given_up;
  return out >= state->sent ? 0 : state->sent - out;
}

/* ---- when to send ---------------------------------------------------------------------------------------- */

static void wait_for_room(const struct options *options, struct state *state) {
  while (under_way(options, state) + options->burst > options->window)
    if (!options->answers || state->answered == state->last_received) sched_yield();
}

static void wait_until(const struct options *options, struct state *state, uint64_t due) {
  for (uint64_t now = nanoseconds(); now < due; now = nanoseconds()) {
    if (options->answers) take_answers(state);
    struct timespec time = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
    if (due - now > SLEEP_NS) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
    else sched_yield();
  }
}

/* Sends for so many nanoseconds; for 0, one burst of each flow. */
static void send_for(const struct options *options, struct state *state, uint64_t duration_ns) {
  uint64_t start = nanoseconds();
  for (uint64_t bursts = 0; duration_ns > 0 ? nanoseconds() < start + duration_ns : bursts < options->flows; bursts++) {
    if (options->window > 0) wait_for_room(options, state);
    else wait_until(options, state, start + bursts * options->burst * 1000000000u / options->rate);
    send_burst(options, state);
  }
}

/* Waits for what is still under way. */
static void settle(const struct options *options, struct state *state) {
  state->given_up = 0;
  state->last_progress = nanoseconds();
  while (under_way(options, state) > 0) sched_yield();
}

static struct options read_options(int count, char **argument) {
  if (count < 10) exit(64);
  struct options options = {
      .flows = (uint32_t)atoi(argument[2]),
      .size = (uint32_t)atoi(argument[3]),
      .burst = (uint32_t)atoi(argument[4]),
      .segments = strcmp(argument[5], "segments") == 0,
      .warm_up_ns = (uint64_t)(atof(argument[6]) * 1e9),
      .duration_ns = (uint64_t)(atof(argument[7]) * 1e9),
      .answers = count > 10 && strcmp(argument[10], "answers") == 0,
  };
  if (strcmp(argument[8], "window") == 0) options.window = strtoul(argument[9], NULL, 10);
  else options.rate = strtoul(argument[9], NULL, 10);
  /* A socket for each flow sends faster, if there may be so many sockets and none receives. */
  options.shared = options.answers || options.flows > MOST_SOCKETS;
  int fits = options.flows > 0 && options.flows <= MAX_FLOWS && options.size >= sizeof(struct stamp) &&
             options.size <= 2048 && options.burst > 0 && options.burst <= MAX_BURST &&
             (!options.segments || options.size * options.burst <= LARGEST) &&
             (options.window >= options.burst || options.rate > 0);
  if (!fits) exit(64);
  return options;
}

int main(int count, char **argument) {
  struct options options = read_options(count, argument);
  struct state state = {.counts = map_counts(argument[1])};
  prctl(PR_SET_TIMERSLACK, 1);
  open_sockets(&options, &state);
  prepare(&options);
  state.last_progress = nanoseconds();

  if (options.warm_up_ns > 0) send_for(&options, &state, options.warm_up_ns);
  uint64_t received_before = received(&options, &state), sent_before = state.sent, begin = nanoseconds();
  send_for(&options, &state, options.duration_ns);
  uint64_t received_then = received(&options, &state), sent_then = state.sent, end = nanoseconds();
  settle(&options, &state);

  printf("{\"seconds\":%.6f,\"sent\":%lu,\"received\":%lu,\"sentInAll\":%lu,\"receivedInAll\":%lu,\"looks\":%lu,\"strangers\":%lu}\n",
         (double)(end - begin) / 1e9, sent_then - sent_before, received_then - received_before, state.sent,
         received(&options, &state), state.looks, state.strangers);
  return 0;
}
