/*
 * Thin system calls for uoa-shim: a TUN device, sockets, poll and batches of packets.
 *
 * Every function returns what its system call returned, or -errno. An argument of a wrong type throws a TypeError, and a
 * range outside its memory a RangeError. Buffers are typed arrays of the caller. Nothing is allocated per packet. Only
 * what a system call wants in another form is decoded here: the address to connect to, and the destination in the header
 * of a packet for a raw socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
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

/* Some headers are older than these. */
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20 /* Linux 6.2 */
#define TUN_F_USO6 0x40
#endif

#define MAX_ARGUMENTS 7

/* Packets of one call at most. */
#define MAX_BATCH 64

/* Bytes of a virtio_net_hdr_mrg_rxbuf. With it the IP header is on a 4-byte boundary. */
#define VIRTIO_HEADER 12

/* What wait() found: something to read, an event, a data descriptor that is broken. */
#define WAIT_DATA 1
#define WAIT_EVENT 2
#define WAIT_BROKEN 4

/* ---- arguments and results ---------------------------------------------------------------------------- */

struct array {
  void *data;
  size_t length; /* elements */
};

static bool read_array(napi_env env, napi_value value, napi_typedarray_type type, struct array *out) {
  napi_typedarray_type actual;
  return napi_get_typedarray_info(env, value, &actual, &out->length, &out->data, NULL, NULL) == napi_ok &&
         actual == type;
}

/*
 * Reads one argument for each letter of `format`, or throws a TypeError:
 *   i  a number, to an int32_t            b  a Uint8Array, to a struct array
 *   l  a number, to an int64_t            w  an Int32Array, to a struct array
 *   n  a name, to a char[IFNAMSIZ]
 */
static bool read_arguments(napi_env env, napi_callback_info info, const char *format, ...) {
  napi_value argument[MAX_ARGUMENTS];
  size_t count = MAX_ARGUMENTS, length;
  if (napi_get_cb_info(env, info, &count, argument, NULL, NULL) != napi_ok) return false;
  bool fits = count >= strlen(format);

  va_list out;
  va_start(out, format);
  for (size_t i = 0; fits && format[i] != '\0'; i++) switch (format[i]) {
      case 'i': fits = napi_get_value_int32(env, argument[i], va_arg(out, int32_t *)) == napi_ok; break;
      case 'l': fits = napi_get_value_int64(env, argument[i], va_arg(out, int64_t *)) == napi_ok; break;
      case 'b': fits = read_array(env, argument[i], napi_uint8_array, va_arg(out, struct array *)); break;
      case 'w': fits = read_array(env, argument[i], napi_int32_array, va_arg(out, struct array *)); break;
      default: fits = napi_get_value_string_utf8(env, argument[i], va_arg(out, char *), IFNAMSIZ, &length) == napi_ok;
    }
  va_end(out);
  if (!fits) napi_throw_type_error(env, NULL, "wrong number or types of arguments");
  return fits;
}

static napi_value give_int(napi_env env, int64_t result) {
  napi_value value;
  napi_create_int32(env, (int32_t)result, &value);
  return value;
}

static napi_value give_result(napi_env env, int64_t result) { return give_int(env, result < 0 ? -errno : result); }

/* ---- descriptors -------------------------------------------------------------------------------------- */

/* openTun(name): descriptor. A TUN without packet information, with a virtio-net header of VIRTIO_HEADER bytes. */
static napi_value open_tun(napi_env env, napi_callback_info info) {
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
  if (!read_arguments(env, info, "n", request.ifr_name)) return NULL;

  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return give_result(env, fd);
  int header_size = VIRTIO_HEADER;
  if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0) {
    int error = errno;
    close(fd);
    return give_int(env, -error);
  }
  return give_int(env, fd);
}

