#include "lip-socket.h"

#include <string.h>

#define BUFFER (64 << 20)

int open_lip_socket(void) {
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0), "socket");
  int one = 1, size = BUFFER;
  struct sockaddr_in own = end_point(INADDR_ANY, LIP_PORT);
  must(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size), "SO_RCVBUFFORCE");
  must(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size), "SO_SNDBUFFORCE");
  must(setsockopt(fd, SOL_IP, IP_PKTINFO, &one, sizeof one), "IP_PKTINFO");
  must(bind(fd, (struct sockaddr *)&own, sizeof own), "bind");
  return fd;
}

size_t set_lip(union lip_control *control, uint32_t flow) {
  struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(flow_address(LIP_NETWORK, flow))};
  control->header.cmsg_level = SOL_IP;
  control->header.cmsg_type = IP_PKTINFO;
  control->header.cmsg_len = CMSG_LEN(sizeof info);
  memcpy(CMSG_DATA(&control->header), &info, sizeof info);
  return CMSG_SPACE(sizeof info);
}

uint32_t received_at(struct msghdr *header) {
  struct cmsghdr *control = CMSG_FIRSTHDR(header);
  if (control == NULL || control->cmsg_level != SOL_IP || control->cmsg_type != IP_PKTINFO) return 0;
  struct in_pktinfo info;
  memcpy(&info, CMSG_DATA(control), sizeof info);
  return ntohl(info.ipi_addr.s_addr);
}

int open_flow_socket(uint32_t flow) {
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0), "socket");
  int size = BUFFER;
  struct sockaddr_in own = end_point(flow_address(LIP_NETWORK, flow), LIP_PORT), target = end_point(RIP, RPORT);
  must(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size), "SO_SNDBUFFORCE");
  must(bind(fd, (struct sockaddr *)&own, sizeof own), "bind");
  must(connect(fd, (struct sockaddr *)&target, sizeof target), "connect");
  return fd;
}
