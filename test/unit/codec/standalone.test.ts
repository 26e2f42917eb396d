import { describe, expect, it } from 'vitest';
import { Carrier, type CarrierName, MAX_STANDALONE } from '../../../src/codec/carriers.js';
import { writeAck, writeAnswer, writeAsk, writeStandalone } from '../../../src/codec/standalone.js';
import { load } from '../support/place.js';
import {
  datagram,
  decode,
  destinationOption,
  destinationOptions,
  fragment,
  fragmentHeader,
  hex,
  hopByHop,
  ipv4,
  opp,
  option,
  padding,
  routing,
  toHex,
  udp,
  words,
} from '../support/wire.js';

const FROM = '10.10.1.1:40000';
const TO = '10.10.1.2:53';
const FROM6 = '[fd00:1::1]:40000';
const TO6 = '[fd00:1::2]:53';

interface Golden {
  name: string;
  carrier: CarrierName;
  client: string;
  from?: string;
  to?: string;
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
  {
    name: 'opp in IPv6, IPv4 client',
    carrier: 'opp',
    client: '203.0.113.7:5555',
    ...{ from: FROM6, to: TO6 },
    ack: `6000 0000 0014 f8 40 fd000001000000000000000000000002 fd000001000000000000000000000001
          1011 000c 1f08 15b3 cb007107
          0035 9c40 0008 6962`,
    standalone: `6000 0000 0014 f8 40 fd000001000000000000000000000001 fd000001000000000000000000000002
          1011 000c 1f08 15b3 cb007107
          9c40 0035 0008 6962`,
  },
  {
    name: 'opp in IPv6, IPv6 client',
    carrier: 'opp',
    client: '[2001:db8::7]:5555',
    ...{ from: FROM6, to: TO6 },
    ack: `6000 0000 0020 f8 40 fd000001000000000000000000000002 fd000001000000000000000000000001
          2011 0018 1f14 15b3 20010db8 00000000 00000000 00000007
          0035 9c40 0008 6962`,
    standalone: `6000 0000 0020 f8 40 fd000001000000000000000000000001 fd000001000000000000000000000002
          2011 0018 1f14 15b3 20010db8 00000000 00000000 00000007
          9c40 0035 0008 6962`,
  },
  {
    name: 'dstopt, IPv4 client',
    carrier: 'dstopt',
    client: '203.0.113.7:5555',
    ...{ from: FROM6, to: TO6 },
    ack: `6000 0000 0018 3c 40 fd000001000000000000000000000002 fd000001000000000000000000000001
          1101 1f06 15b3 cb007107 0104 00000000
          0035 9c40 0008 6962`,
    standalone: `6000 0000 0018 3c 40 fd000001000000000000000000000001 fd000001000000000000000000000002
          1101 1f06 15b3 cb007107 0104 00000000
          9c40 0035 0008 6962`,
  },
  {
    name: 'dstopt, IPv6 client',
    carrier: 'dstopt',
    client: '[2001:db8::7]:5555',
    ...{ from: FROM6, to: TO6 },
    ack: `6000 0000 0020 3c 40 fd000001000000000000000000000002 fd000001000000000000000000000001
          1102 1f12 15b3 20010db8 00000000 00000000 00000007 0100
          0035 9c40 0008 6962`,
    standalone: `6000 0000 0020 3c 40 fd000001000000000000000000000001 fd000001000000000000000000000002
          1102 1f12 15b3 20010db8 00000000 00000000 00000007 0100
          9c40 0035 0008 6962`,
  },
];

/** What a writer put at offset 3 of a buffer full of 0xa5, after checking that it touched nothing else. */
function written(write: (out: DataView, offset: number) => number): Uint8Array {
  const all = new Uint8Array(3 + 80).fill(0xa5);
  const length = write(new DataView(all.buffer), 3);
  expect(toHex(all.slice(0, 3))).toBe('a5a5a5');
  expect(toHex(all.slice(3 + length))).toBe('a5'.repeat(80 - length));
  expect(length).toBeLessThanOrEqual(MAX_STANDALONE);
  return all.slice(3, 3 + length);
}

describe.each(GOLDEN)('$name', ({ carrier, client, ack, standalone, from = FROM, to = TO }) => {
  const marked = load(
    datagram({ from, to, payload: [1, 2, 3], carrier, client, tos: 0xb8, ttl: 3, flow: 7 }),
    5,
  );

  it('writeAck writes the ACK, byte for byte', () => {
    const bytes = written((out, offset) => writeAck(marked, out, offset));
    expect(toHex(bytes)).toBe(toHex(hex(ack)));
    expect(decode(bytes)).toMatchObject({ from: to, to: from, payload: '' });
  });

  it('writeStandalone writes the standalone, byte for byte', () => {
    const plain = load(datagram({ from, to, payload: [1, 2, 3], tos: 0xb8, ttl: 3, flow: 7 }), 5);
    const address = client.startsWith('[') ? '2001:db8::7' : '203.0.113.7';
    const named = { v6: address.includes(':'), words: words(address), port: 5555 };
    const bytes = written((out, offset) => writeStandalone(plain, Carrier[carrier], named, out, offset));
    expect(toHex(bytes)).toBe(toHex(hex(standalone)));
    expect(decode(bytes)).toMatchObject({ from, to, payload: '' });
  });

  it('writeAck gives a standalone the ACK that the marked packet gets', () => {
    const bytes = written((out, offset) => writeAck(load(hex(standalone)), out, offset));
    expect(toHex(bytes)).toBe(toHex(hex(ack)));
  });
});

