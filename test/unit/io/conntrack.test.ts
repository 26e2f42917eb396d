import { endianness } from 'node:os';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { ReplyTuple } from '../../../src/codec/ctnetlink.js';
import { Conntrack } from '../../../src/io/conntrack.js';
import { BATCH } from '../../../src/io/device.js';
import { address, be16, hex, int32, toHex, words } from '../support/wire.js';

/**
 * A kernel that answers requests for connections, each by a message of its own, in the order of the requests. It knows
 * them by the bytes of their reply tuple alone.
 */
const kernel = vi.hoisted(() => ({
  connections: new Map<string, number[]>(),
  /** Messages that wait on a socket. */
  waiting: new Map<number, number[][]>(),
  /** What each send() held: kinds of requests. */
  sends: [] as string[][],
  marked: [] as string[],
  sendFails: false,
  /** Which of the answers get lost, by their place. */
  lost: new Set<number>(),
  nextFd: 10,
  closed: [] as number[],
}));

vi.mock('../../../src/io/native.js', async importOriginal => {
  const native = {
    openSocket: () => {
      kernel.waiting.set(kernel.nextFd, []);
      return kernel.nextFd++;
    },
    setSocketOption: () => 0,
    closeDescriptor: (fd: number) => kernel.closed.push(fd),
    sendMessage: (fd: number, memory: Uint8Array, length: number): number => {
      if (kernel.sendFails) return -105;
      const requests: Buffer[] = [];
      const all = Buffer.from(memory.slice(0, length));
      for (let at = 0; at < length; at += all.readUInt32LE(at))
        requests.push(all.subarray(at, at + all.readUInt32LE(at)));
      kernel.sends.push(requests.map(request => (request[4] === 1 ? 'get' : 'mark')));
      requests.forEach((request, i) => {
        const tuple = request.subarray(20, 20 + request.readUInt16LE(20)).toString('hex');
        const connection = kernel.connections.get(tuple);
        if (request[4] === 0 && connection !== undefined) kernel.marked.push(tuple);
        if (request[4] === 0 && connection !== undefined) return;
        const answer =
          connection === undefined
            ? [36, 0, 0, 0, 2, 0, 0, 0, ...request.subarray(8, 12), 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]
            : [
                20 + connection.length,
                0,
                0,
                0,
                0,
                1,
                0,
                0,
                ...request.subarray(8, 12),
                0,
                0,
                0,
                0,
                2,
                0,
                0,
                0,
              ];
        const body = connection ?? [...request.subarray(0, 16)];
        if (!kernel.lost.has(i)) kernel.waiting.get(fd)?.push([...answer, ...body]);
      });
      return length;
    },
    receiveBatch: (
      fd: number,
      memory: Uint8Array,
      offsets: Int32Array,
      _lengths: Int32Array,
      results: Int32Array,
      count: number,
    ) => {
      const messages = kernel.waiting.get(fd)?.splice(0, count) ?? [];
      messages.forEach((message, i) => {
        memory.set(message, offsets[i]);
        results[i] = message.length;
      });
      return messages.length || -11;
    },
    receiveMessage: (fd: number, memory: Uint8Array): number => {
      const message = kernel.waiting.get(fd)?.shift();
      if (message === undefined) return -11;
      memory.set(message);
      return message.length;
    },
  };
  return { ...(await importOriginal<object>()), native };
});

beforeEach(() => {
  kernel.connections.clear();
  kernel.sends.length = 0;
  kernel.marked.length = 0;
  kernel.sendFails = false;
  kernel.lost.clear();
  kernel.closed.length = 0;
});

