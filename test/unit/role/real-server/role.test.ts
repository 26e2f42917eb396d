/** What passes through the real server beside marks and replies, unplugged from everything. */
import { beforeEach, describe, expect, it } from 'vitest';
import { FAMILIES, type Family, inFamily } from '../../support/families.js';
import { OPTIONS, Rig, TIMEOUT } from '../../support/real-server.js';
import { CLIENT, LB, packetsIn, SERVER } from '../../support/real-server-packets.js';
import { hex, ipv4, ipv6, payloadOf, prefix, toHex } from '../../support/wire.js';

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
});

describe('both families at once', () => {
  it('the same client in both families has a flow and answers in each', () => {
    const four = packetsIn(4);
    const six = packetsIn(6);
    const marked = { carrier: 'ipo', client: CLIENT } as const;
    expect(rig.send(four.inbound(marked), six.inbound(marked), four.inbound(), six.inbound())).toEqual({
      delivered: [four, six, four, six].map(({ asHex }) => asHex({ from: CLIENT })),
      emitted: [four.ackFor({ carrier: 'ipo' }), six.ackFor({ carrier: 'ipo' })],
    });
    expect(rig.send(six.reply(), four.reply()).emitted).toEqual(
      [six, four].map(({ reply }) => toHex(reply({ to: LB }))),
    );
    expect(rig.counts()).toMatchObject({ uoa_got: 2, uoa_saved: 2, replies_translated: 2, flows: 2 });
    expect([4, 6].map(family => rig.clientOf(LB, SERVER, family as Family))).toEqual(
      FAMILIES.map(family => inFamily(family, CLIENT)),
    );
  });

  it('a full table forgets flows of either family', () => {
    rig = new Rig({ size: { maxFlows: 2, timeoutMs: 60_000 } });
    for (const family of [4, 6, 6] as const) {
      const { inbound } = packetsIn(family);
      rig.send(inbound({ from: `10.10.1.1:${rig.device.clock[0]}`, carrier: 'ipo', client: CLIENT }));
      rig.wait(100);
    }
    expect(rig.counts()).toMatchObject({ flows: 2, flows_evicted: 1 });
    expect(rig.clientOf('10.10.1.1:1000', SERVER, 4)).toBe('unknown');
    expect(rig.clientOf('10.10.1.1:1100', SERVER, 6)).toBe(inFamily(6, CLIENT));
  });
});

describe.each(FAMILIES)('a packet without a mark, IPv%i', family => {
  const { inbound, asHex } = packetsIn(family);

  it('a packet of an unknown flow is counted as a miss and delivered as it came', () => {
    expect(rig.send(inbound())).toEqual({ delivered: [asHex()], emitted: [] });
    expect(rig.counts()).toEqual({ uoa_none: 1, uoa_miss: 1, packets_delivered: 1 });
  });

  it('a packet to a port without a service is no miss', () => {
    const to = '10.10.1.2:54';
    expect(rig.send(inbound({ to })).delivered).toEqual([asHex({ to })]);
    expect(rig.counts()).toEqual({ uoa_none: 1, packets_delivered: 1 });
  });

  it('an empty datagram without a mark is delivered', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    expect(rig.send(inbound({ payload: [] })).delivered).toEqual([asHex({ from: CLIENT, payload: [] })]);
    expect(rig.counts()).not.toHaveProperty('uoa_standalone');
  });

  it.each([
    ['another LIP', { from: '10.10.1.7:40000' }],
    ['another lport', { from: '10.10.1.1:40001' }],
    ['another RIP', { to: '10.10.1.3:53' }],
    ['another rport', { to: '10.10.1.2:7000' }],
  ])('a packet of another flow does not get the client: %s', (_, fields) => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    expect(rig.send(inbound(fields)).delivered).toEqual([asHex(fields)]);
    expect(rig.counts()).toMatchObject({ uoa_miss: 1 });
  });

  it('packets without a mark keep their flow', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    for (let i = 0; i < 10; i++) {
      rig.wait(50_000);
      expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
    }
    rig.wait(59_900);
    expect(rig.counts()).toMatchObject({ flows: 1 });
    rig.wait(1_300);
    expect(rig.counts()).toMatchObject({ flows_expired: 1 });
    expect(rig.flows.count).toBe(0);
    expect(rig.counts()).not.toHaveProperty('flows');
    expect(rig.send(inbound()).delivered).toEqual([asHex()]);
    expect(rig.counts()).toMatchObject({ uoa_miss: 1 });
  });
});

