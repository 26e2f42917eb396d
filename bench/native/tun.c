#include "tun.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "flows.h"

int open_tun(const char *name, int flags, int header_size) {
  struct ifreq request = {.ifr_flags = (short)flags};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  int fd = must(open("/dev/net/tun", O_RDWR), "/dev/net/tun");
  must(ioctl(fd, TUNSETIFF, &request), "TUNSETIFF");
  if (header_size > 0) must(ioctl(fd, TUNSETVNETHDRSZ, &header_size), "TUNSETVNETHDRSZ");
  return fd;
}