const attribute = (type: number, data: readonly number[]): number[] => {
  const length = 4 + data.length;
  const padding = new Array<number>((4 - (length % 4)) % 4).fill(0);
  return [length % 256, Math.floor(length / 256), type % 256, Math.floor(type / 256), ...data, ...padding];
};
const tupleBytes = (
  type: number,
  [from, to]: readonly string[],
  fromPort: number,
  toPort: number,
): number[] => {
  const [source, destination] = from.includes(':') ? [3, 4] : [1, 2];
  return attribute(0x8000 + type, [
    ...attribute(0x8001, [...attribute(source, address(from)), ...attribute(destination, address(to))]),
    ...attribute(0x8002, [
      ...attribute(1, [17]),
      ...attribute(2, be16(fromPort)),
      ...attribute(3, be16(toPort)),
    ]),
  ]);
};

/** A real server's answers to LIP:lport, one of many. */
const ends = (n: number) => (n % 2 === 0 ? ['10.99.1.2', '10.99.1.1'] : ['fd00:99::2', 'fd00:99::1']);
const tupleOf = (n: number): ReplyTuple => ({
  addresses: int32(...ends(n)),
  sourcePort: 7000,
  destinationPort: 40_000 + n,
});
const bytesOf = (n: number) => toHex(tupleBytes(2, ends(n), 7000, 40_000 + n));

/** Makes connection `n` known, of a client that can be told by its port. */
function track(...numbers: number[]): void {
  for (const n of numbers) {
    const client = n % 2 === 0 ? '203.0.113.7' : '2001:db8::7';
    const orig = tupleBytes(1, [client, ends(n)[1]], 5000 + n, 53);
    kernel.connections.set(bytesOf(n), [...orig, ...attribute(12, [0, 0, 1, n])]);
  }
}

function found(conntrack: Conntrack, n: number): number | undefined {
  if (!conntrack.find(tupleOf(n))) return undefined;
  expect([...conntrack.found.client]).toEqual([
    ...Int32Array.from(words(n % 2 === 0 ? '203.0.113.7' : '2001:db8::7')),
  ]);
  expect(conntrack.found.id).toBe(256 + n);
  return conntrack.found.clientPort;
}

const numbers = Array.from({ length: BATCH }, (_, n) => n);
const times = (count: number, what: string) => new Array<string>(count).fill(what);

