/** ICMP errors about translated datagrams, both ways, and what comes along with them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { datagramIn, FAMILIES, type Family, type FamilyFields, inFamily } from '../../support/families.js';
import { Rig } from '../../support/real-server.js';
import {
  be16,
  decode,
  decodeIcmp,
  hex,
  hopByHop,
  icmp,
  ipv4,
  ipv6,
  type Octets,
  payloadOf,
  toHex,
} from '../../support/wire.js';

const LB = '10.10.1.1:40000';
const SERVER = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
const STRANGER = '198.51.100.9:9';
const ROUTER = '10.10.1.250';

interface ErrorType {
  type: number;
  code: number;
  rest: number[];
  what: string;
}

const NO_REST = [0, 0, 0, 0];
const TYPES: Record<Family, ErrorType[]> = {
  4: [
    { type: 3, code: 3, rest: NO_REST, what: 'port unreachable' },
    { type: 3, code: 4, rest: [0, 0, ...be16(1400)], what: 'fragmentation needed' },
    { type: 11, code: 0, rest: NO_REST, what: 'time exceeded' },
    { type: 12, code: 0, rest: [20, 0, 0, 0], what: 'parameter problem' },
  ],
  6: [
    { type: 1, code: 4, rest: NO_REST, what: 'port unreachable' },
    { type: 2, code: 0, rest: [0, 0, ...be16(1400)], what: 'packet too big' },
    { type: 3, code: 0, rest: NO_REST, what: 'time exceeded' },
    { type: 4, code: 1, rest: [0, 0, 0, 40], what: 'parameter problem' },
  ],
};
const CASES = FAMILIES.flatMap(family => TYPES[family].map(error => ({ family, ...error })));

/** What an error quotes of a datagram: its header and some bytes behind it. */
const quoteOf = (packet: Octets, behind = 8) =>
  Array.from(packet).slice(0, (packet[0] >> 4 === 6 ? 40 : (packet[0] & 15) * 4) + behind);

/** Errors about datagrams of these tests, in a family. */
function errorsIn(family: Family, { type, code, rest }: Omit<ErrorType, 'what'>) {
  const error = (from: string, to: string, quote: Octets) => {
    const [source, destination] = [from, to].map(text => inFamily(family, text));
    return icmp({ source, destination, type, code, rest, quote });
  };
  const about = (fields: Partial<FamilyFields>, behind = 8) =>
    quoteOf(datagramIn(family, { from: SERVER, to: LB, payload: payloadOf(300), ...fields }), behind);
  return { error, about };
}

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
  for (const family of FAMILIES)
    rig.send(datagramIn(family, { from: LB, to: SERVER, carrier: 'ipo', client: CLIENT, payload: [1] }));
});

describe.each(CASES)('$what, IPv$family', ({ family, type, code, rest }) => {
  const { error, about } = errorsIn(family, { type, code, rest });

  it.each([8, 28, 200])(
    'an error of the network about a reply, quoting %i bytes, is delivered with the client in it',
    behind => {
      const { delivered, emitted } = rig.send(error(ROUTER, '10.10.1.2', about({}, behind)));
      expect(emitted).toEqual([]);
      expect(delivered).toEqual([toHex(error(ROUTER, '10.10.1.2', about({ to: CLIENT }, behind)))]);
      expect(rig.counts()).toMatchObject({ icmp_translated: 1 });
    },
  );

  it('an error of this host about a datagram goes to the load balancer with LIP in it', () => {
    const refused = about({ from: CLIENT, to: SERVER }, 308);
    const { delivered, emitted } = rig.send(error('10.10.1.2', '203.0.113.7', refused));
    expect(delivered).toEqual([]);
    const wanted = about({ from: LB, to: SERVER }, 308);
    expect(emitted).toEqual([toHex(error('10.10.1.2', '10.10.1.1', wanted))]);
    const { source, destination, quote } = decodeIcmp(hex(emitted[0]));
    expect([source, destination]).toEqual(['10.10.1.2', '10.10.1.1'].map(text => inFamily(family, text)));
    const [from, to] = [LB, SERVER].map(text => inFamily(family, text));
    expect(decode(hex(quote))).toMatchObject({ from, to });
  });

  it('an error about a datagram without a UDP checksum leaves it without', () => {
    const refused = about({ from: CLIENT, to: SERVER, udpChecksum: 0 });
    const { emitted } = rig.send(error('10.10.1.2', '203.0.113.7', refused));
    expect(hex(decodeIcmp(hex(emitted[0])).quote).slice(-2)).toEqual([0, 0]);
  });

  it('an error about a datagram to a wildcard socket’s other address finds its flow', () => {
    const asked = '10.10.1.3:53';
    const client = '203.0.113.8:5555';
    rig.send(datagramIn(family, { from: LB, to: asked, carrier: 'ipo', client, payload: [1] }));
    const { emitted } = rig.send(error('10.10.1.3', '203.0.113.8', about({ from: client, to: asked })));
    expect(emitted).toEqual([toHex(error('10.10.1.3', '10.10.1.1', about({ from: LB, to: asked })))]);
  });
});

