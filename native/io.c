/*
 * Thin system calls for uoa-shim: a TUN device, raw sockets, poll and batches of packets.
 *
 * No policy lives here. Every function returns what its system call returned, or -errno; nothing throws but a
 * call with arguments of the wrong type. Buffers are typed arrays that the caller owns and keeps alive for the
 * call; nothing is allocated per packet.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <node_api.h>

#define MAX_ARGUMENTS 6
#define MAX_BATCH 64

/* ---- arguments and results ---------------------------------------------------------------------------- */

static bool read_arguments(napi_env env, napi_callback_info info, size_t wanted, napi_value *values) {
  size_t count = MAX_ARGUMENTS;
  if (napi_get_cb_info(env, info, &count, values, NULL, NULL) == napi_ok && count >= wanted) return true;
  napi_throw_type_error(env, NULL, "too few arguments");
  return false;
}

static bool read_int(napi_env env, napi_value value, int32_t *out) {
  if (napi_get_value_int32(env, value, out) == napi_ok) return true;
  napi_throw_type_error(env, NULL, "expected a number");
  return false;
}

struct array {
  void *data;
  size_t length; /* elements */
};

static bool read_array(napi_env env, napi_value value, napi_typedarray_type type, struct array *out) {
  napi_typedarray_type actual;
  if (napi_get_typedarray_info(env, value, &actual, &out->length, &out->data, NULL, NULL) == napi_ok &&
      actual == type)
    return true;
  napi_throw_type_error(env, NULL, "expected a typed array of another kind");
  return false;
}

static napi_value give_int(napi_env env, int64_t result) {
  napi_value value;
  napi_create_int32(env, (int32_t)result, &value);
  return value;
}

static napi_value give_result(napi_env env, int64_t result) { return give_int(env, result < 0 ? -errno : result); }

/* ---- descriptors -------------------------------------------------------------------------------------- */

/* openTun(name): descriptor. A TUN without packet information, with a 12-byte virtio-net header. */
static napi_value open_tun(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  if (!read_arguments(env, info, 1, argument)) return NULL;

  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
  size_t length;
  if (napi_get_value_string_utf8(env, argument[0], request.ifr_name, IFNAMSIZ, &length) != napi_ok) {
    napi_throw_type_error(env, NULL, "expected a name");
    return NULL;
  }

  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return give_result(env, fd);
  int header_size = 12; /* virtio_net_hdr_mrg_rxbuf: keeps the IP header on a 4-byte boundary */
  if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0) {
    int error = errno;
    close(fd);
    return give_int(env, -error);
  }
  return give_int(env, fd);
}

/* setTunOffload(fd, flags): 0. What the reader of a TUN can do by itself (TUN_F_... of linux/if_tun.h). */
static napi_value set_tun_offload(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t fd, flags;
  if (!read_arguments(env, info, 2, argument) || !read_int(env, argument[0], &fd) ||
      !read_int(env, argument[1], &flags))
    return NULL;
  return give_result(env, ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags));
}

/* openSocket(domain, type, protocol): descriptor, non-blocking. */
static napi_value open_socket(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t domain, type, protocol;
  if (!read_arguments(env, info, 3, argument) || !read_int(env, argument[0], &domain) ||
      !read_int(env, argument[1], &type) || !read_int(env, argument[2], &protocol))
    return NULL;
  return give_result(env, socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

/* setSocketOption(fd, level, name, integer): 0. */
static napi_value set_socket_option(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t fd, level, name, value;
  if (!read_arguments(env, info, 4, argument) || !read_int(env, argument[0], &fd) ||
      !read_int(env, argument[1], &level) || !read_int(env, argument[2], &name) ||
      !read_int(env, argument[3], &value))
    return NULL;
  return give_result(env, setsockopt(fd, level, name, &value, sizeof value));
}

/* getSocketOption(fd, level, name): the integer, which has to be 0 or more. */
static napi_value get_socket_option(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t fd, level, name, value = 0;
  if (!read_arguments(env, info, 3, argument) || !read_int(env, argument[0], &fd) ||
      !read_int(env, argument[1], &level) || !read_int(env, argument[2], &name))
    return NULL;
  socklen_t size = sizeof value;
  int result = getsockopt(fd, level, name, &value, &size);
  return give_result(env, result < 0 ? result : value);
}

/* getSocketOption64(fd, level, name): an unsigned 64-bit option as a BigInt, 0 if the kernel has none such. */
static napi_value get_socket_option64(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS], result;
  int32_t fd, level, name;
  if (!read_arguments(env, info, 3, argument) || !read_int(env, argument[0], &fd) ||
      !read_int(env, argument[1], &level) || !read_int(env, argument[2], &name))
    return NULL;
  uint64_t value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(fd, level, name, &value, &size) < 0) value = 0;
  napi_create_bigint_uint64(env, value, &result);
  return result;
}

