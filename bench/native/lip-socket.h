#ifndef LIP_SOCKET_H
#define LIP_SOCKET_H

#include <sys/socket.h>

#include "flows.h"

/* Space for what `set_lip` writes and a mark behind it. */
union lip_control {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(8)];
};

/* One socket for all flows: their LIPs share a port. */
int open_lip_socket(void);

/* A socket for one flow. It can only send; it knows its route, so a datagram costs less. */
int open_flow_socket(uint32_t flow);

/* Lets a message leave from a flow's LIP, and gives the bytes of `control` that are used. */
size_t set_lip(union lip_control *control, uint32_t flow);

/* The LIP that a received message was sent to, in host order, or 0. */
uint32_t received_at(struct msghdr *header);

#endif