describe.each(FAMILIES)('IPv%i', family => {
  const { error, about } = errorsIn(family, TYPES[family][0]);

  it('errors about packets of no flow go on as they came', () => {
    const inbound = error(ROUTER, '10.10.1.2', about({ to: STRANGER }));
    expect(rig.send(inbound)).toEqual({ delivered: [toHex(inbound)], emitted: [] });
    const outbound = error('10.10.1.2', '198.51.100.9', about({ from: STRANGER, to: SERVER }));
    expect(rig.send(outbound)).toEqual({ delivered: [], emitted: [toHex(outbound)] });
    expect(rig.counts().icmp_translated).toBeUndefined();
  });

  it('ICMP that quotes no UDP header goes on as it came', () => {
    const [source, destination] = ['10.10.1.2', '10.10.1.1'].map(text => inFamily(family, text));
    const rest = { source, destination, body: payloadOf(20) };
    const tcp = family === 4 ? ipv4({ ...rest, protocol: 6 }) : ipv6({ ...rest, next: 6 });
    const other = FAMILIES.find(candidate => candidate !== family) ?? 4;
    const quotes = [
      tcp,
      about({}, 7),
      about({}).slice(0, 19),
      [],
      family === 4 ? [0x4f, ...about({}).slice(1)] : [...about({}).slice(0, 6), 0, ...about({}).slice(7)],
      quoteOf(datagramIn(other, { from: SERVER, to: LB })),
    ];
    const echo = errorsIn(family, { type: family === 4 ? 8 : 128, code: 0, rest: [0, 1, 0, 1] });
    const messages = [
      ...quotes.map(quote => error(ROUTER, '10.10.1.2', quote)),
      echo.error(ROUTER, '10.10.1.2', payloadOf(56)),
    ];
    expect(rig.send(...messages)).toEqual({ delivered: messages.map(toHex), emitted: [] });
  });

  it('an error cut off anywhere is delivered, or counted', () => {
    const whole = error(ROUTER, '10.10.1.2', about({ payload: payloadOf(30) }, 30));
    for (let length = 1; length <= whole.length; length++) rig.send(whole.slice(0, length));
    expect(rig.counts()).toMatchObject({ icmp_translated: 1, dropped_malformed: whole.length - 1 });
  });
});

describe('over IPv6', () => {
  const { error } = errorsIn(6, TYPES[6][0]);

  it('an error about a reply with extension headers names the client', () => {
    const quoted = (to: string) =>
      datagramIn(6, { from: SERVER, to, payload: payloadOf(30), extensions: [hopByHop()] });
    expect(rig.send(error(ROUTER, '10.10.1.2', quoted(LB))).delivered).toEqual([
      toHex(error(ROUTER, '10.10.1.2', quoted(CLIENT))),
    ]);
  });

  it.each([133, 134, 135, 136, 137, 128, 129, 143, 0, 5])(
    'type %i is no error: it goes on as it came',
    type => {
      const { error, about } = errorsIn(6, { type, code: 0, rest: NO_REST });
      const message = error(ROUTER, '10.10.1.2', about({}));
      expect(rig.send(message)).toEqual({ delivered: [toHex(message)], emitted: [] });
      expect(rig.counts().icmp_translated).toBeUndefined();
    },
  );
});

describe.each(FAMILIES)('a path’s MTU, IPv%i', family => {
  const tooBig = (mtu: number, to = LB) => {
    const { error, about } = errorsIn(family, { ...TYPES[family][1], rest: [0, 0, ...be16(mtu)] });
    return error(ROUTER, '10.10.1.2', about({ to }));
  };
  const client = inFamily(family, '203.0.113.7');

  it('a path’s MTU is told once for its client, and again if it is smaller', () => {
    expect(rig.send(tooBig(1400), tooBig(1400), tooBig(1450)).delivered).toEqual([
      toHex(tooBig(1400, CLIENT)),
    ]);
    expect(rig.toldMtus).toEqual([`${client} 1400`]);
    expect(rig.send(tooBig(1300)).delivered).toEqual([toHex(tooBig(1300, CLIENT))]);
    expect(rig.toldMtus).toEqual([`${client} 1400`, `${client} 1300`]);
  });

  it('no MTU is told of a host that is no client', () => {
    rig.send(tooBig(1400, STRANGER));
    expect(rig.toldMtus).toEqual([]);
  });
});
