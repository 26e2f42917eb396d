/** However datagrams of unknown flows come: no flow, and no load balancer, is asked more often than PROTOCOL allows. */
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { ASKING, Rig } from '../../unit/support/real-server.js';
import { datagram, decode, hex } from '../../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

const step = fc.record({
  flow: fc.nat(40),
  copies: fc.integer({ min: 1, max: 4 }),
  waitMs: fc.oneof(fc.constant(0), fc.nat(400), fc.nat(5000)),
  mark: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});

it('a flow that gets no answer is asked about once a second at most, and three times a minute', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150, size: 'max' }), fc.integer(), (steps, start) => {
      const rig = new Rig({ options: ASKING, start, size: { maxFlows: 100, timeoutMs: 3_600_000 } });
      /** When each flow was asked about since its last mark. */
      const asked = new Map<string, number[]>();
      const known = new Set<string>();
      let time = 0;
      let sent = 0;
      for (const { flow, copies, waitMs, mark } of steps) {
        const from = `10.10.1.1:${1024 + flow}`;
        const to = '10.10.1.2:53';
        if (mark) {
          rig.send(datagram({ from, to, payload: [], carrier: 'ipo', client: '203.0.113.7:5555' }));
          known.add(from);
        }
        const packet = datagram({ from, to, payload: [1] });
        for (const ask of rig.send(...Array.from({ length: copies }, () => packet)).emitted) {
          const { to: lb, options, opp, payload } = decode(hex(ask));
          expect([lb, payload]).toEqual([from, '']);
          // As an option of the IP header, or behind it.
          expect(`${options}${opp ?? ''}`).toMatch(/^(1011000c)?1f08000000000000$/);
          expect(known.has(from)).toBe(false);
          const times = asked.get(from) ?? [];
          asked.set(from, [...times, time]);
          sent++;
          if (times.length >= 1) expect(time - times[times.length - 1]).toBeGreaterThanOrEqual(1000);
          if (times.length >= 3) expect(time - times[times.length - 3]).toBeGreaterThanOrEqual(60_000);
        }
        rig.wait(waitMs);
        time += waitMs;
      }
      expect(rig.counts().asks_sent ?? 0).toBe(sent);
    }),
    { numRuns: 100 },
  );
});
