/** What a load balancer may expect of conntrack, whatever stands for it. */
import { describe, expect, it } from 'vitest';
import type { ReplyTuple } from '../../../src/codec/ctnetlink.js';
import { BATCH } from '../../../src/io/device.js';
import type { Connections } from '../../../src/role/load-balancer.js';
import { FAMILIES, inFamily } from './families.js';
import { endpoint, int32, words } from './wire.js';

/** Connections, and the world that they are of. Endpoints are written with their family. */
export interface ConnectionsWorld {
  connections: Connections;
  /** Has a `client` reach `server` by way of `lip`: another connection than any before. */
  track(lip: string, server: string, client: string): void;
  forget(lip: string, server: string): void;
  /** Connections that were let go, as `server > lip`. */
  released(): string[];
}

export function connectionsContract(make: () => ConnectionsWorld): void {
  describe.each(FAMILIES)('as connections, IPv%i', family => {
    const named = (text: string) => inFamily(family, text);
    const server = named('10.99.1.2:7000');
    const lip = (n: number) => named(`10.99.1.1:${40_000 + n}`);
    const client = (n: number) => named(`203.0.113.7:${5000 + n}`);
    const tupleOf = (n: number): ReplyTuple => {
      const [from, to] = [endpoint(server), endpoint(lip(n))];
      return {
        addresses: int32(from.address, to.address),
        sourcePort: from.port,
        destinationPort: to.port,
      };
    };
    const range = (count: number) => Array.from({ length: count }, (_, n) => n);

    function world(...tracked: number[]) {
      const { connections, ...rest } = make();
      const track = (n: number, by = client(n)) => rest.track(lip(n), server, by);
      for (const n of tracked) track(n);
      return {
        ...rest,
        connections,
        track,
        forget: (n: number) => rest.forget(lip(n), server),
        wonder: (...numbers: number[]) => {
          for (const n of numbers) connections.wonder(tupleOf(n));
        },
        /** The client's port and the connection's id; the address has to be the client's. */
        find: (n: number) => {
          if (!connections.find(tupleOf(n))) return undefined;
          const { found } = connections;
          expect([...found.client]).toEqual([...Int32Array.from(words(endpoint(client(n)).address))]);
          return { port: found.clientPort, id: found.id };
        },
        port: (n: number) => (connections.find(tupleOf(n)) ? connections.found.clientPort : undefined),
      };
    }

    it('find gives the client of each connection of a batch that was asked for', () => {
      const { connections, wonder, find } = world(...range(BATCH));
      wonder(...range(BATCH));
      connections.ask();
      for (const n of range(BATCH).reverse()) expect(find(n)?.port).toBe(5000 + n);
    });

    it('find gives nothing for a connection that is not there, between others that are', () => {
      const { connections, wonder, port } = world(0, 2);
      wonder(0, 1, 2, 3);
      connections.ask();
      expect([3, 2, 1, 0].map(port)).toEqual([undefined, 5002, undefined, 5000]);
    });

    it('find gives the same answer twice to one that was asked for twice', () => {
      const { connections, wonder, port } = world(4);
      wonder(4, 4, 5, 4);
      connections.ask();
      expect([4, 5, 4].map(port)).toEqual([5004, undefined, 5004]);
    });

    it('find gives the client of a connection that was not asked for', () => {
      const { connections, wonder, port } = world(1, 2, 3);
      expect(port(3)).toBe(5003);
      wonder(1);
      connections.ask();
      expect([2, 1, 1].map(port)).toEqual([5002, 5001, 5001]);
    });

    it('find gives the client of a connection for which the list had no place', () => {
      const { connections, wonder, port } = world(...range(BATCH), 50);
      wonder(...range(BATCH), 50);
      connections.ask();
      expect(port(50)).toBe(5050);
    });

    it('find gives nothing for a connection that ended before this batch', () => {
      const { connections, wonder, forget, port } = world(0);
      wonder(0);
      connections.ask();
      expect(port(0)).toBe(5000);
      forget(0);
      connections.ask();
      expect(port(0)).toBeUndefined();
    });

    it('the id tells a connection from the one that took its place', () => {
      const { connections, wonder, track, forget, find } = world(0);
      wonder(0);
      connections.ask();
      const before = find(0);
      expect(find(0)).toEqual(before);
      forget(0);
      track(0);
      wonder(0);
      connections.ask();
      expect(find(0)?.port).toBe(before?.port);
      expect(find(0)?.id).not.toBe(before?.id);
    });

    it('connections are let go from settle on, as many as there are', () => {
      const { connections, released } = world(...range(2 * BATCH + 2));
      const names = (numbers: number[]) => numbers.map(n => `${server} > ${lip(n)}`).sort();
      const [first, rest] = [range(BATCH), range(2 * BATCH + 2).slice(BATCH)];
      for (const n of first) connections.release(tupleOf(n));
      expect(released()).toEqual([]);
      connections.settle();
      connections.settle();
      expect(released().sort()).toEqual(names(first));
      for (const n of rest) connections.release(tupleOf(n));
      connections.settle();
      expect(released().sort()).toEqual(names([...first, ...rest]));
    });

    it('letting a connection go that has ended does no harm to the others', () => {
      const { connections, released } = world(0, 2);
      for (const n of [0, 1, 2]) connections.release(tupleOf(n));
      connections.settle();
      expect(released()).toContain(`${server} > ${lip(0)}`);
      expect(released()).toContain(`${server} > ${lip(2)}`);
    });
  });
}
