/** ICMP errors about translated datagrams, both ways, and what comes along with them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Rig } from './support/real-server.js';
import {
  address,
  be16,
  checksum,
  datagram,
  decode,
  hex,
  ipv4,
  type Octets,
  payloadOf,
  toHex,
} from './support/wire.js';

const LB = '10.10.1.1:40000';
const SERVER = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
const ROUTER = '10.10.1.250';

/** An ICMP message with the right checksum. */
function icmp(
  source: string,
  destination: string,
  type: number,
  code: number,
  rest: number[],
  quote: Octets,
): Uint8Array {
  const body = [type, code, 0, 0, ...rest, ...Array.from(quote)];
  const sum = checksum(body);
  return ipv4({
    source,
    destination,
    protocol: 1,
    body: [...body.slice(0, 2), ...be16(sum), ...body.slice(4)],
  });
}

/** What an error quotes of a datagram: its header and some bytes behind it. */
const quoteOf = (packet: Octets, behind = 8) => Array.from(packet).slice(0, (packet[0] & 15) * 4 + behind);

const TYPES = [
  { type: 3, code: 3, rest: [0, 0, 0, 0], what: 'port unreachable' },
  { type: 3, code: 4, rest: [0, 0, ...be16(1400)], what: 'fragmentation needed' },
  { type: 11, code: 0, rest: [0, 0, 0, 0], what: 'time exceeded' },
  { type: 12, code: 0, rest: [20, 0, 0, 0], what: 'parameter problem' },
];

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
  rig.send(datagram({ from: LB, to: SERVER, carrier: 'ipo', client: CLIENT, payload: [1] }));
});

/** Checks both checksums of an ICMP message, and gives its parts. */
function parts(text: string) {
  const bytes = hex(text);
  expect(checksum(bytes.slice(0, 20))).toBe(0);
  expect(checksum(bytes.slice(20))).toBe(0);
  const quoted = bytes.slice(28);
  const header = (quoted[0] & 15) * 4;
  expect(checksum(quoted.slice(0, header))).toBe(0);
  return { source: bytes.slice(12, 16), destination: bytes.slice(16, 20), head: bytes.slice(20, 22), quoted };
}

describe.each(TYPES)('$what', ({ type, code, rest }) => {
  it.each([8, 28, 200])('from the network about a reply, quoting %i bytes, names the client', behind => {
    const sent = datagram({ from: SERVER, to: LB, payload: payloadOf(300) });
    const wanted = datagram({ from: SERVER, to: CLIENT, payload: payloadOf(300) });
    const { delivered, emitted } = rig.send(
      icmp(ROUTER, '10.10.1.2', type, code, rest, quoteOf(sent, behind)),
    );
    expect(emitted).toEqual([]);
    expect(delivered).toEqual([toHex(icmp(ROUTER, '10.10.1.2', type, code, rest, quoteOf(wanted, behind)))]);
    expect(rig.counts()).toMatchObject({ icmp_translated: 1 });
  });

  it('of this host’s about a datagram goes to the load balancer, in its terms', () => {
    const refused = datagram({ from: CLIENT, to: SERVER, payload: payloadOf(300) });
    const { delivered, emitted } = rig.send(
      icmp('10.10.1.2', '203.0.113.7', type, code, rest, quoteOf(refused, 308)),
    );
    expect(delivered).toEqual([]);
    const wanted = datagram({ from: LB, to: SERVER, payload: payloadOf(300) });
    expect(emitted).toEqual([toHex(icmp('10.10.1.2', '10.10.1.1', type, code, rest, quoteOf(wanted, 308)))]);
    const { source, destination, quoted } = parts(emitted[0]);
    expect([source, destination]).toEqual([address('10.10.1.2'), address('10.10.1.1')]);
    expect(decode(quoted)).toMatchObject({ from: LB, to: SERVER });
  });

  it('about a datagram without a UDP checksum leaves it without', () => {
    const refused = datagram({ from: CLIENT, to: SERVER, payload: [1, 2], udpChecksum: 0 });
    const { emitted } = rig.send(icmp('10.10.1.2', '203.0.113.7', type, code, rest, quoteOf(refused)));
    expect(parts(emitted[0]).quoted.slice(26, 28)).toEqual([0, 0]);
  });
});

it('errors about nobody’s flow go on as they came', () => {
  const stranger = datagram({ from: SERVER, to: '198.51.100.9:9', payload: [1] });
  const inbound = icmp(ROUTER, '10.10.1.2', 3, 3, [0, 0, 0, 0], quoteOf(stranger));
  expect(rig.send(inbound)).toEqual({ delivered: [toHex(inbound)], emitted: [] });
  const refused = datagram({ from: '198.51.100.9:9', to: SERVER, payload: [1] });
  const outbound = icmp('10.10.1.2', '198.51.100.9', 3, 3, [0, 0, 0, 0], quoteOf(refused));
  expect(rig.send(outbound)).toEqual({ delivered: [], emitted: [toHex(outbound)] });
  expect(rig.counts().icmp_translated).toBeUndefined();
});

it('what is no error about UDP, or too short for one, goes on as it came', () => {
  const tcp = ipv4({ source: '10.10.1.2', destination: '10.10.1.1', protocol: 6, body: payloadOf(20) });
  const reply = datagram({ from: SERVER, to: LB, payload: [1] });
  const quotes = [
    tcp,
    quoteOf(reply, 7),
    quoteOf(reply).slice(0, 19),
    [],
    [0x4f, ...quoteOf(reply).slice(1)],
  ];
  const pings = [icmp(ROUTER, '10.10.1.2', 8, 0, [0, 1, 0, 1], payloadOf(56))];
  const messages = [...quotes.map(quote => icmp(ROUTER, '10.10.1.2', 3, 3, [0, 0, 0, 0], quote)), ...pings];
  expect(rig.send(...messages)).toEqual({ delivered: messages.map(toHex), emitted: [] });
});

it('an error cut off anywhere is survived', () => {
  const sent = datagram({ from: SERVER, to: LB, payload: payloadOf(30) });
  const whole = icmp(ROUTER, '10.10.1.2', 3, 3, [0, 0, 0, 0], quoteOf(sent, 30));
  for (let length = 1; length <= whole.length; length++) rig.send(whole.slice(0, length));
  expect(rig.counts()).toMatchObject({ icmp_translated: 1, dropped_malformed: whole.length - 1 });
});
