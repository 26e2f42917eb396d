/** Which network namespace this process is in. */
import { AF_INET, SO_NETNS_COOKIE, SOCK_DGRAM, SOL_SOCKET } from './linux.js';
import { native as addon, check, type Native } from './native.js';

/** A number that no other network namespace has until the next boot; 0 if the kernel gives none (before Linux 5.14). */
export function namespaceCookie(native: Native = addon): bigint {
  const fd = check('open socket', native.openSocket(AF_INET, SOCK_DGRAM, 0));
  const cookie = native.getSocketOption64(fd, SOL_SOCKET, SO_NETNS_COOKIE);
  native.closeDescriptor(fd);
  return cookie;
}
