/*
 * What sender, receiver and loops share: the addresses of a flow, and the beginning of a payload.
 *
 *     flow f:  LIP 10.98.0.1 + f, port 40000  ->  10.97.0.2:7000        its client: 198.18.0.1 + f, port 5555
 */
#ifndef FLOWS_H
#define FLOWS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_FLOWS 65000

/* In host order. */
#define LIP_NETWORK 0x0a620000u
#define CLIENT_NETWORK 0xc6120000u
#define LIP_PORT 40000
#define CLIENT_PORT 5555
#define RIP 0x0a610002u
#define RPORT 7000

static inline uint32_t flow_address(uint32_t network, uint32_t flow) { return network + 1 + flow; }

static inline struct sockaddr_in end_point(uint32_t address, uint16_t port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
}

/* The beginning of every payload. */
struct stamp {
  uint64_t nanoseconds; /* CLOCK_MONOTONIC when it was sent */
  uint32_t flow;
};

/* What the receiver tells the sender meanwhile: a mapped file. */
struct counts {
  _Atomic uint64_t received; /* datagrams */
};

static inline uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline int must(int result, const char *what) {
  if (result >= 0) return result;
  perror(what);
  exit(1);
}

#endif
