/*
 * The least that a program can do with a TUN: poll, then one read() and one write() a packet, in batches. In between
 * the source becomes the client's, which is computed and not looked up; checksums are updated incrementally. Replies go
 * the other way, through a raw socket.
 *
 *     c-loop NAME [uso | queues N]
 *
 * With `uso` the TUN brings super-packets and unfinished checksums, and gets them back as they are. With `queues` there
 * are N threads, each with a queue of the TUN to itself; the kernel gives each flow a queue.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "flows.h"
#include "tun.h"

#define BATCH 64
/* An odd number of cache lines, so that packets are not all in one set of the cache. */
#define ROOM (65536 + 64)
#define VIRTIO_HEADER 12
#define MARK 0x20
#define SEND_BUFFER (4 << 20)
#define NETWORK_MASK 0xffff0000u

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* Offsets in an IPv4 packet without options. Other packets are left alone. */
#define PROTOCOL 9
#define HEADER_CHECKSUM 10
#define SOURCE 12
#define DESTINATION 16
#define UDP_HEADER 20
#define UDP_CHECKSUM 26

static _Thread_local uint8_t packet[BATCH][ROOM];
static _Thread_local size_t length[BATCH];

static uint32_t read32(const uint8_t *at) { return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]; }
static uint16_t read16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static void write16(uint8_t *at, uint32_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static uint32_t fold(uint32_t sum) {
  sum = (sum >> 16) + (sum & 0xffff);
  return (sum >> 16) + (sum & 0xffff);
}

/* RFC 1624: ~m + m' */
static uint32_t change(uint32_t before, uint32_t after) {
  return (~before & 0xffff) + (~before >> 16) + (after & 0xffff) + (after >> 16);
}

/* Replaces an address and the port that goes with it. */
static void replace(uint8_t *ip, int partial, int address_at, uint32_t address, int port_at, uint16_t port) {
  uint32_t address_change = change(read32(ip + address_at), address);
  uint32_t port_change = (~(uint32_t)read16(ip + port_at) & 0xffff) + port;
  uint32_t checksum = read16(ip + UDP_CHECKSUM);
  uint32_t network_order = htonl(address);
  memcpy(ip + address_at, &network_order, 4);
  write16(ip + port_at, port);
  write16(ip + HEADER_CHECKSUM, ~fold((~(uint32_t)read16(ip + HEADER_CHECKSUM) & 0xffff) + address_change));
  if (partial) write16(ip + UDP_CHECKSUM, fold(checksum + address_change));
  else if (checksum != 0) {
    checksum = ~fold((~checksum & 0xffff) + address_change + port_change) & 0xffff;
    write16(ip + UDP_CHECKSUM, checksum == 0 ? 0xffff : checksum);
  }
}

enum way { NOWHERE, TO_STACK, TO_NETWORK };

static enum way handle(uint8_t *whole, size_t size) {
  uint8_t *ip = whole + VIRTIO_HEADER;
  if (size < VIRTIO_HEADER + 28 || ip[0] != 0x45 || ip[PROTOCOL] != IPPROTO_UDP) return NOWHERE;
  int partial = (whole[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
  uint32_t source = read32(ip + SOURCE), destination = read32(ip + DESTINATION);
  if ((source & NETWORK_MASK) == LIP_NETWORK) {
    replace(ip, partial, SOURCE, CLIENT_NETWORK | (source & ~NETWORK_MASK), UDP_HEADER, CLIENT_PORT);
    return TO_STACK;
  }
  if ((destination & NETWORK_MASK) != CLIENT_NETWORK || partial) return NOWHERE;
  replace(ip, 0, DESTINATION, LIP_NETWORK | (destination & ~NETWORK_MASK), UDP_HEADER + 2, LIP_PORT);
  return TO_NETWORK;
}

/* ---- replies ----------------------------------------------------------------------------------------------- */

static _Thread_local struct mmsghdr message[BATCH];
static _Thread_local struct iovec piece[BATCH];
static _Thread_local struct sockaddr_in target[BATCH];
static _Thread_local unsigned replies;

static void add_reply(uint8_t *whole, size_t size) {
  target[replies] = end_point(read32(whole + VIRTIO_HEADER + DESTINATION), 0);
  piece[replies] = (struct iovec){.iov_base = whole + VIRTIO_HEADER, .iov_len = size - VIRTIO_HEADER};
  message[replies].msg_hdr = (struct msghdr){.msg_name = &target[replies],
                                             .msg_namelen = sizeof target[replies],
                                             .msg_iov = &piece[replies],
                                             .msg_iovlen = 1};
  replies++;
}

static void send_replies(int fd) {
  for (unsigned done = 0; done < replies;) {
    int sent = sendmmsg(fd, message + done, replies - done, MSG_DONTWAIT);
    done += sent > 0 ? (unsigned)sent : 1;
  }
  replies = 0;
}

static int open_raw(void) {
  int fd = must(socket(AF_INET, SOCK_RAW, IPPROTO_RAW), "raw socket");
  int mark = MARK, size = SEND_BUFFER;
  must(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark), "SO_MARK");
  must(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size), "SO_SNDBUFFORCE");
  return fd;
}

static void *serve(void *descriptor) {
  int tun = (int)(intptr_t)descriptor, raw = open_raw();
  for (;;) {
    struct pollfd readable = {.fd = tun, .events = POLLIN};
    poll(&readable, 1, -1);
    int got = 0;
    while (got < BATCH) {
      ssize_t bytes = read(tun, packet[got], ROOM);
      if (bytes <= 0) break;
      length[got++] = (size_t)bytes;
    }
    for (int i = 0; i < got; i++) {
      switch (handle(packet[i], length[i])) {
        case TO_STACK:
          if (write(tun, packet[i], length[i]) < 0 && errno != EAGAIN) perror("write");
          break;
        case TO_NETWORK:
          add_reply(packet[i], length[i]);
          break;
        case NOWHERE:
          break;
      }
    }
    if (replies > 0) send_replies(raw);
  }
  return NULL;
}

int main(int count, char **argument) {
  if (count < 2) return 64;
  int uso = count > 2 && strcmp(argument[2], "uso") == 0;
  int queues = count > 3 && strcmp(argument[2], "queues") == 0 ? atoi(argument[3]) : 1;
  int flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0);
  for (int i = 0; i < queues; i++) {
    int tun = open_tun(argument[1], flags, VIRTIO_HEADER);
    must(ioctl(tun, TUNSETOFFLOAD, uso ? TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6 : 0), "TUNSETOFFLOAD");
    must(fcntl(tun, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
    pthread_t thread;
    if (i < queues - 1) must(-pthread_create(&thread, NULL, serve, (void *)(intptr_t)tun), "pthread_create");
    else serve((void *)(intptr_t)tun);
  }
}
