/** What a load balancer may expect of conntrack, whatever stands for it. */
import { describe, expect, it } from 'vitest';
import { BATCH } from '../../../src/codec/batch.js';
import type { ReplyTuple } from '../../../src/codec/ctnetlink.js';
import { NONE } from '../../../src/codec/units.js';
import type { Connection, Connections } from '../../../src/role/load-balancer/connections.js';
import { FAMILIES, inFamily } from './families.js';
import { endpoint, int32 } from './wire.js';

/** Connections, and the world that they are of. Endpoints are written with their family. */
export interface ConnectionsWorld {
  connections: Connections;
  /** Has a `client` reach `server` by way of `lip`. */
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
        /** Asks for connections all at once; gives the numbers of their queries. */
        query: (...numbers: number[]) => {
          const queries = numbers.map(n => connections.addQuery(tupleOf(n)));
          connections.sendQueries();
          return queries;
        },
        answer: (query: number) => copyOf(connections.answer(query)),
        find: (n: number) => copyOf(connections.find(tupleOf(n))),
        /** Has a connection that was found let go with the others on the list. */
        addRelease: (n: number) => {
          const found = connections.find(tupleOf(n));
          if (found === undefined) expect.fail(`there is no connection ${n}`);
          connections.addRelease(found.original);
        },
      };
    }

    const clientOf = (n: number, id: unknown = expect.any(Number)) => {
      const { address, port } = endpoint(client(n));
      return { client: [...int32(address)], clientPort: port, id };
    };

    it('each query of a batch has its connection as answer', () => {
      const { query, answer } = world(...range(BATCH));
      const queries = query(...range(BATCH));
      for (const n of range(BATCH).reverse()) expect(answer(queries[n])).toEqual(clientOf(n));
    });

    it('a query for a connection that is not there has no answer, between others that have one', () => {
      const { query, answer } = world(0, 2);
      const [q0, q1, q2, q3] = query(0, 1, 2, 3);
      expect([q3, q2, q1, q0].map(answer)).toEqual([undefined, clientOf(2), undefined, clientOf(0)]);
    });

    it('queries for the same connection have the same answer', () => {
      const { query, answer } = world(4);
      const queries = query(4, 4, 5, 4);
      expect(queries.map(answer)).toEqual([clientOf(4), clientOf(4), undefined, clientOf(4)]);
    });

    it('a query that the list has no place for is refused, and the others are answered', () => {
      const { query, answer } = world(...range(BATCH), 50);
      const queries = query(...range(BATCH), 50);
      expect(queries).toEqual([...range(BATCH), NONE]);
      expect(answer(queries[BATCH - 1])).toEqual(clientOf(BATCH - 1));
    });

    it('queries of the next batch are answered in the place of those before', () => {
      const { query, answer, forget } = world(0, 1);
      expect(query(0).map(answer)).toEqual([clientOf(0)]);
      forget(0);
      expect(query(0, 1).map(answer)).toEqual([undefined, clientOf(1)]);
    });

    it('find gives a connection that no query asked for', () => {
      const { find } = world(3);
      expect([find(3), find(4)]).toEqual([clientOf(3), undefined]);
    });

    it('find leaves the answers to queries and the queries on the list as they are', () => {
      const { connections, query, answer, find } = world(1, 2, 3);
      const queries = query(1, 2);
      connections.addQuery(tupleOf(3));
      expect(find(3)).toEqual(clientOf(3));
      expect(queries.map(answer)).toEqual([clientOf(1), clientOf(2)]);
      connections.sendQueries();
      expect(answer(0)).toEqual(clientOf(3));
    });

    it('the id tells a connection from another client’s that took its place', () => {
      const { track, forget, find } = world(0);
      const before = find(0);
      expect(find(0)).toEqual(before);
      forget(0);
      track(0, client(99));
      expect(find(0)).toEqual(clientOf(99));
      expect(find(0)?.id).not.toBe(before?.id);
    });

    it('connections are let go from sendReleases on, as many as there are', () => {
      const { connections, released, addRelease } = world(...range(2 * BATCH + 2));
      const names = (numbers: number[]) => numbers.map(n => `${server} > ${lip(n)}`).sort();
      const [first, rest] = [range(BATCH), range(2 * BATCH + 2).slice(BATCH)];
      for (const n of first) addRelease(n);
      expect(released()).toEqual([]);
      connections.sendReleases();
      connections.sendReleases();
      expect(released().sort()).toEqual(names(first));
      for (const n of rest) addRelease(n);
      connections.sendReleases();
      expect(released().sort()).toEqual(names([...first, ...rest]));
    });

    it('letting a connection go that has ended does no harm to the others', () => {
      const { connections, released, addRelease, forget } = world(0, 1, 2);
      for (const n of [0, 1, 2]) addRelease(n);
      forget(1);
      connections.sendReleases();
      expect(released()).toContain(`${server} > ${lip(0)}`);
      expect(released()).toContain(`${server} > ${lip(2)}`);
    });

    it('letting a connection go leaves another client’s alone that took its place meanwhile', () => {
      const { connections, released, addRelease, forget, track } = world(0, 1);
      for (const n of [0, 1]) addRelease(n);
      forget(0);
      track(0, client(99));
      connections.sendReleases();
      expect(released()).toEqual([`${server} > ${lip(1)}`]);
    });

    it('an answer has the connection’s first direction', () => {
      const { connections } = world(3);
      const { original } = connections.find(tupleOf(3)) ?? {};
      const { address, port } = endpoint(client(3));
      expect(original?.sourcePort).toBe(port);
      expect([...(original?.addresses ?? [])].slice(0, 4)).toEqual([...int32(address)]);
      expect([...(original?.addresses ?? [])].slice(4).some(word => word !== 0)).toBe(true);
    });
  });
}

/** It is one object, the next connection's too. */
function copyOf(connection: Connection | undefined) {
  if (connection === undefined) return undefined;
  const { client, clientPort, id } = connection;
  return { client: [...client], clientPort, id };
}
