/*
 * The load balancer's part before the measurement: sends a standalone mark for each flow until its ACK comes.
 *
 *     mark FLOWS
 *
 * The kernel writes the option into the IPv4 header (IP_RETOPTS). ACKs are empty datagrams with an option, and the
 * kernel delivers them like any datagram.
 */
#include <poll.h>
#include <string.h>

#include "lip-socket.h"

#define OPTION 0x1f
#define PATIENCE_NS 10000000000u
/* Marks without ACK at a time. */
#define AHEAD 32

static char acknowledged[MAX_FLOWS];

static void send_mark(int fd, uint32_t flow) {
  union lip_control control = {0};
  struct sockaddr_in target = end_point(RIP, RPORT);
  struct msghdr header = {.msg_name = &target, .msg_namelen = sizeof target, .msg_control = control.bytes};
  uint32_t client = htonl(flow_address(CLIENT_NETWORK, flow));
  uint8_t mark[8] = {OPTION, sizeof mark, CLIENT_PORT >> 8, CLIENT_PORT & 0xff};
  memcpy(mark + 4, &client, 4);

  header.msg_controllen = sizeof control.bytes;
  set_lip(&control, flow);
  struct cmsghdr *options = CMSG_NXTHDR(&header, &control.header);
  options->cmsg_level = SOL_IP;
  options->cmsg_type = IP_RETOPTS;
  options->cmsg_len = CMSG_LEN(sizeof mark);
  memcpy(CMSG_DATA(options), mark, sizeof mark);
  must((int)sendmsg(fd, &header, 0), "send mark");
}

/* Takes the ACKs that are here, and returns the number of new ones. */
static uint32_t take_acks(int fd, uint32_t flows) {
  uint32_t news = 0;
  for (;;) {
    union lip_control control;
    char payload[2048];
    struct iovec piece = {.iov_base = payload, .iov_len = sizeof payload};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t length = recvmsg(fd, &header, MSG_DONTWAIT);
    if (length < 0) return news;
    uint32_t flow = received_at(&header) - flow_address(LIP_NETWORK, 0);
    if (length > 0 || flow >= flows || acknowledged[flow]) continue;
    acknowledged[flow] = 1;
    news++;
  }
}

int main(int count, char **argument) {
  uint32_t flows = count > 1 ? (uint32_t)atoi(argument[1]) : 0;
  if (flows == 0 || flows > MAX_FLOWS) return 64;
  int fd = open_lip_socket();
  uint64_t deadline = nanoseconds() + PATIENCE_NS;
  uint32_t known = 0;
  while (known < flows && nanoseconds() < deadline) {
    uint32_t sent = 0;
    for (uint32_t flow = 0; flow < flows && sent < AHEAD; flow++) {
      if (acknowledged[flow]) continue;
      send_mark(fd, flow);
      sent++;
    }
    struct pollfd answers = {.fd = fd, .events = POLLIN};
    poll(&answers, 1, 20);
    known += take_acks(fd, flows);
  }
  printf("{\"flows\":%u,\"acknowledged\":%u}\n", flows, known);
  return known == flows ? 0 : 1;
}
