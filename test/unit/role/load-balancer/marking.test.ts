/** Which packets get a mark, and where in them it goes. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { LoadBalancerOptions } from '../../../../src/role/load-balancer/settings.js';
import { alertIn, CARRIERS, FAMILIES, inFamily } from '../../support/families.js';
import type { Rig } from '../../support/load-balancer.js';
import {
  CLIENT,
  type Fields,
  LB,
  makeRig,
  packetsIn,
  type RigSettings,
  SERVER,
} from '../../support/load-balancer-packets.js';
import {
  destinationOptions,
  forwarded,
  hex,
  hopByHop,
  payloadOf,
  routing,
  toHex,
} from '../../support/wire.js';

let rig: Rig;

/** A new load balancer, with one client's connection in conntrack. */
function make(settings: RigSettings = {}): void {
  rig = makeRig(settings);
}

beforeEach(() => {
  make();
});

describe.each(CARRIERS)('marks by %s, IPv%i', (carrier, family) => {
  const { arriving, asHex } = packetsIn(family);
  const remake = (options: Partial<LoadBalancerOptions> = {}) =>
    make({ family, options: { carrier, ...options } });

  const marked = (fields: Fields = {}) => asHex({ carrier, client: CLIENT, ...fields });

  beforeEach(() => {
    remake();
  });

  it('the first packets of a flow have a mark, and no later one has', () => {
    for (let i = 0; i < 3; i++) expect(rig.send(arriving())).toEqual({ delivered: [], emitted: [marked()] });
    for (let i = 0; i < 5; i++) expect(rig.send(arriving())).toEqual({ delivered: [], emitted: [asHex()] });
    expect(rig.counts()).toEqual({
      ...{ packets_seen: 8, marks_inserted: 3, packets_unmarked: 5 },
      ...{ flows: 1, flows_released: 1 },
    });
    expect(rig.flowOf(LB, SERVER)).toMatchObject({ packets: 8 });
  });

  it('the first packets of a flow in one batch have a mark, and no later one has', () => {
    const { emitted } = rig.send(arriving(), arriving(), arriving(), arriving());
    expect(emitted).toEqual([marked(), marked(), marked(), asHex()]);
  });

  it('a marked packet has the golden bytes', () => {
    const arrived = `4500 001f 0007 4000 3b11 29b1 0a0a0101 0a0a0102
                     9c40 0035 000b 494a 010203`;
    const golden = {
      ipo: `4700 0027 0007 4000 3c11 b5e5 0a0a0101 0a0a0102
            1f08 15b3 cb007107
            9c40 0035 000b 494a 010203`,
      opp: `4500 002b 0007 4000 3cf8 27be 0a0a0101 0a0a0102
            1011 000c 1f08 15b3 cb007107
            9c40 0035 000b 494a 010203`,
    };
    const ends = `fd00 0001 0000 0000 0000 0000 0000 0001 fd00 0001 0000 0000 0000 0000 0000 0002`;
    const client = `15b3 2001 0db8 0203 0000 0000 0000 0113 0007`;
    const arrived6 = `6000 0000 000b 113b ${ends} 9c40 0035 000b 655a 010203`;
    const golden6 = {
      ipo: `6000 0000 0023 3c3c ${ends} 1102 1f12 ${client} 0100 9c40 0035 000b 655a 010203`,
      opp: `6000 0000 0023 f83c ${ends} 2011 0018 1f14 ${client} 9c40 0035 000b 655a 010203`,
    };
    const packet = arriving({ payload: [1, 2, 3], id: 7, dontFragment: true });
    expect(toHex(forwarded(packet))).toBe(toHex(hex(family === 4 ? arrived : arrived6)));
    const wanted = (family === 4 ? golden : golden6)[carrier];
    expect(rig.send(packet).emitted).toEqual([toHex(hex(wanted))]);
  });

  it('a marked packet keeps TOS, id, DF, other options, a checksum of 0 and any payload', () => {
    rig.role.configure({ carrier, marksPerFlow: 100, ownAddresses: [] });
    // IPv6 has `opp` without extension headers only.
    const alert = family === 6 && carrier === 'opp' ? { flow: 1 } : { ...alertIn(family), flow: 0xfedcb };
    for (const length of [1, 2, 499, 500, 501, 1400])
      for (const rest of [{}, { udpChecksum: 0 }, { udpChecksum: 0xffff }, alert]) {
        const fields = { tos: 0xb9, id: 0xfedc, dontFragment: true, payload: payloadOf(length), ...rest };
        expect(rig.send(arriving(fields)).emitted, `${length} bytes`).toEqual([marked(fields)]);
      }
  });

  it.each([0, 1, 2, 99, 100])('a flow has no more than %i marks', marksPerFlow => {
    remake({ marksPerFlow });
    const { emitted } = rig.send(...Array.from({ length: marksPerFlow + 3 }, () => arriving()));
    expect(emitted).toEqual([
      ...new Array<string>(marksPerFlow).fill(marked()),
      ...new Array<string>(3).fill(asHex()),
    ]);
  });

  it('each flow has its own number of marks', () => {
    const flows = [LB, '10.10.1.1:40001', '10.10.1.9:40000'].flatMap(from =>
      [SERVER, '10.10.1.2:54', '10.10.1.3:53'].map((to, i) => ({
        from,
        to,
        client: `203.0.113.${i}:${i + 7}`,
      })),
    );
    for (const { from, to, client } of flows) rig.connections.track(from, to, client);
    for (let trail = 0; trail < 4; trail++)
      for (const { from, to, client } of flows)
        expect(rig.send(arriving({ from, to })).emitted).toEqual([
          trail < 3 ? asHex({ from, to, carrier, client }) : asHex({ from, to }),
        ]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 27, packets_unmarked: 9, flows: 9 });
  });
});

