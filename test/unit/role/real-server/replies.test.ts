/** Replies of the application, and of sockets without an address of their own. */
import { beforeEach, describe, expect, it } from 'vitest';
import { alertIn, FAMILIES, inFamily } from '../../support/families.js';
import { OPTIONS, Rig } from '../../support/real-server.js';
import { CLIENT, LB, packetsIn, SERVER } from '../../support/real-server-packets.js';
import { hex, payloadOf, toHex, words } from '../../support/wire.js';

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
});

describe.each(FAMILIES)('replies, IPv%i', family => {
  const { inbound, asHex, ackFor, reply } = packetsIn(family);

  beforeEach(() => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
  });

  it('a reply goes to the load balancer', () => {
    expect(rig.send(reply())).toEqual({ delivered: [], emitted: [toHex(reply({ to: LB }))] });
    expect(rig.counts()).toMatchObject({ replies_translated: 1 });
    expect(rig.flowOf(LB, SERVER, family)).toMatchObject({ packets: 1, replies: 1 });
  });

  it('a reply keeps TOS, TTL, id, options, payload and a checksum of 0', () => {
    const fields = {
      tos: 0x2e,
      ttl: 1,
      id: 0xfffe,
      dontFragment: true,
      ...alertIn(family),
      payload: payloadOf(1472),
      udpChecksum: 0,
    };
    const { emitted } = rig.send(reply(fields));
    expect(emitted).toEqual([toHex(reply({ ...fields, to: LB }))]);
    expect(hex(emitted[0]).slice(-1474, -1472)).toEqual([0, 0]);
  });

  it('a reply to a host that is no client is emitted as it is', () => {
    for (const fields of [
      { to: '203.0.113.7:5556' },
      { to: '203.0.113.8:5555' },
      { from: '10.10.1.2:7000' },
      { from: '10.10.1.9:53' },
    ])
      expect(rig.send(reply(fields)).emitted).toEqual([toHex(reply(fields))]);
    expect(rig.counts()).toMatchObject({ replies_passed: 4 });
    expect(rig.counts()).not.toHaveProperty('replies_translated');
  });

  it('a reply to the load balancer itself is emitted as it is', () => {
    expect(rig.send(reply({ to: LB })).emitted).toEqual([toHex(reply({ to: LB }))]);
    expect(rig.counts()).toMatchObject({ replies_passed: 1 });
  });

  it('replies keep their flow', () => {
    for (let i = 0; i < 5; i++) {
      rig.wait(50_000);
      expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: LB }))]);
    }
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
  });

  it('replies of two flows of the same client go by the one whose packet came last', () => {
    const second = '10.10.1.1:40001';
    rig.send(inbound({ from: second, carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: second }))]);
    rig.send(inbound());
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: LB }))]);
    rig.send(inbound({ from: second }));
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: second }))]);
  });

  it('replies of a flow that is gone go by the next one that has a packet', () => {
    const second = '10.10.1.1:40001';
    rig.send(inbound({ from: second, carrier: 'ipo', client: CLIENT }));
    rig.send(inbound({ from: second, carrier: 'ipo', client: '203.0.113.99:1' }));
    expect(rig.send(reply()).emitted).toEqual([toHex(reply())]);
    rig.send(inbound());
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: LB }))]);
  });

  it('a reply in the same batch as the packet that it answers goes to the load balancer', () => {
    const other = '203.0.113.50:50';
    const { delivered, emitted } = rig.send(
      inbound({ from: '10.10.1.1:41000', carrier: 'opp', client: other }),
      reply({ to: other }),
    );
    expect(delivered).toEqual([asHex({ from: other })]);
    expect(emitted).toEqual([
      ackFor({ to: '10.10.1.1:41000', carrier: 'opp', client: other }),
      toHex(reply({ to: '10.10.1.1:41000' })),
    ]);
  });

  it('a refused reply is counted', () => {
    rig.device.refusing = true;
    expect(rig.counted(() => rig.send(reply(), reply()))).toEqual({ replies_translated: 2, dropped_io: 2 });
  });
});

