import { describe, expect, it } from 'vitest';
import { AF_INET, AF_INET6, SO_MARK, SOL_SOCKET } from '../../../src/io/linux.js';
import { PathMtu } from '../../../src/io/path-mtu.js';
import { FakeKernel } from '../support/fake-kernel.js';
import { int32, words } from '../support/wire.js';

const FWMARK = 0x55;

/** A kernel with routes to these addresses alone. */
function make(mtus: Record<string, number>, hasIpv6 = true) {
  const kernel = new FakeKernel();
  const known = new Map(
    Object.entries(mtus).map(([address, mtu]) => [`${Int32Array.from(words(address))}`, mtu]),
  );
  kernel.hasIpv6 = hasIpv6;
  kernel.mtuTo = address => known.get(`${address}`);
  return { kernel, path: new PathMtu(kernel, FWMARK) };
}

describe('the MTU of a path', () => {
  it('is its route’s, in either family', () => {
    const { path } = make({ '10.10.1.2': 1400, 'fd00:1::2': 1380 });
    const addresses = int32('10.10.1.2', 'fd00:1::2');
    expect([path.get(addresses, 0), path.get(addresses, 4)]).toEqual([1400, 1380]);
  });

  it('is 0 where there is no route, and another one’s is not taken for it', () => {
    const { path } = make({ '10.10.1.2': 1400 });
    expect([path.get(int32('10.10.1.2'), 0), path.get(int32('10.10.1.3'), 0)]).toEqual([1400, 0]);
  });

  it('is 0 for IPv6 on a host without it', () => {
    const { path } = make({ '10.10.1.2': 1400, 'fd00:1::2': 1380 }, false);
    expect([path.get(int32('10.10.1.2'), 0), path.get(int32('fd00:1::2'), 0)]).toEqual([1400, 0]);
  });

  it('is asked for with the fwmark of the packets that go there', () => {
    const { kernel } = make({});
    for (const { options } of [...kernel.socketsOf(AF_INET), ...kernel.socketsOf(AF_INET6)])
      expect(options.get(`${SOL_SOCKET}:${SO_MARK}`)).toBe(FWMARK);
    expect(kernel.sockets.size).toBe(2);
  });

  it('may be done with twice', () => {
    const { kernel, path } = make({});
    const open = [...kernel.sockets.keys()];
    path.close();
    path.close();
    expect(kernel.closed).toEqual(open);
  });
});
