import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { AF_INET, AF_INET6, SO_BROADCAST, SO_MARK, SOL_SOCKET } from '../../../src/io/linux.js';
import { PieceList } from '../../../src/io/lists.js';
import { RawSockets } from '../../../src/io/raw.js';
import { FakeKernel } from '../support/fake-kernel.js';
import { datagram, toHex } from '../support/wire.js';

const FWMARK = 0x55;
const PACKET4 = datagram({ from: '10.10.1.2:53', to: '203.0.113.7:5555' });
const PACKET6 = datagram({ from: '[fd00:1::2]:53', to: '[2001:db8::7]:5555' });

/** Both packets in a list, IPv4 in front. */
function both() {
  const memory = Uint8Array.from([...PACKET4, ...PACKET6]);
  const list = new PieceList(2);
  list.add(0, PACKET4.length);
  list.add(PACKET4.length, PACKET6.length);
  return { memory, list };
}

describe('raw sockets', () => {
  it.each([
    ['IPv4', AF_INET],
    ['IPv6', AF_INET6],
  ])('carry the fwmark and may broadcast, %s', (_, domain) => {
    const kernel = new FakeKernel();
    new RawSockets(kernel, FWMARK);
    const [{ options }] = kernel.socketsOf(domain);
    expect(options.get(`${SOL_SOCKET}:${SO_MARK}`)).toBe(FWMARK);
    expect(options.get(`${SOL_SOCKET}:${SO_BROADCAST}`)).toBe(1);
  });

  it('send each packet through the socket of its family', () => {
    const kernel = new FakeKernel();
    const { memory, list } = both();
    expect(new RawSockets(kernel, FWMARK).send(memory, list)).toBe(0);
    expect(kernel.sent).toEqual([toHex(PACKET4), toHex(PACKET6)]);
  });

  it('refuse IPv6 alone on a host without it', () => {
    const kernel = new FakeKernel();
    kernel.hasIpv6 = false;
    const { memory, list } = both();
    expect(new RawSockets(kernel, FWMARK).send(memory, list)).toBe(1);
    expect(kernel.sent).toEqual([toHex(PACKET4)]);
  });

  it('that may not be marked are an error, and none stays open', () => {
    const kernel = new FakeKernel();
    kernel.setSocketOption = () => -constants.errno.EPERM;
    expect(() => new RawSockets(kernel, FWMARK)).toThrow('set SO_MARK of raw socket: EPERM');
    expect(kernel.sockets.size).toBe(0);
  });

  it('may be closed twice', () => {
    const kernel = new FakeKernel();
    const raw = new RawSockets(kernel, FWMARK);
    const open = [...kernel.sockets.keys()];
    raw.close();
    raw.close();
    expect(kernel.closed).toEqual(open);
  });
});