/* setTunOffload(fd, flags): 0. The flags say what the reader of the TUN does by itself (TUN_F_...). */
static napi_value set_tun_offload(napi_env env, napi_callback_info info) {
  int32_t fd, flags;
  if (!read_arguments(env, info, "ii", &fd, &flags)) return NULL;
  return give_result(env, ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags));
}

/* openSocket(domain, type, protocol): descriptor, non-blocking. */
static napi_value open_socket(napi_env env, napi_callback_info info) {
  int32_t domain, type, protocol;
  if (!read_arguments(env, info, "iii", &domain, &type, &protocol)) return NULL;
  return give_result(env, socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

/* setSocketOption(fd, level, name, integer): 0. */
static napi_value set_socket_option(napi_env env, napi_callback_info info) {
  int32_t fd, level, name, value;
  if (!read_arguments(env, info, "iiii", &fd, &level, &name, &value)) return NULL;
  return give_result(env, setsockopt(fd, level, name, &value, sizeof value));
}

/* getSocketOption(fd, level, name): the integer. It must not be negative. */
static napi_value get_socket_option(napi_env env, napi_callback_info info) {
  int32_t fd, level, name, value = 0;
  if (!read_arguments(env, info, "iii", &fd, &level, &name)) return NULL;
  socklen_t size = sizeof value;
  int result = getsockopt(fd, level, name, &value, &size);
  return give_result(env, result < 0 ? result : value);
}

/* getSocketOption64(fd, level, name): an unsigned 64-bit option as a BigInt, 0 if the kernel does not have it. */
static napi_value get_socket_option64(napi_env env, napi_callback_info info) {
  napi_value result;
  int32_t fd, level, name;
  if (!read_arguments(env, info, "iii", &fd, &level, &name)) return NULL;
  uint64_t value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(fd, level, name, &value, &size) < 0) value = 0;
  napi_create_bigint_uint64(env, value, &result);
  return result;
}

/* connectTo(fd, words: Int32Array, at, port): 0. Four words in host order from `at` on, IPv4 as ::ffff:a.b.c.d. */
static napi_value connect_to(napi_env env, napi_callback_info info) {
  int32_t fd, at, port;
  struct array words;
  if (!read_arguments(env, info, "iwii", &fd, &words, &at, &port)) return NULL;
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

/* openEvent(): an eventfd, to wake a thread that blocks in wait(). */
static napi_value open_event(napi_env env, napi_callback_info info) {
  (void)info;
  return give_result(env, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

/* signalEvent(fd): wakes it. */
static napi_value signal_event(napi_env env, napi_callback_info info) {
  int32_t fd;
  if (!read_arguments(env, info, "i", &fd)) return NULL;
  uint64_t one = 1;
  return give_result(env, write(fd, &one, sizeof one));
}

/* lockFile(fd): 0. Takes an exclusive flock, which ends with the descriptor; -EWOULDBLOCK if another one holds it. */
static napi_value lock_file(napi_env env, napi_callback_info info) {
  int32_t fd;
  if (!read_arguments(env, info, "i", &fd)) return NULL;
  return give_result(env, flock(fd, LOCK_EX | LOCK_NB));
}

/* closeDescriptor(fd): 0. */
static napi_value close_descriptor(napi_env env, napi_callback_info info) {
  int32_t fd;
  if (!read_arguments(env, info, "i", &fd)) return NULL;
  return give_result(env, close(fd));
}

/*
 * allocateFile(fd, length): 0. The file has at least that many bytes from now on, and the file system has room for them:
 * to write into a mapping of it cannot fail.
 */
static napi_value allocate_file(napi_env env, napi_callback_info info) {
  int32_t fd;
  int64_t length;
  if (!read_arguments(env, info, "il", &fd, &length)) return NULL;
  return give_int(env, -posix_fallocate(fd, 0, length));
}

static void unmap(napi_env env, void *data, void *length) {
  (void)env;
  munmap(data, (size_t)(uintptr_t)length);
}

/*
 * mapFile(fd, length): an ArrayBuffer over the file, shared with all others who map it, or -errno. It may be longer than
 * the file, but what lies behind the file's end must not be touched.
 */
static napi_value map_file(napi_env env, napi_callback_info info) {
  int32_t fd;
  int64_t length;
  if (!read_arguments(env, info, "il", &fd, &length)) return NULL;
  if (length <= 0) return give_int(env, -EINVAL);
  void *data = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return give_int(env, -errno);
  napi_value buffer;
  void *hint = (void *)(uintptr_t)length;
  if (napi_create_external_arraybuffer(env, data, (size_t)length, unmap, hint, &buffer) != napi_ok) {
    munmap(data, (size_t)length);
    return give_int(env, -ENOMEM);
  }
  return buffer;
}

/* adviseHugePages(memory): 0. Asks for pages of 2 MB where the memory holds whole ones (madvise(2)). */
static napi_value advise_huge_pages(napi_env env, napi_callback_info info) {
  struct array memory;
  if (!read_arguments(env, info, "b", &memory)) return NULL;
  const uintptr_t page = 2 << 20;
  uintptr_t from = ((uintptr_t)memory.data + page - 1) & ~(page - 1);
  uintptr_t to = ((uintptr_t)memory.data + memory.length) & ~(page - 1);
  return give_result(env, from < to ? madvise((void *)from, to - from, MADV_HUGEPAGE) : 0);
}

/* ---- waiting ------------------------------------------------------------------------------------------ */

/* wait(dataFd, eventFd, timeoutMs): WAIT_... bits, 0 after the time-out or a signal. Drains the event. */
static napi_value wait_readable(napi_env env, napi_callback_info info) {
  int32_t data_fd, event_fd, timeout;
  if (!read_arguments(env, info, "iii", &data_fd, &event_fd, &timeout)) return NULL;

  struct pollfd watched[2] = {{.fd = data_fd, .events = POLLIN}, {.fd = event_fd, .events = POLLIN}};
  if (poll(watched, 2, timeout) < 0) return give_int(env, errno == EINTR ? 0 : -errno);
  int bits = 0;
  if (watched[0].revents & POLLIN) bits |= WAIT_DATA;
  if (watched[0].revents & (POLLERR | POLLHUP | POLLNVAL)) bits |= WAIT_BROKEN;
  if (watched[1].revents & POLLIN) {
    uint64_t drained;
    if (read(event_fd, &drained, sizeof drained) > 0) bits |= WAIT_EVENT;
  }
  return give_int(env, bits);
}

/* clock(): CLOCK_MONOTONIC in milliseconds, its low 32 bits as a signed number. */
static napi_value read_clock(napi_env env, napi_callback_info info) {
  (void)info;
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return give_int(env, (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000);
}

/* sleep(microseconds): 0, or -EINTR. */
static napi_value sleep_for(napi_env env, napi_callback_info info) {
  int32_t microseconds;
  if (!read_arguments(env, info, "i", &microseconds)) return NULL;
  struct timespec length = {.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000l};
  return give_result(env, nanosleep(&length, NULL));
}

/* setTimerSlack(nanoseconds): 0. From then on a sleep of this thread ends so late at most (prctl(2)). */
static napi_value set_timer_slack(napi_env env, napi_callback_info info) {
  int32_t slack;
  if (!read_arguments(env, info, "i", &slack)) return NULL;
  return give_result(env, prctl(PR_SET_TIMERSLACK, (unsigned long)slack));
}

/* ---- single messages ---------------------------------------------------------------------------------- */

struct message {
  int32_t fd, length;
  struct array memory;
};

/* (fd, memory: Uint8Array, length) */
static bool read_message(napi_env env, napi_callback_info info, struct message *message) {
  if (!read_arguments(env, info, "ibi", &message->fd, &message->memory, &message->length)) return false;
  if (message->length >= 0 && (size_t)message->length <= message->memory.length) return true;
  napi_throw_range_error(env, NULL, "message outside its memory");
  return false;
}

/* sendMessage(fd, memory, length): bytes sent. */
static napi_value send_message(napi_env env, napi_callback_info info) {
  struct message message;
  if (!read_message(env, info, &message)) return NULL;
  return give_result(env, send(message.fd, message.memory.data, (size_t)message.length, MSG_DONTWAIT));
}

/* receiveMessage(fd, memory, length): bytes received, at most `length`. */
static napi_value receive_message(napi_env env, napi_callback_info info) {
  struct message message;
  if (!read_message(env, info, &message)) return NULL;
  return give_result(env, recv(message.fd, message.memory.data, (size_t)message.length, MSG_DONTWAIT));
}

/* ---- batches ------------------------------------------------------------------------------------------ */

struct batch {
  int32_t fd, count;
  struct array memory, offsets, lengths, results;
};

/* Whether all of the batch is inside its arrays; throws a RangeError if not. */
static bool check_batch(napi_env env, const struct batch *batch) {
  const int32_t *offset = batch->offsets.data, *length = batch->lengths.data;
  size_t count = (size_t)batch->count;
  bool fits = batch->count >= 0 && batch->count <= MAX_BATCH && count <= batch->offsets.length &&
              count <= batch->lengths.length && count <= batch->results.length;
  for (size_t i = 0; fits && i < count; i++)
    fits = offset[i] >= 0 && length[i] >= 0 && (size_t)offset[i] + (size_t)length[i] <= batch->memory.length;
  if (!fits) napi_throw_range_error(env, NULL, "batch outside its memory");
  return fits;
}

/*
 * (fd, memory: Uint8Array, offsets: Int32Array, lengths: Int32Array, results: Int32Array, count): `count` pieces of
 * `memory`, each with its offset and length in bytes, and a result for each.
 */
static bool read_batch_arguments(napi_env env, napi_callback_info info, struct batch *batch) {
  return read_arguments(env, info, "ibwwwi", &batch->fd, &batch->memory, &batch->offsets, &batch->lengths,
                        &batch->results, &batch->count) &&
         check_batch(env, batch);
}

static uint8_t *piece_at(const struct batch *batch, int32_t i) {
  return (uint8_t *)batch->memory.data + ((int32_t *)batch->offsets.data)[i];
}

static size_t length_at(const struct batch *batch, int32_t i) {
  return (size_t)((int32_t *)batch->lengths.data)[i];
}

/* Messages for sendmmsg() and recvmmsg(), one for each piece. */
static void set_messages(const struct batch *batch, struct mmsghdr *message, struct iovec *piece) {
  memset(message, 0, sizeof(struct mmsghdr) * (size_t)batch->count);
  for (int32_t i = 0; i < batch->count; i++) {
    piece[i] = (struct iovec){.iov_base = piece_at(batch, i), .iov_len = length_at(batch, i)};
    message[i].msg_hdr.msg_iov = &piece[i];
    message[i].msg_hdr.msg_iovlen = 1;
  }
}

/*
 * read(2) and write(2) without libc's functions. Those are cancellation points (pthreads(7)): in a process of several
 * threads they prepare for a cancellation before each packet, and stop that after it.
 */
static ssize_t read_packet(int fd, void *packet, size_t size) { return syscall(SYS_read, fd, packet, size); }
static ssize_t write_packet(int fd, const void *packet, size_t length) { return syscall(SYS_write, fd, packet, length); }

/*
 * readBatch(fd, memory, offsets, lengths, results, count): how many packets were read, one read() each, until none is
 * left. `lengths` are how many bytes each may have, the first `results` how many it has.
 */
static napi_value read_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  if (!read_batch_arguments(env, info, &batch)) return NULL;
  int32_t *result = batch.results.data, done = 0;
  while (done < batch.count) {
    ssize_t got = read_packet(batch.fd, piece_at(&batch, done), length_at(&batch, done));
    if (got <= 0) {
      if (got == 0 || errno == EAGAIN || errno == EINTR) break;
      return done > 0 ? give_int(env, done) : give_result(env, -1);
    }
    result[done++] = (int32_t)got;
  }
  return give_int(env, done);
}

/* receiveBatch(fd, memory, offsets, lengths, results, count): the same by one recvmmsg(), without waiting. */
static napi_value receive_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  if (!read_batch_arguments(env, info, &batch)) return NULL;
  int32_t *result = batch.results.data;
  struct mmsghdr message[MAX_BATCH];
  struct iovec piece[MAX_BATCH];
  set_messages(&batch, message, piece);
  int received = recvmmsg(batch.fd, message, (unsigned)batch.count, MSG_DONTWAIT, NULL);
  for (int32_t i = 0; i < received; i++) result[i] = (int32_t)message[i].msg_len;
  return give_result(env, received);
}

/*
 * writeBatch(fd, memory, offsets, lengths, results, count): how many packets could not be written, one write() each.
 * A result is 0, or -errno.
 */
static napi_value write_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  if (!read_batch_arguments(env, info, &batch)) return NULL;
  int32_t *result = batch.results.data, failed = 0;
  for (int32_t i = 0; i < batch.count; i++) {
    ssize_t put = write_packet(batch.fd, piece_at(&batch, i), length_at(&batch, i));
    result[i] = put < 0 ? -errno : 0;
    failed += put < 0;
  }
  return give_int(env, failed);
}

/* Writes the destination in a packet's header, AF_UNSPEC if it is too short for one, and gives the address's size. */
static socklen_t set_target(struct sockaddr_storage *target, const uint8_t *packet, size_t length) {
  *target = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
  if (length >= 40 && packet[0] >> 4 == 6) {
    struct sockaddr_in6 *target6 = (struct sockaddr_in6 *)target;
    target6->sin6_family = AF_INET6;
    memcpy(&target6->sin6_addr, packet + 24, 16);
    return sizeof *target6;
  }
  if (length < 20) return 0;
  struct sockaddr_in *target4 = (struct sockaddr_in *)target;
  target4->sin_family = AF_INET;
  memcpy(&target4->sin_addr, packet + 16, 4);
  return sizeof *target4;
}

/*
 * sendBatch(fd4, fd6, memory, offsets, lengths, results, count): how many IP packets could not be sent. They go through
 * raw sockets (IP_HDRINCL), one for each family, to the destinations in their headers; runs of one family by
 * sendmmsg(). A result is 0, or -errno; -EINVAL for what is too short for a header.
 */
static napi_value send_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  int32_t fd6;
  if (!read_arguments(env, info, "iibwwwi", &batch.fd, &fd6, &batch.memory, &batch.offsets, &batch.lengths,
                      &batch.results, &batch.count) ||
      !check_batch(env, &batch))
    return NULL;
  int32_t *result = batch.results.data, failed = 0;
  struct mmsghdr message[MAX_BATCH];
  struct iovec piece[MAX_BATCH];
  struct sockaddr_storage target[MAX_BATCH];
  set_messages(&batch, message, piece);
  for (int32_t i = 0; i < batch.count; i++) {
    message[i].msg_hdr.msg_name = &target[i];
    message[i].msg_hdr.msg_namelen = set_target(&target[i], piece[i].iov_base, piece[i].iov_len);
  }

  for (int32_t i = 0; i < batch.count;) {
    sa_family_t family = target[i].ss_family;
    int32_t run = 1;
    while (i + run < batch.count && target[i + run].ss_family == family) run++;
    int sent = -1, error = EINVAL;
    if (family != AF_UNSPEC) {
      sent = sendmmsg(family == AF_INET6 ? fd6 : batch.fd, message + i, (unsigned)run, MSG_DONTWAIT);
      error = errno;
      if (sent < 0 && error == EINTR) continue;
    }
    for (int32_t k = 0; k < sent; k++) result[i++] = 0;
    if (sent <= 0) { /* the packet at i failed; go on with the next */
      result[i++] = -error;
      failed++;
    }
  }
  return give_int(env, failed);
}

/* ---- module ------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  napi_callback call;
} FUNCTIONS[] = {
    {"openTun", open_tun}, {"setTunOffload", set_tun_offload},
    {"openSocket", open_socket}, {"setSocketOption", set_socket_option},
    {"getSocketOption", get_socket_option}, {"getSocketOption64", get_socket_option64},
    {"connectTo", connect_to}, {"openEvent", open_event},
    {"signalEvent", signal_event}, {"lockFile", lock_file},
    {"closeDescriptor", close_descriptor}, {"adviseHugePages", advise_huge_pages},
    {"allocateFile", allocate_file}, {"mapFile", map_file},
    {"wait", wait_readable}, {"clock", read_clock},
    {"sleep", sleep_for}, {"setTimerSlack", set_timer_slack},
    {"sendMessage", send_message}, {"receiveMessage", receive_message},
    {"readBatch", read_batch}, {"receiveBatch", receive_batch},
    {"writeBatch", write_batch}, {"sendBatch", send_batch},
};

/* The headers' numbers, some of which differ between architectures, and our own. */
#define CONSTANT(name) {#name, name}
static const struct {
  const char *name;
  int32_t value;
} CONSTANTS[] = {
    CONSTANT(AF_INET), CONSTANT(AF_INET6), CONSTANT(AF_NETLINK), CONSTANT(AF_PACKET),
    CONSTANT(SOCK_DGRAM), CONSTANT(SOCK_RAW),
    CONSTANT(ETH_P_ALL), CONSTANT(NETLINK_NETFILTER),
    CONSTANT(IPPROTO_IP), CONSTANT(IPPROTO_IPV6), CONSTANT(IPPROTO_RAW),
    CONSTANT(SOL_SOCKET), CONSTANT(SO_BROADCAST), CONSTANT(SO_MARK), CONSTANT(SO_NETNS_COOKIE),
    CONSTANT(SO_RCVBUFFORCE), CONSTANT(SO_SNDBUFFORCE),
    CONSTANT(IP_MTU), CONSTANT(IP_MTU_DISCOVER), CONSTANT(IP_PMTUDISC_PROBE),
    CONSTANT(IPV6_MTU), CONSTANT(IPV6_MTU_DISCOVER), CONSTANT(IPV6_PMTUDISC_PROBE),
    CONSTANT(TUN_F_CSUM), CONSTANT(TUN_F_USO4), CONSTANT(TUN_F_USO6),
    CONSTANT(MAX_BATCH), CONSTANT(VIRTIO_HEADER),
    CONSTANT(WAIT_DATA), CONSTANT(WAIT_EVENT), CONSTANT(WAIT_BROKEN),
};

static napi_value initialize(napi_env env, napi_value exports) {
  for (size_t i = 0; i < sizeof FUNCTIONS / sizeof FUNCTIONS[0]; i++) {
    napi_value function;
    napi_create_function(env, FUNCTIONS[i].name, NAPI_AUTO_LENGTH, FUNCTIONS[i].call, NULL, &function);
    napi_set_named_property(env, exports, FUNCTIONS[i].name, function);
  }
  napi_value constants;
  napi_create_object(env, &constants);
  for (size_t i = 0; i < sizeof CONSTANTS / sizeof CONSTANTS[0]; i++)
    napi_set_named_property(env, constants, CONSTANTS[i].name, give_int(env, CONSTANTS[i].value));
  napi_set_named_property(env, exports, "constants", constants);
  return exports;
}

NAPI_MODULE(uoa_io, initialize)