describe.each(FAMILIES)('replies of a wildcard socket, IPv%i', family => {
  const { inbound, reply } = packetsIn(family);

  const asked = '10.10.1.3:53';

  it('a wildcard socket’s reply goes out from the address that was asked', () => {
    rig.send(inbound({ to: asked, carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply({ from: SERVER })).emitted).toEqual([toHex(reply({ from: asked, to: LB }))]);
    expect(rig.send(reply({ from: SERVER, udpChecksum: 0 })).emitted).toEqual([
      toHex(reply({ from: asked, to: LB, udpChecksum: 0 })),
    ]);
  });

  it('a wildcard socket’s reply goes out from its own address if that was asked too', () => {
    rig.send(inbound({ to: asked, carrier: 'ipo', client: CLIENT }));
    rig.send(inbound({ from: '10.10.1.1:40001', to: SERVER, carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply({ from: SERVER })).emitted).toEqual([toHex(reply({ to: '10.10.1.1:40001' }))]);
  });

  it('a reply from an address that is no wildcard source is emitted as it is', () => {
    rig.send(inbound({ to: SERVER, carrier: 'ipo', client: CLIENT }));
    const answer = reply({ from: asked });
    expect(rig.send(answer).emitted).toEqual([toHex(answer)]);
  });

  it('a wildcard socket’s reply goes by no service that has lost the port', () => {
    rig.send(inbound({ to: asked, carrier: 'ipo', client: CLIENT }));
    const gone = OPTIONS.services[family === 4 ? 2 : 6];
    const services = OPTIONS.services.map(service =>
      service === gone ? { ...service, from: 54, to: 54 } : service,
    );
    rig.role.configure({ ...OPTIONS, services });
    expect(rig.send(reply()).emitted).toEqual([toHex(reply())]);
  });

  it('a wildcard socket’s replies are known by the address that is configured', () => {
    rig.role.configure({ ...OPTIONS, wildcardSources: [words(inFamily(family, '10.10.1.3'))] });
    rig.send(inbound({ to: SERVER, carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply({ from: '10.10.1.3:53' })).emitted).toEqual([toHex(reply({ to: LB }))]);
    const other = '203.0.113.7:6666';
    rig.send(inbound({ to: asked, carrier: 'ipo', client: other }));
    const answer = reply({ to: other });
    expect(rig.send(answer).emitted).toEqual([toHex(answer)]);
  });

  it('an address of the other family with the same end is no wildcard source', () => {
    const [source, service] = family === 4 ? ['fd00:1::a0a:102', 'fd00:1::a0a:104'] : ['0.0.0.2', '0.0.0.4'];
    const services = [{ words: words(service), from: 53, to: 53 }, ...OPTIONS.services];
    rig.send(inbound({ to: asked, carrier: 'ipo', client: CLIENT }));
    rig.role.configure({ ...OPTIONS, services });
    expect(rig.send(reply({ from: SERVER })).emitted).toEqual([toHex(reply({ from: asked, to: LB }))]);
    const answer = reply({ from: '10.10.1.4:53' });
    expect(rig.send(answer).emitted).toEqual([toHex(answer)]);
    rig.role.configure({ ...OPTIONS, wildcardSources: [words(source)] });
    expect(rig.send(reply()).emitted).toEqual([toHex(reply())]);
  });

  it('a wildcard socket’s reply goes by services with its port alone', () => {
    rig.send(inbound({ to: '10.10.1.4:7777', carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply({ from: '10.10.1.2:7777' })).emitted).toEqual([
      toHex(reply({ from: '10.10.1.4:7777', to: LB })),
    ]);
    const none = reply({ from: '10.10.1.2:7778' });
    expect(rig.send(none).emitted).toEqual([toHex(none)]);
  });
});