describe('marks and the IPv4 header', () => {
  const { arriving, asHex, standalone } = packetsIn(4);
  /** Options that fill whole words: router alerts. */
  const alerts = (words: number) => hex('94040000'.repeat(words));

  it.each([0, 1, 7, 8])('an IPv4 header with %i words of options takes an ipo mark', words => {
    const options = alerts(words);
    expect(rig.send(arriving({ options })).emitted).toEqual([
      asHex({ options, carrier: 'ipo', client: CLIENT }),
    ]);
  });

  it.each([9, 10])(
    'a standalone goes ahead of an IPv4 header with %i words of options, which has no room for ipo',
    words => {
      const options = alerts(words);
      expect(rig.send(arriving({ options })).emitted).toEqual([
        standalone({ carrier: 'ipo' }),
        asHex({ options }),
      ]);
      expect(rig.counts()).toMatchObject({ marks_standalone: 1 });
    },
  );

  it('an IPv4 header full of options takes an opp mark', () => {
    make({ options: { carrier: 'opp' } });
    const options = alerts(10);
    expect(rig.send(arriving({ options })).emitted).toEqual([
      asHex({ options, carrier: 'opp', client: CLIENT }),
    ]);
  });
});

describe('marks and IPv6 extension headers', () => {
  const { arriving, asHex, standalone } = packetsIn(6);
  const other = [0x1e, 4, 1, 2, 3, 4];

  beforeEach(() => {
    make({ family: 6 });
  });

  it('a mark goes behind IPv6 extension headers, right before UDP', () => {
    for (const extensions of [
      [hopByHop()],
      [routing()],
      [hopByHop(), routing()],
      [destinationOptions(other), routing()],
    ]) {
      make({ family: 6 });
      expect(rig.send(arriving({ extensions })).emitted).toEqual([
        asHex({ extensions, carrier: 'ipo', client: CLIENT }),
      ]);
    }
  });

  it('a standalone goes ahead of IPv6 extension headers, which leave no room for opp', () => {
    make({ family: 6, options: { carrier: 'opp' } });
    const extensions = [hopByHop()];
    expect(rig.send(arriving({ extensions })).emitted).toEqual([
      standalone({ carrier: 'opp' }),
      asHex({ extensions }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_standalone: 1 });
  });
});

describe('both families at once', () => {
  it('packets of both families have the option of their own headers, and ACKs of their own', () => {
    for (const family of FAMILIES)
      rig.connections.track(inFamily(family, LB), inFamily(family, SERVER), inFamily(family, CLIENT));
    const [four, six] = FAMILIES.map(packetsIn);
    const mark = { carrier: 'ipo', client: CLIENT } as const;
    expect(rig.send(four.arriving(), six.arriving()).emitted).toEqual([four.asHex(mark), six.asHex(mark)]);
    expect(rig.send(six.ack({ carrier: 'ipo' }), four.arriving(), six.arriving()).emitted).toEqual([
      four.asHex(mark),
      six.asHex(),
    ]);
    expect(rig.connections.releases).toEqual([six.tuple]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 3, acks_received: 1, flows: 2 });
  });
});
