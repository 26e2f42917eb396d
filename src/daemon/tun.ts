/** Opens the TUN, and says what to do where that fails. */
import { ExitCode, OperatorError } from '../errors.js';
import { native } from '../io/native.js';
import { offloadTun, openTun } from '../io/open-tun.js';
import type { Config } from './config/index.js';

export interface OwnTun {
  fd: number;
  /** Whether neighbours of one flow become one super-packet. */
  merges: boolean;
  /** Closes the descriptor, with which the interface goes. */
  close(): void;
}

/** Throws an OperatorError. */
export function openOwnTun({ role, tun }: Config): OwnTun {
  const fd = open(tun.name);
  // A load balancer's packets leave by raw sockets, one datagram at a time: the kernel cuts super-packets better.
  const hasOffload = tun.offload === 'auto' && role === 'real-server' && offloadTun(native, fd, true);
  return { fd, merges: hasOffload && tun.merge, close: () => void native.closeDescriptor(fd) };
}

function open(name: string): number {
  try {
    return openTun(native, name);
  } catch (error) {
    throw withRemedy(name, error as NodeJS.ErrnoException);
  }
}

function withRemedy(name: string, error: NodeJS.ErrnoException): OperatorError {
  switch (error.code) {
    case 'EPERM':
    case 'EACCES':
      return new OperatorError(
        `TUN ${name}: not permitted; run as root or with CAP_NET_ADMIN`,
        ExitCode.notPermitted,
      );
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      return new OperatorError(
        '/dev/net/tun is missing; load the kernel module (modprobe tun) or allow the device in the container',
        ExitCode.unavailable,
      );
    case 'EBUSY':
      return new OperatorError(`TUN ${name} is in use by another process`, ExitCode.failed);
    case 'EINVAL':
      return new OperatorError(
        `the interface ${name} exists and is not a TUN that the shim can open; set tun.name to another name`,
        ExitCode.failed,
      );
    default:
      return new OperatorError(error.message, ExitCode.failed);
  }
}
