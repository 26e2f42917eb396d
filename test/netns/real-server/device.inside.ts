/** A TUN device on a kernel's TUN, in the network namespace that device.test.ts makes and runs this in. */
import { execFileSync } from 'node:child_process';
import { afterEach, beforeAll, describe } from 'vitest';
import { HOST_IS_LITTLE_ENDIAN } from '../../../src/codec/host-order.js';
import { AF_PACKET, ETH_P_ALL, SO_RCVBUFFORCE, SOCK_RAW, SOL_SOCKET } from '../../../src/io/linux.js';
import { PieceList } from '../../../src/io/lists.js';
import { check, native } from '../../../src/io/native.js';
import { offloadTun, openTun } from '../../../src/io/open-tun.js';
import { RawSockets } from '../../../src/io/raw.js';
import { TunDevice } from '../../../src/io/tun.js';
import { deviceContract } from '../../unit/support/device-contract.js';
import { datagramsOf } from '../../unit/support/super-packets.js';
import { be16, checksum, datagram, type Octets, toHex } from '../../unit/support/wire.js';

const FWMARK = 1;
const ETHERNET_HEADER = 14;
/** What the tests send at once, and what the kernel keeps with it. */
const CAPTURE_BYTES = 8 << 20;
const STACK = '020000000101';
const NETWORK = '020000000102';

const ip = (...args: string[]) => execFileSync('ip', args);

/** Sees the packets on all links, as they are on each. */
class Capture {
  private readonly fd = check(
    'open packet socket',
    native.openSocket(AF_PACKET, SOCK_RAW, HOST_IS_LITTLE_ENDIAN ? ETH_P_ALL << 8 : ETH_P_ALL),
  );
  private readonly seen: Uint8Array[] = [];

  constructor() {
    check('buffer', native.setSocketOption(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, CAPTURE_BYTES));
  }

  /** The packets that were sent on a link of this Ethernet address. */
  sentBy(link: string): number[][] {
    const frame = new Uint8Array(65536);
    for (;;) {
      const length = native.receiveMessage(this.fd, frame, frame.length);
      if (length < 0) break;
      this.seen.push(frame.slice(0, length));
    }
    const ours = this.seen.filter(bytes => toHex(bytes.slice(6, 12)) === link);
    return ours.map(bytes => Array.from(bytes.slice(ETHERNET_HEADER)));
  }

  close(): void {
    native.closeDescriptor(this.fd);
  }
}

/** A packet as it was before the kernel forwarded it. */
function beforeForwarding(packet: readonly number[]): number[] {
  const bytes = [...packet];
  if (bytes[0] >> 4 === 6) {
    bytes[7]++;
    return bytes;
  }
  bytes[8]++;
  bytes.splice(10, 2, 0, 0);
  bytes.splice(10, 2, ...be16(checksum(bytes.slice(0, (bytes[0] & 15) * 4))));
  return bytes;
}

const sender = new RawSockets(native, 0);

/** Sends a datagram as a program on this host does. */
function send(bytes: Octets): void {
  const list = new PieceList(1);
  list.add(0, bytes.length);
  sender.send(Uint8Array.from(bytes), list);
  check('send', list.results[0]);
}

const tunFd = openTun(native, 'tun0');
const wakeFd = check('eventfd', native.openEvent());
offloadTun(native, tunFd, true);

/** Takes off the TUN what is in it; how many packets that was. */
function empty(): number {
  const list = new PieceList(64);
  for (let i = 0; i < list.capacity; i++) list.add(0, 65536);
  const { offsets, lengths, results, count } = list;
  return native.readBatch(tunFd, new Uint8Array(65536), offsets, lengths, results, count);
}

// The kernel puts packets into the TUN from a moment after it was attached to on.
beforeAll(() => {
  const probe = datagram({ from: '203.0.113.7:9', to: '10.10.1.2:9' });
  do send(probe);
  while (empty() <= 0);
});

describe.each([
  ['which merges', true],
  ['which does not merge', false],
])('TunDevice on a TUN, %s', (_, merges) => {
  const closing: (() => void)[] = [];

  afterEach(() => {
    for (const close of closing.splice(0)) close();
    for (const link of ['tun0', 'net0']) ip('link', 'set', link, 'up');
    for (const family of ['-4', '-6']) {
      ip(family, 'route', 'replace', 'default', 'dev', 'net0', 'table', '100');
      ip(family, 'route', 'replace', 'default', 'dev', 'tun0');
    }
    empty();
  });

  deviceContract(() => {
    const device = new TunDevice(native, { tunFd, wakeFd, fwmark: FWMARK, merges, coalesceUs: 0 });
    const capture = new Capture();
    closing.push(
      () => device.close(),
      () => capture.close(),
    );
    return {
      device,
      put: packet => datagramsOf(packet).forEach(send),
      now: () => native.clock(),
      refuse: () => {
        for (const link of ['tun0', 'net0']) ip('link', 'set', link, 'down');
      },
      delivered: () => capture.sentBy(STACK).map(beforeForwarding).map(toHex),
      emitted: () => capture.sentBy(NETWORK).map(toHex),
    };
  });
});
