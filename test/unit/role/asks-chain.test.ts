/** Both roles, and what they say to each other about a flow that the real server does not know. */
import { describe, expect, it } from 'vitest';
import { CARRIERS } from '../support/families.js';
import { makeRig, packetsIn } from '../support/load-balancer-packets.js';
import { ASKING, Rig } from '../support/real-server.js';
import { CLIENT, packetsIn as realServerPacketsIn } from '../support/real-server-packets.js';
import { hex } from '../support/wire.js';

describe.each(CARRIERS)('a load balancer with %s over IPv%i and a real server', (carrier, family) => {
  const { outgoing } = packetsIn(family);
  const { asHex } = realServerPacketsIn(family);

  it('a flow that only the load balancer knows gets its client by one ask', () => {
    const lb = makeRig({ family, options: { carrier } });
    const rs = new Rig({ options: ASKING });
    const [ask] = rs.send(outgoing()).emitted;
    const [answer] = lb.send(hex(ask)).emitted;
    const { delivered, emitted } = rs.send(hex(answer));
    expect(delivered).toEqual([]);
    expect(lb.send(hex(emitted[0]))).toEqual({ delivered: [], emitted: [] });
    expect(rs.send(outgoing())).toEqual({ delivered: [asHex({ from: CLIENT })], emitted: [] });
    expect(rs.counts()).toMatchObject({ asks_sent: 1, asks_answered: 1, uoa_ack_sent: 1 });
    expect(lb.counts()).toMatchObject({ asks_received: 1, acks_received: 1, marks_standalone: 1 });
    expect(lb.counts()).not.toHaveProperty('acks_unmatched');
  });
});
