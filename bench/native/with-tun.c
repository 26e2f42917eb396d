/*
 * Makes a TUN without headers as descriptor 3, blocking, and becomes another program, which inherits it.
 *
 *     with-tun NAME PROGRAM [ARGUMENT...]
 */
#include <linux/if_tun.h>
#include <unistd.h>

#include "flows.h"
#include "tun.h"

#define INHERITED 3

int main(int count, char **argument) {
  if (count < 3) return 64;
  int fd = open_tun(argument[1], IFF_TUN | IFF_NO_PI, 0);
  if (fd != INHERITED) must(dup2(fd, INHERITED), "dup2");
  execvp(argument[2], argument + 2);
  must(-1, argument[2]);
}
