/** One measurement of one candidate: sender and receiver come and go, the candidate stays. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Candidate } from './candidates.js';
import { programPath } from './compile.js';
import type { Options } from './options.js';
import { Program } from './program.js';
import type { Traffic } from './traffic.js';
import { cpuNanoseconds } from './usage.js';

export interface Measurement {
  /** Datagrams received per second. */
  rate: number;
  /** Percent of the datagrams sent that never came. */
  loss: number;
  sent: number;
  received: number;
  /** Nanoseconds of CPU that the candidate's process took per datagram; null for the kernel. */
  cpu: number | null;
  /** Datagrams with a wrong source, of those whose source was checked. */
  strangers: number;
  looks: number;
  socketDrops: number;
  /** Microseconds. */
  latency?: { p50: number; p99: number };
}

/** What the sender prints. */
interface Sent {
  seconds: number;
  received: number;
  sentInAll: number;
  receivedInAll: number;
  looks: number;
  strangers: number;
}

/** What the receiver prints. */
interface Received {
  looks: number;
  strangers: number;
  socketDrops: number;
  /** Nanoseconds. */
  p50?: number;
  p99?: number;
}

export interface Pace {
  seconds: number;
  /** Datagrams a second. Without it the sender goes as fast as the receiver. */
  rate?: number;
  latency?: true;
}

/** Network and port of the sources that the application is to see, as `receive` takes them. */
const CLIENTS = ['c6120000', '5555'];
const LIPS = ['0a620000', '40000'];

/** Sends traffic through a candidate. */
export async function measure(
  candidate: Candidate,
  traffic: Traffic,
  pace: Pace,
  directory: string,
  options: Options,
): Promise<Measurement> {
  const { place, program } = candidate;
  const { loadCore } = options;
  place.setSegmentation(traffic.sender === 'segments');
  const counts = join(directory, 'counts');
  rmSync(counts, { force: true });
  const modes = [traffic.answers && 'answer', traffic.gro && 'gro', pace.latency && 'latency'].filter(
    Boolean,
  );
  const receiver = new Program(
    place.command('rs', [
      programPath('receive'),
      counts,
      ...(candidate.showsClients ? CLIENTS : LIPS),
      ...(modes as string[]),
    ]),
    [loadCore],
  );
  await receiver.says('ready');
  const cpuBeforeNs = program && cpuNanoseconds(program.pid);
  const sender = new Program(
    place.command('lb', [programPath('send'), counts, ...senderArguments(traffic, pace, options)]),
    [loadCore],
  );
  const sent = await sender.result<Sent>();
  const cpuAfterNs = program && cpuNanoseconds(program.pid);
  receiver.kill('SIGTERM');
  const received = await receiver.result<Received>();
  return {
    rate: sent.received / sent.seconds,
    loss: (1 - sent.receivedInAll / sent.sentInAll) * 100,
    sent: sent.sentInAll,
    received: sent.receivedInAll,
    cpu:
      cpuBeforeNs === undefined || cpuAfterNs === undefined
        ? null
        : (cpuAfterNs - cpuBeforeNs) / sent.receivedInAll,
    strangers: sent.strangers + received.strangers,
    looks: sent.looks + received.looks,
    socketDrops: received.socketDrops,
    ...(received.p50 !== undefined && {
      latency: { p50: received.p50 / 1000, p99: (received.p99 ?? 0) / 1000 },
    }),
  };
}

function senderArguments(
  { flows, size, burst, sender, answers }: Traffic,
  { seconds, rate }: Pace,
  { warmUpSeconds, window, segmentWindow }: Options,
): string[] {
  const datagrams = sender === 'sendmmsg' ? window : segmentWindow;
  const pace = rate === undefined ? ['window', datagrams] : ['rate', Math.round(rate)];
  const calls = sender === 'sendmmsg' ? 'plain' : 'segments';
  const numbers = [flows, size, burst, calls, warmUpSeconds, seconds, ...pace];
  return [...numbers.map(String), ...(answers ? ['answers'] : [])];
}