/* connectTo(fd, words: Int32Array, at, port): 0. Four words in host order from `at` on, IPv4 as ::ffff:a.b.c.d. */
static napi_value connect_to(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t fd, at, port;
  struct array words;
  if (!read_arguments(env, info, 4, argument) || !read_int(env, argument[0], &fd) ||
      !read_array(env, argument[1], napi_int32_array, &words) || !read_int(env, argument[2], &at) ||
      !read_int(env, argument[3], &port))
    return NULL;
  if (at < 0 || (size_t)at + 4 > words.length) {
    napi_throw_range_error(env, NULL, "address outside its array");
    return NULL;
  }
  const uint32_t *word = (uint32_t *)words.data + at;
  if (word[0] == 0 && word[1] == 0 && word[2] == 0xffff) {
    struct sockaddr_in target = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(word[3])};
    return give_result(env, connect(fd, (struct sockaddr *)&target, sizeof target));
  }
  struct sockaddr_in6 target = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  for (int i = 0; i < 4; i++) target.sin6_addr.s6_addr32[i] = htonl(word[i]);
  return give_result(env, connect(fd, (struct sockaddr *)&target, sizeof target));
}

/* openEvent(): an eventfd for waking a thread that blocks in wait(). */
static napi_value open_event(napi_env env, napi_callback_info info) {
  (void)info;
  return give_result(env, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

/* signalEvent(fd): wakes it. */
static napi_value signal_event(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t fd;
  if (!read_arguments(env, info, 1, argument) || !read_int(env, argument[0], &fd)) return NULL;
  uint64_t one = 1;
  return give_result(env, write(fd, &one, sizeof one));
}

/* lockFile(fd): an exclusive flock that goes with the descriptor; EWOULDBLOCK if somebody holds it. */
static napi_value lock_file(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t fd;
  if (!read_arguments(env, info, 1, argument) || !read_int(env, argument[0], &fd)) return NULL;
  return give_result(env, flock(fd, LOCK_EX | LOCK_NB));
}

/* closeDescriptor(fd): 0. */
static napi_value close_descriptor(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t fd;
  if (!read_arguments(env, info, 1, argument) || !read_int(env, argument[0], &fd)) return NULL;
  return give_result(env, close(fd));
}

/* adviseHugePages(memory): 0. Asks for pages of 2 MB, as far as the memory holds whole ones (madvise(2)). */
static napi_value advise_huge_pages(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  struct array memory;
  if (!read_arguments(env, info, 1, argument) || !read_array(env, argument[0], napi_uint8_array, &memory)) return NULL;
  const uintptr_t page = 2 << 20;
  uintptr_t from = ((uintptr_t)memory.data + page - 1) & ~(page - 1);
  uintptr_t to = ((uintptr_t)memory.data + memory.length) & ~(page - 1);
  return give_result(env, from < to ? madvise((void *)from, to - from, MADV_HUGEPAGE) : 0);
}

/* ---- waiting ------------------------------------------------------------------------------------------ */

/*
 * wait(dataFd, eventFd, timeoutMs, clock): a bit per readable descriptor (1 data, 2 event, 4 data descriptor
 * broken). Drains the event. clock[0] becomes CLOCK_MONOTONIC in milliseconds, its low 32 bits.
 */
static napi_value wait_readable(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t data_fd, event_fd, timeout;
  struct array now;
  if (!read_arguments(env, info, 4, argument) || !read_int(env, argument[0], &data_fd) ||
      !read_int(env, argument[1], &event_fd) || !read_int(env, argument[2], &timeout) ||
      !read_array(env, argument[3], napi_int32_array, &now))
    return NULL;

  struct pollfd watched[2] = {{.fd = data_fd, .events = POLLIN}, {.fd = event_fd, .events = POLLIN}};
  int ready = poll(watched, 2, timeout);
  int error = errno;

  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  if (now.length > 0) ((int32_t *)now.data)[0] = (int32_t)(uint32_t)(time.tv_sec * 1000 + time.tv_nsec / 1000000);

  if (ready < 0) return give_int(env, error == EINTR ? 0 : -error);
  int bits = 0;
  if (watched[0].revents & POLLIN) bits |= 1;
  if (watched[0].revents & (POLLERR | POLLHUP | POLLNVAL)) bits |= 4;
  if (watched[1].revents & POLLIN) {
    uint64_t drained;
    if (read(event_fd, &drained, sizeof drained) > 0) bits |= 2;
  }
  return give_int(env, bits);
}

/* sleep(microseconds): 0, or -EINTR. */
static napi_value sleep_for(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t microseconds;
  if (!read_arguments(env, info, 1, argument) || !read_int(env, argument[0], &microseconds)) return NULL;
  struct timespec length = {.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000l};
  return give_result(env, nanosleep(&length, NULL));
}

/* setTimerSlack(nanoseconds): 0. How late a sleep of this thread may end (prctl(2)). */
static napi_value set_timer_slack(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  int32_t slack;
  if (!read_arguments(env, info, 1, argument) || !read_int(env, argument[0], &slack)) return NULL;
  return give_result(env, prctl(PR_SET_TIMERSLACK, (unsigned long)slack));
}

/* ---- single messages ---------------------------------------------------------------------------------- */

struct message {
  int32_t fd, length;
  struct array memory;
};

/* (fd, memory: Uint8Array, length) */
static bool read_message_arguments(napi_env env, napi_callback_info info, struct message *message) {
  napi_value argument[MAX_ARGUMENTS];
  if (!read_arguments(env, info, 3, argument) || !read_int(env, argument[0], &message->fd) ||
      !read_array(env, argument[1], napi_uint8_array, &message->memory) ||
      !read_int(env, argument[2], &message->length))
    return false;
  if (message->length >= 0 && (size_t)message->length <= message->memory.length) return true;
  napi_throw_range_error(env, NULL, "message outside its memory");
  return false;
}

/* sendMessage(fd, memory, length): bytes sent. */
static napi_value send_message(napi_env env, napi_callback_info info) {
  struct message message;
  if (!read_message_arguments(env, info, &message)) return NULL;
  return give_result(env, send(message.fd, message.memory.data, (size_t)message.length, MSG_DONTWAIT));
}

/* receiveMessage(fd, memory, length): bytes received, at most `length`. */
static napi_value receive_message(napi_env env, napi_callback_info info) {
  struct message message;
  if (!read_message_arguments(env, info, &message)) return NULL;
  return give_result(env, recv(message.fd, message.memory.data, (size_t)message.length, MSG_DONTWAIT));
}

/* ---- batches ------------------------------------------------------------------------------------------ */

struct batch {
  int32_t fd, count;
  struct array memory, offsets, lengths;
};

/* fd, and (memory: Uint8Array, offsets: Int32Array, lengths: Int32Array, count) */
static bool read_batch_argument(napi_env env, napi_value fd, napi_value *rest, struct batch *batch) {
  if (!read_int(env, fd, &batch->fd) || !read_array(env, rest[0], napi_uint8_array, &batch->memory) ||
      !read_array(env, rest[1], napi_int32_array, &batch->offsets) ||
      !read_array(env, rest[2], napi_int32_array, &batch->lengths) || !read_int(env, rest[3], &batch->count))
    return false;
  int32_t *offset = batch->offsets.data, *length = batch->lengths.data;
  bool fits = batch->count >= 0 && batch->count <= MAX_BATCH && (size_t)batch->count <= batch->offsets.length &&
              (size_t)batch->count <= batch->lengths.length;
  for (int32_t i = 0; fits && i < batch->count; i++)
    fits = offset[i] >= 0 && length[i] >= 0 && (size_t)offset[i] + (size_t)length[i] <= batch->memory.length;
  if (!fits) napi_throw_range_error(env, NULL, "batch outside its memory");
  return fits;
}

static bool read_batch_arguments(napi_env env, napi_callback_info info, struct batch *batch) {
  napi_value argument[MAX_ARGUMENTS];
  return read_arguments(env, info, 5, argument) && read_batch_argument(env, argument[0], argument + 1, batch);
}

/*
 * read(2) and write(2) past libc's functions, which are points where a thread may be cancelled: in a process of several
 * threads they get ready for that before and after each packet.
 */
static ssize_t read_packet(int fd, void *packet, size_t room) { return syscall(SYS_read, fd, packet, room); }
static ssize_t write_packet(int fd, const void *packet, size_t length) { return syscall(SYS_write, fd, packet, length); }

/*
 * readBatch(fd, memory, offsets, lengths, count): how many were read, one read() each, until none is left.
 * lengths says how much room each has on the way in, and how much was read on the way out.
 */
static napi_value read_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  if (!read_batch_arguments(env, info, &batch)) return NULL;
  int32_t *offset = batch.offsets.data, *length = batch.lengths.data, done = 0;
  while (done < batch.count) {
    ssize_t got = read_packet(batch.fd, (uint8_t *)batch.memory.data + offset[done], (size_t)length[done]);
    if (got <= 0) {
      if (got == 0 || errno == EAGAIN || errno == EINTR) break;
      return done > 0 ? give_int(env, done) : give_result(env, -1);
    }
    length[done++] = (int32_t)got;
  }
  return give_int(env, done);
}

/* receiveBatch(fd, memory, offsets, lengths, count): the same by one recvmmsg(), without waiting. */
static napi_value receive_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  if (!read_batch_arguments(env, info, &batch)) return NULL;
  int32_t *offset = batch.offsets.data, *length = batch.lengths.data;
  struct mmsghdr message[MAX_BATCH];
  struct iovec piece[MAX_BATCH];
  memset(message, 0, sizeof(struct mmsghdr) * (size_t)batch.count);
  for (int32_t i = 0; i < batch.count; i++) {
    piece[i] = (struct iovec){.iov_base = (uint8_t *)batch.memory.data + offset[i], .iov_len = (size_t)length[i]};
    message[i].msg_hdr.msg_iov = &piece[i];
    message[i].msg_hdr.msg_iovlen = 1;
  }
  int received = recvmmsg(batch.fd, message, (unsigned)batch.count, MSG_DONTWAIT, NULL);
  for (int32_t i = 0; i < received; i++) length[i] = (int32_t)message[i].msg_len;
  return give_result(env, received);
}