describe('the ACK', () => {
  it('writeAck changes nothing in the marked packet', () => {
    const packet = datagram({ from: FROM, to: TO, payload: [1], carrier: 'opp', client: '203.0.113.7:5555' });
    const marked = load(packet);
    written((out, offset) => writeAck(marked, out, offset));
    expect(toHex(marked.bytes)).toBe(toHex(packet));
  });

  it('the ACK has none of the other options', () => {
    const options = [1, ...option('203.0.113.7:5555'), 7, 3, 0];
    const marked = load(datagram({ from: FROM, to: TO, options }));
    const ack = decode(written((out, offset) => writeAck(marked, out, offset)));
    expect(ack.options).toBe('1f0815b3cb007107');
  });

  it('the ACK in opp echoes the version, and has the length of its own options', () => {
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

  it('the ACK has none of the marked packet’s extension headers', () => {
    const extensions = [
      hopByHop(),
      routing(),
      fragmentHeader(0, false),
      destinationOptions([...padding(2), ...destinationOption('[2001:db8::7]:5555'), ...hex('1e04c0ffee00')]),
    ];
    const marked = load(datagram({ from: FROM6, to: TO6, payload: [1], extensions }));
    const golden = GOLDEN[GOLDEN.length - 1];
    expect(toHex(written((out, offset) => writeAck(marked, out, offset)))).toBe(toHex(hex(golden.ack)));
  });

  it('the ACK for a first fragment is that for the whole packet', () => {
    for (const { carrier, client, ack, from = FROM, to = TO } of GOLDEN) {
      const [first] = fragment(datagram({ from, to, payload: new Array(100).fill(7), carrier, client }), 64);
      expect(toHex(written((out, offset) => writeAck(load(first), out, offset)))).toBe(toHex(hex(ack)));
    }
  });

  it('the ACK echoes an impossible client', () => {
    for (const client of ['0.0.0.0:0', '255.255.255.255:65535']) {
      const marked = load(datagram({ from: FROM, to: TO, carrier: 'ipo', client }));
      const ack = decode(written((out, offset) => writeAck(marked, out, offset)));
      expect(ack.options).toBe(toHex(option(client)));
    }
  });

  it('the ACK has the UDP checksum 0xffff where it comes out as 0', () => {
    const client = '203.0.113.7:5555';
    const marked = load(datagram({ from: '10.10.1.1:59794', to: TO, carrier: 'ipo', client }));
    const bytes = written((out, offset) => writeAck(marked, out, offset));
    expect(toHex(bytes.slice(-8))).toBe('0035e9920008ffff');
    expect(decode(bytes).udpChecksum).toBe(0xffff);
  });

  it('the ACK in IPv6 has the UDP checksum 0xffff where it comes out as 0', () => {
    const client = '203.0.113.7:5555';
    const marked = load(datagram({ from: '[fd00:1::1]:1443', to: TO6, carrier: 'dstopt', client }));
    const bytes = written((out, offset) => writeAck(marked, out, offset));
    expect(toHex(bytes.slice(-8))).toBe('003505a30008ffff');
    expect(decode(bytes).udpChecksum).toBe(0xffff);
  });
});

describe.each(GOLDEN)('asks and answers: $name', ({ carrier, client, standalone, from = FROM, to = TO }) => {
  const nobody = from === FROM6 ? '[::]:0' : '0.0.0.0:0';
  const asked = datagram({ from: to, to: from, carrier, client: nobody, dontFragment: true });

  it('writeAsk asks the sender of a packet', () => {
    const packet = load(datagram({ from, to, payload: [1, 2, 3] }));
    const bytes = written((out, offset) => writeAsk(packet, Carrier[carrier], 4, out, offset));
    expect(toHex(bytes)).toBe(toHex(asked));
  });

  it('writeAsk asks the receiver of a reply', () => {
    const reply = load(datagram({ from: to, to: from, payload: [1, 2, 3] }));
    const bytes = written((out, offset) => writeAsk(reply, Carrier[carrier], 0, out, offset));
    expect(toHex(bytes)).toBe(toHex(asked));
  });

  it('writeAnswer writes the standalone that a packet of the flow would get', () => {
    const address = client.startsWith('[') ? '2001:db8::7' : '203.0.113.7';
    const named = { v6: address.includes(':'), words: words(address), port: 5555 };
    const bytes = written((out, offset) => writeAnswer(load(asked), Carrier[carrier], named, out, offset));
    expect(toHex(bytes)).toBe(toHex(hex(standalone)));
  });
});
