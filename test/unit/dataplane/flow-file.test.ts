import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createFlowFile,
  FlowFile as File,
  type FlowFile,
  ownerWords,
  putInPlace,
  readOldFlows,
} from '../../../src/dataplane/flow-file.js';
import type { RoleSettings } from '../../../src/dataplane/make-role.js';
import { takeOver } from '../../../src/dataplane/take-over.js';
import { FORMAT, savedBytes } from '../../../src/flow/saved-flows.js';
import { FlowTable } from '../../../src/flow/table.js';
import { type Native, native } from '../../../src/io/native.js';
import { findFlow, flowKey, learn } from '../support/flow-model.js';
import { OPTIONS } from '../support/real-server.js';
import { endpoint, int32, prefix } from '../support/wire.js';

const BOOT = '01234567-89ab-cdef-0123-456789abcdef';
const OWNER = ownerWords(1, BOOT, 0x1_0000_0002n);
const ROLE: RoleSettings = { name: 'real-server', options: OPTIONS };
const KEY = flowKey('10.10.1.1:40000 > 10.10.1.2:53');
const CLIENT = endpoint('198.51.100.7:5555');
const SIZE = { maxFlows: 10_000, timeoutMs: 360_000 };
const TABLE = { ...SIZE, routesReplies: true, seed: 7 };

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'uoa-shim-flows-'));
  path = join(directory, 'uoa0.flows');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A kernel whose file system is full. */
const full: Native = { ...native, allocateFile: () => -constants.errno.ENOSPC };

const create = (extent = 0, by: Native = native): FlowFile =>
  createFlowFile(by, { path, owner: OWNER, ...SIZE, extent });

/** A file in its place. */
function made(): FlowFile {
  const file = create();
  putInPlace(path);
  return file;
}

/** Takes over, and gives the table with what was said, levels first. */
function taken(by: Native = native, role = ROLE, options = TABLE) {
  const said: string[] = [];
  const news = {
    info: (message: string) => void said.push(`info: ${message}`),
    warn: (message: string) => void said.push(`warn: ${message}`),
  };
  const buffer = new SharedArrayBuffer(FlowTable.byteLength(options));
  const file = takeOver(by, path, buffer, options, role, news);
  return { file, said, table: FlowTable.open(buffer, options, file?.flows) };
}

/** A process that learns a flow, and is killed. */
function killed(by: Native = native): void {
  const { table, file } = taken(by);
  const now = native.clock();
  table.recordInbound(learn(table, KEY, CLIENT, now).flow, now);
  if (file !== undefined) native.closeDescriptor(file.shared.fd);
}