/*
 * writeBatch(fd, memory, offsets, lengths, count): how many could not be written, one write() each. Every
 * length becomes 0, or -errno where it failed.
 */
static napi_value write_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  if (!read_batch_arguments(env, info, &batch)) return NULL;
  int32_t *offset = batch.offsets.data, *length = batch.lengths.data, failed = 0;
  for (int32_t i = 0; i < batch.count; i++) {
    ssize_t put = write_packet(batch.fd, (uint8_t *)batch.memory.data + offset[i], (size_t)length[i]);
    length[i] = put < 0 ? -errno : 0;
    failed += put < 0;
  }
  return give_int(env, failed);
}

/* Where a packet goes, as its header has it; false if it is too short to have one. */
static bool set_target(struct sockaddr_storage *target, const uint8_t *packet, int32_t length) {
  if (length >= 40 && packet[0] >> 4 == 6) {
    struct sockaddr_in6 *target6 = (struct sockaddr_in6 *)target;
    target6->sin6_family = AF_INET6;
    memcpy(&target6->sin6_addr, packet + 24, 16);
    return true;
  }
  if (length < 20) return false;
  struct sockaddr_in *target4 = (struct sockaddr_in *)target;
  target4->sin_family = AF_INET;
  memcpy(&target4->sin_addr, packet + 16, 4);
  return true;
}

