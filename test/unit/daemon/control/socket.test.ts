import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { FlowAnswer, StatusAnswer } from '../../../../src/daemon/control/answers.js';
import { request } from '../../../../src/daemon/control/client.js';
import type { ControlRequest } from '../../../../src/daemon/control/protocol.js';
import { type ControlHandler, ControlServer } from '../../../../src/daemon/control/server.js';
import { ExitCode } from '../../../../src/errors.js';

const directory = mkdtempSync(join(tmpdir(), 'uoa-control-'));
afterAll(() => rmSync(directory, { recursive: true }));

const path = join(directory, 'control.sock');
const STATUS: StatusAnswer = {
  state: 'running',
  role: 'real-server',
  version: '1.2.3',
  pid: 7,
  uptimeSeconds: 5,
  tun: 'uoa0',
  datapath: 'tun',
  steering: 'policy-routing',
  healthy: true,
  warnings: [],
};

function flow(port: number): FlowAnswer {
  return {
    lb: `10.99.1.1:${port}`,
    server: '10.99.1.2:7000',
    client: '198.51.100.7:5555',
    carrier: 'ipo',
    packets: 1,
    replies: 0,
    idleSeconds: 0.5,
    datapath: 'tun',
  };
}

class Handler implements ControlHandler {
  flowCount = 2;

  status(): StatusAnswer {
    return STATUS;
  }

  stats(): Record<string, number> {
    return { uoa_got: 3 };
  }

  *flows({ client }: { client?: string }): Iterable<FlowAnswer> {
    if (client === 'nonsense') throw new RangeError('--client nonsense is not allowed');
    for (let i = 0; i < this.flowCount; i++) yield flow(i);
  }

  lookup(source: string, destination: string): { client: string | null } {
    return { client: `${source} ${destination}` };
  }
}

async function ask(message: ControlRequest): Promise<unknown[] | undefined> {
  const items = await request(path, message);
  return items === undefined ? undefined : collect(items);
}

async function collect(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('the control socket', () => {
  let server: ControlServer | undefined;
  const listen = async (handler: ControlHandler = new Handler()): Promise<void> => {
    server = await ControlServer.listen(path, handler);
  };
  afterEach(() => server?.close());

  it('answers each request with its items', async () => {
    await listen();
    expect(await ask({ command: 'status' })).toEqual([STATUS]);
    expect(await ask({ command: 'stats' })).toEqual([{ uoa_got: 3 }]);
    expect(await ask({ command: 'flows', filters: {} })).toEqual([flow(0), flow(1)]);
    expect(await ask({ command: 'lookup', source: 'a', destination: 'b' })).toEqual([{ client: 'a b' }]);
  });

  it('gives an answer without items to its end', async () => {
    const handler = new Handler();
    handler.flowCount = 0;
    await listen(handler);
    expect(await ask({ command: 'flows', filters: {} })).toEqual([]);
  });

  it('gives an answer that is larger than the socket’s buffers to its end', async () => {
    const handler = new Handler();
    handler.flowCount = 20_000;
    await listen(handler);
    expect(await ask({ command: 'flows', filters: {} })).toHaveLength(20_000);
  });

  it('passes on what the handler throws as the command’s error', async () => {
    await listen();
    await expect(ask({ command: 'flows', filters: { client: 'nonsense' } })).rejects.toMatchObject({
      message: '--client nonsense is not allowed',
      exitCode: ExitCode.failed,
    });
  });

  it.each([
    ['an unknown command', { command: 'dance' }],
    ['a request of more than 4096 characters', { command: 'x'.repeat(5000) }],
  ])('refuses %s', async (_, message) => {
    await listen();
    await expect(ask(message as unknown as ControlRequest)).rejects.toMatchObject({
      message: expect.stringMatching(/request/),
    });
  });

  it('can be used by its owner only', async () => {
    await listen();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('is gone after close', async () => {
    await listen();
    server?.close();
    expect(await ask({ command: 'status' })).toBeUndefined();
  });

  it('replaces the file that a dead process left', async () => {
    writeFileSync(path, '');
    await listen();
    expect(await ask({ command: 'status' })).toEqual([STATUS]);
  });

  it('is refused to a second server while the first one lives', async () => {
    await listen();
    await expect(ControlServer.listen(path, new Handler())).rejects.toMatchObject({
      message: `control.socket: ${path} is in use by another process`,
      exitCode: ExitCode.failed,
    });
    expect(await ask({ command: 'status' })).toEqual([STATUS]);
  });
});

describe('a request', () => {
  it('has no answer where no process listens', async () => {
    expect(await request(join(directory, 'none.sock'), { command: 'status' })).toBeUndefined();
  });

  it('fails if the connection ends before the answer is complete', async () => {
    const dying = join(directory, 'dying.sock');
    const server = createServer(socket => socket.end('{"uoa_got":1}\n')).listen(dying);
    const items = await request(dying, { command: 'stats' });
    await expect(collect(items as AsyncIterable<unknown>)).rejects.toMatchObject({
      message: 'the shim stopped before its answer was complete',
      exitCode: ExitCode.failed,
    });
    server.close();
  });
});