describe('the file of flows', () => {
  it('is readable by its owner alone, and in its place only when it is filled', () => {
    create();
    expect(readdirSync(directory)).toEqual(['uoa0.flows.new']);
    putInPlace(path);
    expect(readdirSync(directory)).toEqual(['uoa0.flows']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('is its owner’s', () => {
    made();
    expect(readOldFlows(path, OWNER).fault).toBeUndefined();
    expect(readOldFlows(path, OWNER).words?.[2]).toBe(FORMAT);
  });

  it.each([
    ['another version', OWNER.with(0, FORMAT + 1)],
    ['another role', ownerWords(2, BOOT, 0x1_0000_0002n)],
    ['an earlier boot', ownerWords(1, BOOT.replace('f', 'e'), 0x1_0000_0002n)],
    ['an earlier boot', ownerWords(1, BOOT.replace(/f$/, 'e'), 0x1_0000_0002n)],
    ['another network namespace', ownerWords(1, BOOT, 2n)],
    ['another network namespace', ownerWords(1, BOOT, 0x1_0000_0003n)],
  ])('is not used if it is of %s', (words, owner) => {
    made();
    expect(readOldFlows(path, owner)).toEqual({ fault: `of ${words}, not used` });
  });

  it.each([0, 1, 47])('is set aside with its first %i bytes alone', length => {
    made();
    truncateSync(path, length);
    expect(readOldFlows(path, OWNER).fault).toContain('damaged');
    expect(readdirSync(directory)).toEqual(['uoa0.flows.bad']);
  });

  it('is used as far as it goes where it was cut off', () => {
    made();
    truncateSync(path, 1001);
    expect(readOldFlows(path, OWNER)).toMatchObject({ fault: expect.stringContaining('cut off') });
    expect(readOldFlows(path, OWNER).words).toHaveLength(250);
  });

  it('need not be there', () => {
    expect(readOldFlows(path, OWNER)).toEqual({});
  });

  it('grows with the number of flows, ahead of them, up to the most', () => {
    const file = create();
    expect([file.flows.room, statSync(`${path}.new`).size]).toEqual([4096, savedBytes(4096)]);
    expect(file.makeRoom(4096 - 1024)).toBe(true);
    expect(file.flows.room).toBe(4096);
    expect(file.makeRoom(4096 - 1023)).toBe(true);
    expect([file.flows.room, statSync(`${path}.new`).size]).toEqual([8192, savedBytes(8192)]);
    expect(file.makeRoom(10_000)).toBe(true);
    expect([file.flows.room, statSync(`${path}.new`).size]).toEqual([10_000, savedBytes(10_000)]);
    expect(file.makeRoom(10_000)).toBe(true);
  });

  it('has room for what is there from the beginning', () => {
    expect(create(5000).flows.room).toBe(8192);
  });

  it('says once that there is no more room, and goes on with what it has', () => {
    const { shared } = create();
    const file = new File(full, shared);
    expect([file.makeRoom(4096), file.makeRoom(4097)]).toEqual([false, true]);
    expect(file.flows.room).toBe(4096);
  });

  it('takes the place of the old one where there is no room for both', () => {
    made();
    const tight: Native = {
      ...native,
      allocateFile: (fd, length) => (existsSync(path) ? full : native).allocateFile(fd, length),
    };
    create(0, tight);
    expect(readdirSync(directory)).toEqual(['uoa0.flows.new']);
  });

  it('that cannot be made leaves nothing behind', () => {
    expect(() => create(0, full)).toThrow('reserve room: ENOSPC');
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe('a process takes over', () => {
  it('nothing the first time, and says nothing', () => {
    expect(taken().said).toEqual([]);
  });

  it('the flows of the one before it, again and again', () => {
    killed();
    for (let i = 0; i < 3; i++) {
      const { table, said } = taken();
      expect(said).toEqual(['info: flows of the run before: 1 kept']);
      expect(
        table.records.hasClient(findFlow(table, KEY), {
          words: int32('198.51.100.7'),
          port: 5555,
        }),
      ).toBe(true);
    }
  });

  it('those that its configuration still has', () => {
    killed();
    for (const other of [
      { loadBalancers: [] },
      { services: [] },
      { ownAddresses: [prefix('198.51.100.7/32')] },
    ]) {
      const bytes = readFileSync(path);
      const { said } = taken(native, { ...ROLE, options: { ...OPTIONS, ...other } } as RoleSettings);
      expect(said).toEqual(['info: flows of the run before: 0 kept, 1 no longer configured']);
      writeFileSync(path, bytes);
    }
  });

  it('with another size and time-out', () => {
    killed();
    expect(taken(native, ROLE, { ...TABLE, maxFlows: 3, timeoutMs: 100_000 }).table.count).toBe(1);
  });

  it('what is left, with a warning that says what is not', () => {
    killed();
    const bytes = readFileSync(path);
    bytes[48 + 32 + 15] ^= 1;
    writeFileSync(path, bytes);
    expect(taken()).toMatchObject({
      ...{ said: ['warn: flows of the run before: 0 kept, 1 damaged'], table: { count: 0 } },
    });
  });

  it('with a warning where the file is another role’s', () => {
    killed();
    const options = { carrier: 'ipo', marksPerFlow: 3, ownAddresses: [] } as const;
    const { said, table } = taken(native, { name: 'load-balancer', options } as unknown as RoleSettings);
    expect([said, table.count]).toEqual([
      ['warn: flows of the run before: the file is of another role, not used'],
      0,
    ]);
  });

  it('and serves without a file where there is no room, but with the flows; no later one believes what is old', () => {
    killed();
    const { file, table, said } = taken(full);
    expect([file, table.count]).toEqual([undefined, 1]);
    expect(said[0]).toMatch(/^warn: flows will not survive a restart: .*ENOSPC/);
    expect(readdirSync(directory)).toEqual([]);
    expect(taken().table.count).toBe(0);
  });

  it('whatever lies in the file’s place', () => {
    writeFileSync(path, 'x'.repeat(5000));
    chmodSync(path, 0);
    expect(taken().table.count).toBe(0);
  });
});