describe('what is not UDP', () => {
  const tcp = { protocol: 6, body: payloadOf(40) };
  const packet4 = (source: string, destination: string) => ipv4({ ...tcp, source, destination });
  const packet6 = (source: string, destination: string) =>
    ipv6({ source, destination, next: tcp.protocol, body: tcp.body });

  it('a packet that is not UDP goes on as it came, to a service or from one', () => {
    const inwards = [packet4('10.10.1.1', '10.10.1.2'), packet6('fd00:1::1', 'fd00:1::2')].map(toHex);
    const outwards = [packet4('10.10.1.2', '10.10.1.1'), packet6('fd00:1::2', 'fd00:1::1')].map(toHex);
    expect(rig.send(...[...inwards, ...outwards].map(hex))).toEqual({
      delivered: inwards,
      emitted: outwards,
    });
    expect(rig.counts()).toEqual({});
  });

  it('a packet that is not UDP and neither to a service nor from one is dropped and counted', () => {
    expect(rig.send(packet4('10.10.1.1', '10.10.1.9'), packet6('fd00:1::1', 'fd00:1::9'))).toEqual({
      delivered: [],
      emitted: [],
    });
    expect(rig.counts()).toEqual({ packets_ignored: 2 });
  });

  it('a packet that is not IP is dropped and counted, whatever came before it', () => {
    for (const family of FAMILIES) {
      const { inbound } = packetsIn(family);
      const notIp = inbound();
      notIp[0] = 0x50;
      expect(rig.send(inbound(), notIp)).toEqual({ delivered: [toHex(inbound())], emitted: [] });
    }
    expect(rig.counts()).toMatchObject({ packets_ignored: 2, packets_delivered: 2 });
  });
});

describe.each(FAMILIES)('a full table, IPv%i', family => {
  const { inbound, asHex } = packetsIn(family);

  it('an eviction for a new flow is counted', () => {
    rig = new Rig({ size: { maxFlows: 2, timeoutMs: 60_000 } });
    for (const port of [1, 2, 3]) {
      rig.send(inbound({ from: `10.10.1.1:${port}`, carrier: 'ipo', client: `203.0.113.7:${port}` }));
      rig.wait(100);
    }
    expect(rig.counts()).toMatchObject({ flows: 2, flows_evicted: 1, uoa_saved: 3 });
    expect(rig.send(inbound({ from: '10.10.1.1:1' })).delivered).toEqual([asHex({ from: '10.10.1.1:1' })]);
    expect(rig.send(inbound({ from: '10.10.1.1:3' })).delivered).toEqual([asHex({ from: '203.0.113.7:3' })]);
  });
});

describe.each(FAMILIES)('configure, IPv%i', family => {
  const { inbound, asHex, ackFor } = packetsIn(family);
  const TWINS = { '10.10.1.1/32': 'fd00:1::1/128', '10.0.0.0/8': 'fd00::/16' };
  const network = (text: keyof typeof TWINS) => (family === 4 ? text : TWINS[text]);

  it('other options hold from the next packet on, and flows stay', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    rig.role.configure({
      ...OPTIONS,
      loadBalancers: [
        {
          prefix: prefix(network('10.10.1.1/32')),
          ack: false,
          ask: false,
          deliverEmpty: false,
          timeout: TIMEOUT,
        },
      ],
    });
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
    expect(rig.send(inbound({ carrier: 'ipo', client: CLIENT })).emitted).toEqual([]);
    const stranger = inbound({ from: '10.10.1.7:40000', carrier: 'ipo', client: CLIENT });
    expect(rig.send(stranger)).toEqual({ delivered: [toHex(stranger)], emitted: [] });
  });

  it('the options of the longest prefix hold', () => {
    rig.role.configure({
      ...OPTIONS,
      loadBalancers: [
        {
          prefix: prefix(network('10.0.0.0/8')),
          ack: false,
          ask: false,
          deliverEmpty: true,
          timeout: TIMEOUT,
        },
        {
          prefix: prefix(network('10.10.1.1/32')),
          ack: true,
          ask: false,
          deliverEmpty: false,
          timeout: TIMEOUT,
        },
      ],
    });
    const empty = { carrier: 'ipo', client: CLIENT, payload: [] } as const;
    expect(rig.send(inbound(empty))).toEqual({ delivered: [], emitted: [ackFor({ carrier: 'ipo' })] });
    expect(rig.send(inbound({ ...empty, from: '10.10.1.7:1' }))).toEqual({
      delivered: [asHex({ from: CLIENT, payload: [] })],
      emitted: [],
    });
  });
});
