import { describe, expect, it } from 'vitest';
import { MAX_STANDALONE, writeAck, writeStandalone } from '../../src/codec/standalone.js';
import { Carrier } from '../../src/codec/uoa.js';
import { load } from './support/place.js';
import { datagram, decode, hex, ipv4, opp, option, toHex, udp, words } from './support/wire.js';

const FROM = '10.10.1.1:40000';
const TO = '10.10.1.2:53';

interface Golden {
  name: string;
  carrier: 'ipo' | 'opp';
  client: string;
  /** From the real server back to the load balancer. */
  ack: string;
  /** From the load balancer to the real server. */
  standalone: string;
}

const GOLDEN: Golden[] = [
  {
    name: 'ipo, IPv4 client',
    carrier: 'ipo',
    client: '203.0.113.7:5555',
    ack: `4700 0024 0000 4000 4011 b1ef 0a0a0102 0a0a0101
          1f08 15b3 cb007107
          0035 9c40 0008 4d52`,
    standalone: `4700 0024 0000 4000 4011 b1ef 0a0a0101 0a0a0102
          1f08 15b3 cb007107
          9c40 0035 0008 4d52`,
  },
  {
    name: 'ipo, IPv6 client',
    carrier: 'ipo',
    client: '[2001:db8::7]:5555',
    ack: `4a00 0030 0000 4000 4011 bd1f 0a0a0102 0a0a0101
          1f14 15b3 20010db8 00000000 00000000 00000007
          0035 9c40 0008 4d52`,
    standalone: `4a00 0030 0000 4000 4011 bd1f 0a0a0101 0a0a0102
          1f14 15b3 20010db8 00000000 00000000 00000007
          9c40 0035 0008 4d52`,
  },
  {
    name: 'opp, IPv4 client',
    carrier: 'opp',
    client: '203.0.113.7:5555',
    ack: `4500 0028 0000 4000 40f8 23c8 0a0a0102 0a0a0101
          1011 000c 1f08 15b3 cb007107
          0035 9c40 0008 4d52`,
    standalone: `4500 0028 0000 4000 40f8 23c8 0a0a0101 0a0a0102
          1011 000c 1f08 15b3 cb007107
          9c40 0035 0008 4d52`,
  },
  {
    name: 'opp, IPv6 client',
    carrier: 'opp',
    client: '[2001:db8::7]:5555',
    ack: `4500 0034 0000 4000 40f8 23bc 0a0a0102 0a0a0101
          2011 0018 1f14 15b3 20010db8 00000000 00000000 00000007
          0035 9c40 0008 4d52`,
    standalone: `4500 0034 0000 4000 40f8 23bc 0a0a0101 0a0a0102
          2011 0018 1f14 15b3 20010db8 00000000 00000000 00000007
          9c40 0035 0008 4d52`,
  },
];

/** What a writer put at offset 3 of a buffer full of 0xa5, after checking that it touched nothing else. */
function written(write: (out: DataView, offset: number) => number): Uint8Array {
  const all = new Uint8Array(3 + 64).fill(0xa5);
  const length = write(new DataView(all.buffer), 3);
  expect(toHex(all.slice(0, 3))).toBe('a5a5a5');
  expect(toHex(all.slice(3 + length))).toBe('a5'.repeat(64 - length));
  expect(length).toBeLessThanOrEqual(MAX_STANDALONE);
  return all.slice(3, 3 + length);
}

describe.each(GOLDEN)('$name', ({ carrier, client, ack, standalone }) => {
  const marked = load(
    datagram({ from: FROM, to: TO, payload: [1, 2, 3], carrier, client, tos: 0xb8, ttl: 3 }),
  );

  it('the ACK, byte for byte', () => {
    const bytes = written((out, offset) => writeAck(marked, out, offset));
    expect(toHex(bytes)).toBe(toHex(hex(ack)));
    expect(decode(bytes)).toMatchObject({ from: TO, to: FROM, payload: '' });
  });

  it('the standalone packet, byte for byte', () => {
    const plain = load(datagram({ from: FROM, to: TO, payload: [1, 2, 3] }));
    const address = client.startsWith('[') ? '2001:db8::7' : '203.0.113.7';
    const named = { v6: address.includes(':'), words: words(address), port: 5555 };
    const by = carrier === 'ipo' ? Carrier.ipo : Carrier.opp;
    const bytes = written((out, offset) => writeStandalone(plain, by, named, out, offset));
    expect(toHex(bytes)).toBe(toHex(hex(standalone)));
    expect(decode(bytes)).toMatchObject({ from: FROM, to: TO, payload: '' });
  });

  it('a standalone packet gets the ACK that the marked one gets', () => {
    const bytes = written((out, offset) => writeAck(load(hex(standalone)), out, offset));
    expect(toHex(bytes)).toBe(toHex(hex(ack)));
  });
});

describe('the ACK', () => {
  it('leaves the marked packet alone', () => {
    const packet = datagram({ from: FROM, to: TO, payload: [1], carrier: 'opp', client: '203.0.113.7:5555' });
    const marked = load(packet);
    written((out, offset) => writeAck(marked, out, offset));
    expect(toHex(marked.bytes)).toBe(toHex(packet));
  });

  it('echoes the mark alone, of all options', () => {
    const options = [1, ...option('203.0.113.7:5555'), 7, 3, 0];
    const marked = load(datagram({ from: FROM, to: TO, options }));
    const ack = decode(written((out, offset) => writeAck(marked, out, offset)));
    expect(ack.options).toBe('1f0815b3cb007107');
  });

  it('echoes the first byte of opp, and has the length of its own options', () => {
    const body = udp({ address: '10.10.1.1', port: 40000 }, { address: '10.10.1.2', port: 53 }, []);
    const options = [1, 1, ...option('203.0.113.7:5555'), 0, 0];
    const marked = load(
      ipv4({
        source: '10.10.1.1',
        destination: '10.10.1.2',
        protocol: 248,
        body: [...opp(options, 2), ...body],
      }),
    );
    const ack = decode(written((out, offset) => writeAck(marked, out, offset)));
    expect(ack.opp).toBe('2011000c1f0815b3cb007107');
  });

  it('echoes a client that is no client', () => {
    for (const client of ['0.0.0.0:0', '255.255.255.255:65535']) {
      const marked = load(datagram({ from: FROM, to: TO, carrier: 'ipo', client }));
      const ack = decode(written((out, offset) => writeAck(marked, out, offset)));
      expect(ack.options).toBe(toHex(option(client)));
    }
  });

  it('has 0xffff where the UDP checksum comes out as 0', () => {
    const client = '203.0.113.7:5555';
    const marked = load(datagram({ from: '10.10.1.1:59794', to: TO, carrier: 'ipo', client }));
    const bytes = written((out, offset) => writeAck(marked, out, offset));
    expect(toHex(bytes.slice(-8))).toBe('0035e9920008ffff');
    expect(decode(bytes).udpChecksum).toBe(0xffff);
  });
});