/*
 * sendBatch(fd4, fd6, memory, offsets, lengths, count): the same for whole IP packets through raw sockets, one for each
 * family (IP_HDRINCL), each to its header's destination; runs of one family by sendmmsg().
 */
static napi_value send_batch(napi_env env, napi_callback_info info) {
  napi_value argument[MAX_ARGUMENTS];
  struct batch batch;
  int32_t fd6;
  if (!read_arguments(env, info, 6, argument) || !read_int(env, argument[1], &fd6) ||
      !read_batch_argument(env, argument[0], argument + 2, &batch))
    return NULL;
  int32_t *offset = batch.offsets.data, *length = batch.lengths.data, failed = 0;
  struct mmsghdr message[MAX_BATCH];
  struct iovec piece[MAX_BATCH];
  struct sockaddr_storage target[MAX_BATCH];
  memset(message, 0, sizeof(struct mmsghdr) * (size_t)batch.count);
  memset(target, 0, sizeof(struct sockaddr_storage) * (size_t)batch.count);

  for (int32_t i = 0; i < batch.count; i++) {
    uint8_t *packet = (uint8_t *)batch.memory.data + offset[i];
    if (!set_target(&target[i], packet, length[i])) {
      napi_throw_range_error(env, NULL, "no room for an IP header");
      return NULL;
    }
    bool is6 = target[i].ss_family == AF_INET6;
    piece[i] = (struct iovec){.iov_base = packet, .iov_len = (size_t)length[i]};
    message[i].msg_hdr.msg_name = &target[i];
    message[i].msg_hdr.msg_namelen = is6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    message[i].msg_hdr.msg_iov = &piece[i];
    message[i].msg_hdr.msg_iovlen = 1;
  }
  for (int32_t i = 0; i < batch.count;) {
    int32_t run = 1;
    while (i + run < batch.count && target[i + run].ss_family == target[i].ss_family) run++;
    int fd = target[i].ss_family == AF_INET6 ? fd6 : batch.fd;
    int sent = sendmmsg(fd, message + i, (unsigned)run, MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    int error = errno;
    for (int32_t k = 0; k < sent; k++) length[i++] = 0;
    if (sent <= 0) { /* the one at i failed; the rest still deserve their try */
      length[i++] = -error;
      failed++;
    }
  }
  return give_int(env, failed);
}

/* ---- module ------------------------------------------------------------------------------------------- */

static napi_value initialize(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback call;
  } table[] = {
      {"openTun", open_tun}, {"setTunOffload", set_tun_offload},
      {"openSocket", open_socket}, {"setSocketOption", set_socket_option},
      {"getSocketOption", get_socket_option}, {"getSocketOption64", get_socket_option64},
      {"connectTo", connect_to}, {"openEvent", open_event},
      {"signalEvent", signal_event}, {"lockFile", lock_file},
      {"closeDescriptor", close_descriptor}, {"adviseHugePages", advise_huge_pages},
      {"wait", wait_readable}, {"sleep", sleep_for},
      {"setTimerSlack", set_timer_slack}, {"sendMessage", send_message},
      {"receiveMessage", receive_message}, {"readBatch", read_batch},
      {"receiveBatch", receive_batch}, {"writeBatch", write_batch},
      {"sendBatch", send_batch},
  };
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    napi_value function;
    napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].call, NULL, &function);
    napi_set_named_property(env, exports, table[i].name, function);
  }
  return exports;
}

NAPI_MODULE(uoa_io, initialize)