describe.skipIf(endianness() === 'BE')('conntrack', () => {
  it('is asked for a whole batch by one message, and each find has its own answer', () => {
    const conntrack = new Conntrack();
    track(...numbers);
    for (const n of numbers) conntrack.wonder(tupleOf(n));
    conntrack.ask();
    expect(kernel.sends).toEqual([times(BATCH, 'get')]);
    for (const n of [...numbers].reverse()) expect(found(conntrack, n)).toBe(5000 + n);
    expect(kernel.sends).toHaveLength(1);
  });

  it('knows what is not there, and does not ask again', () => {
    const conntrack = new Conntrack();
    track(0, 2);
    for (const n of [0, 1, 2, 3]) conntrack.wonder(tupleOf(n));
    conntrack.ask();
    expect([3, 2, 1, 0].map(n => found(conntrack, n))).toEqual([undefined, 5002, undefined, 5000]);
    expect(kernel.sends).toHaveLength(1);
  });

  it('may be asked for the same one twice', () => {
    const conntrack = new Conntrack();
    track(4);
    for (const n of [4, 4, 5, 4]) conntrack.wonder(tupleOf(n));
    conntrack.ask();
    expect([4, 5, 4].map(n => found(conntrack, n))).toEqual([5004, undefined, 5004]);
    expect(kernel.sends).toEqual([times(4, 'get')]);
  });

  it('is asked at once for what was not on the list', () => {
    const conntrack = new Conntrack();
    track(...numbers);
    expect(found(conntrack, 3)).toBe(5003);
    conntrack.wonder(tupleOf(1));
    conntrack.ask();
    expect(found(conntrack, 2)).toBe(5002);
    expect(kernel.sends).toEqual([['get'], ['get'], ['get']]);
    // That was the last question: what was known before it has to be asked for again.
    expect(found(conntrack, 1)).toBe(5001);
    expect(found(conntrack, 1)).toBe(5001);
    expect(kernel.sends).toHaveLength(4);
  });

  it('is asked for no more than a batch holds: the rest when it is looked for', () => {
    const conntrack = new Conntrack();
    track(...numbers, 50);
    for (const n of [...numbers, 50]) conntrack.wonder(tupleOf(n));
    conntrack.ask();
    expect(kernel.sends).toEqual([times(BATCH, 'get')]);
    expect(found(conntrack, 50)).toBe(5050);
    expect(kernel.sends).toEqual([times(BATCH, 'get'), ['get']]);
  });

  it('forgets the answers with the next batch: they are of their time', () => {
    const conntrack = new Conntrack();
    track(0);
    conntrack.wonder(tupleOf(0));
    conntrack.ask();
    expect(found(conntrack, 0)).toBe(5000);
    kernel.connections.clear();
    conntrack.ask();
    expect(found(conntrack, 0)).toBeUndefined();
    expect(kernel.sends).toEqual([['get'], ['get']]);
  });

  it('with answers lost, or late, takes none for another’s', () => {
    const conntrack = new Conntrack();
    track(...numbers);
    kernel.lost.add(0).add(3);
    for (const n of [0, 1, 2, 3, 4]) conntrack.wonder(tupleOf(n));
    conntrack.ask();
    expect([0, 1, 2, 3, 4].map(n => found(conntrack, n))).toEqual([undefined, 5001, 5002, undefined, 5004]);

    // One from an earlier question comes only now.
    kernel.lost.clear();
    const [fd] = [...kernel.waiting].at(-2) ?? [0];
    kernel.waiting
      .get(fd)
      ?.push([
        36,
        0,
        0,
        0,
        2,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0xfe,
        0xff,
        0xff,
        0xff,
        ...hex('00'.repeat(16)),
      ]);
    conntrack.wonder(tupleOf(6));
    conntrack.wonder(tupleOf(7));
    conntrack.ask();
    expect([6, 7].map(n => found(conntrack, n))).toEqual([5006, 5007]);
  });

  it('that can’t be asked knows nothing, and is asked again', () => {
    const conntrack = new Conntrack();
    track(0);
    kernel.sendFails = true;
    conntrack.wonder(tupleOf(0));
    conntrack.ask();
    expect(found(conntrack, 0)).toBeUndefined();
    kernel.sendFails = false;
    conntrack.wonder(tupleOf(0));
    conntrack.ask();
    expect(found(conntrack, 0)).toBe(5000);
  });

  it('gets all marks of a batch by one message, and none twice', () => {
    const conntrack = new Conntrack();
    track(0, 1, 3);
    conntrack.setMarks();
    expect(kernel.sends).toEqual([]);
    for (const n of [0, 1, 2, 3]) conntrack.mark(tupleOf(n), 0x100);
    expect(kernel.sends).toEqual([]);
    conntrack.setMarks();
    conntrack.setMarks();
    expect(kernel.sends).toEqual([times(4, 'mark')]);
    // The one that is gone doesn't matter, nor does what the kernel says of it.
    expect(kernel.marked).toEqual([0, 1, 3].map(bytesOf));
    expect([...kernel.waiting.values()].flat()).toEqual([]);
  });

  it('gets more marks than a message holds by several', () => {
    const conntrack = new Conntrack();
    track(...numbers, 20, 21);
    for (const n of [...numbers, 20, 21]) conntrack.mark(tupleOf(n), 0x100);
    conntrack.setMarks();
    expect(kernel.sends).toEqual([times(BATCH, 'mark'), times(2, 'mark')]);
    expect(kernel.marked).toHaveLength(BATCH + 2);
  });

  it('may be closed twice', () => {
    const conntrack = new Conntrack();
    conntrack.close();
    conntrack.close();
    expect(new Set(kernel.closed).size).toBe(2);
    expect(kernel.closed).toHaveLength(2);
  });
});
