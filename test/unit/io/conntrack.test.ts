import { endianness } from 'node:os';
import { describe, expect, it } from 'vitest';
import { BATCH } from '../../../src/codec/batch.js';
import type { OriginalTuple, ReplyTuple } from '../../../src/codec/ctnetlink.js';
import { Conntrack } from '../../../src/io/conntrack.js';
import { SystemCallError } from '../../../src/io/native.js';
import { connectionsContract } from '../support/connections-contract.js';
import { FakeConntrack } from '../support/fake-conntrack.js';
import { FakeKernel } from '../support/fake-kernel.js';
import { bytesOf, notThere } from '../support/netlink.js';
import { int32, toHex } from '../support/wire.js';

const CT_MARK = 0x100;

/** A conntrack with its kernel, and connections of LIP:40000 and so on, of clients that can be told by their ports. */
function make(...tracked: number[]) {
  const kernel = new FakeKernel();
  const fake = new FakeConntrack(kernel);
  const conntrack = new Conntrack(kernel, CT_MARK);
  for (const n of tracked) fake.track(lip(n), SERVER, `203.0.113.7:${5000 + n}`);
  return {
    kernel,
    fake,
    conntrack,
    /** Asks for connections all at once; their clients' ports. */
    query: (...numbers: number[]) => {
      const queries = numbers.map(n => conntrack.addQuery(tupleOf(n)));
      conntrack.sendQueries();
      return queries.map(query => conntrack.answer(query)?.clientPort);
    },
    find: (n: number) => conntrack.find(tupleOf(n))?.clientPort,
  };
}

const SERVER = '10.99.1.2:7000';
const lip = (n: number) => `10.99.1.1:${40_000 + n}`;
const tupleOf = (n: number): ReplyTuple => ({
  addresses: int32('10.99.1.2', '10.99.1.1'),
  sourcePort: 7000,
  destinationPort: 40_000 + n,
});
/** The same connection by its client. */
const originalOf = (n: number): OriginalTuple => ({
  addresses: int32('203.0.113.7', '198.51.100.10'),
  sourcePort: 5000 + n,
  destinationPort: 53,
});
const numbers = Array.from({ length: BATCH }, (_, n) => n);
const times = (count: number, what: string) => new Array<string>(count).fill(what);

// Netlink is in host order: what the fake writes is a little-endian host's.
describe.skipIf(endianness() === 'BE')('Conntrack', () => {
  connectionsContract(() => {
    const { fake, conntrack } = make();
    return {
      connections: conntrack,
      track: fake.track.bind(fake),
      forget: fake.forget.bind(fake),
      released: () => [...fake.marked],
    };
  });

  it('asks for a whole batch by one message, and for a lone connection by one of its own', () => {
    const { fake, query, find } = make(...numbers);
    expect(query(...numbers)).toEqual(numbers.map(n => 5000 + n));
    expect(fake.sends).toEqual([times(BATCH, 'get')]);
    expect(find(50)).toBeUndefined();
    expect(fake.sends).toEqual([times(BATCH, 'get'), ['get']]);
  });

  it('sends nothing where its lists are empty', () => {
    const { fake, conntrack } = make();
    conntrack.sendQueries();
    conntrack.sendReleases();
    expect(fake.sends).toEqual([]);
  });

  it('takes no answer for another one’s where some are lost', () => {
    const { fake, query } = make(...numbers);
    fake.lost.add(0).add(3);
    expect(query(0, 1, 2, 3, 4)).toEqual([undefined, 5001, 5002, undefined, 5004]);
  });

  it('takes no answer for another one’s where an earlier one comes late', () => {
    const { kernel, query, find } = make(...numbers);
    query(0, 1, 2);
    find(3);
    const late = bytesOf(
      notThere([...new Array<number>(8).fill(0), 1, 0, 0, 0, ...new Array<number>(4).fill(0)]),
    );
    for (const { waiting } of kernel.sockets.values()) waiting.push(late);
    expect(query(6, 7)).toEqual([5006, 5007]);
    // What was left over does not push out the next answers.
    expect(query(1)).toEqual([5001]);
    expect([find(4), find(8)]).toEqual([5004, 5008]);
  });

  it('has no answers while requests cannot be sent, and has them afterwards', () => {
    const { fake, query, find } = make(0);
    fake.sendFails = true;
    expect([query(0), find(0)]).toEqual([[undefined], undefined]);
    fake.sendFails = false;
    expect([query(0), find(0)]).toEqual([[5000], 5000]);
  });

  it('sets the marks of a batch by one message, and leaves no error of the kernel on the socket', () => {
    const { kernel, fake, conntrack } = make(0, 1, 3);
    for (const n of [0, 1, 2, 3]) conntrack.addRelease(originalOf(n));
    expect(fake.sends).toEqual([]);
    conntrack.sendReleases();
    expect(fake.sends).toEqual([times(4, 'mark')]);
    expect(fake.marked).toEqual([0, 1, 3].map(n => `${SERVER} > ${lip(n)}`));
    expect([...kernel.sockets.values()].flatMap(({ waiting }) => waiting)).toEqual([]);
  });

  it('sets more marks than a message holds by several', () => {
    const { fake, conntrack } = make(...numbers, 20, 21);
    for (const n of [...numbers, 20, 21]) conntrack.addRelease(originalOf(n));
    conntrack.sendReleases();
    expect(fake.sends).toEqual([times(BATCH, 'mark'), times(2, 'mark')]);
    expect(fake.marked).toHaveLength(BATCH + 2);
  });

  it('sets its own bits of a mark and no others', () => {
    const { kernel, conntrack } = make(0);
    const sent: string[] = [];
    kernel.answers = message => {
      sent.push(toHex(message));
      return [];
    };
    conntrack.addRelease(originalOf(0));
    conntrack.sendReleases();
    // CTA_MARK and CTA_MARK_MASK
    expect(sent.map(text => text.slice(-32))).toEqual(['08000800000001000800150000000100']);
  });

  it('may be closed twice', () => {
    const { kernel, conntrack } = make();
    const open = [...kernel.sockets.keys()];
    conntrack.close();
    conntrack.close();
    expect(open).toHaveLength(3);
    expect(kernel.closed).toEqual(open);
  });

  it('throws where it gets no netlink socket', () => {
    const kernel = new FakeKernel();
    kernel.openSocket = () => -1;
    expect(() => new Conntrack(kernel, CT_MARK)).toThrow(SystemCallError);
    expect(() => new Conntrack(kernel, CT_MARK)).toThrow('open netlink socket: EPERM');
  });
});
