/** Switching forwarding on for an interface. */
import { ExitCode, OperatorError } from '../../errors.js';
import type { Forwarding } from '../facts/forwarding.js';
import type { Change } from './change.js';

/** The change that switches it on. Throws an OperatorError where the kernel has no switch for it; `remedy` is another. */
export function switchOn({ interface: name, off }: Forwarding, reason: string, remedy: string): Change[] {
  if (off === undefined) return [];
  const { key, before } = off;
  if (before === undefined)
    throw new OperatorError(
      `${name} does not forward IPv6, and this kernel can't switch it on for one interface (${key}, Linux 6.17); ` +
        `forward on the whole host (sysctl -w net.ipv6.conf.all.forwarding=1)${remedy}`,
      ExitCode.unavailable,
    );
  return [{ kind: 'sysctl', key, value: '1', before, reason }];
}
