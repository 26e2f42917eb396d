/** The kinds of traffic. */
import type { Options } from './options.js';

export interface Traffic {
  name: string;
  /** Bytes of payload per datagram. */
  size: number;
  flows: number;
  /** Datagrams of one flow in a row. */
  burst: number;
  /** `plain`: one sendmmsg() a burst; `segments`: one sendmsg() with UDP_SEGMENT. */
  sender: 'plain' | 'segments';
  /** The receiver takes super-packets (UDP_GRO). */
  gro?: true;
  /** The receiver answers, and the answers are what is measured. */
  answers?: true;
  /** Measured by --quick too. */
  quick?: true;
}

const BURST = 16;

export function allTraffic({ flows, quick, traffic }: Options): Traffic[] {
  const plain = { burst: BURST, sender: 'plain' } as const;
  const segments = { burst: BURST, sender: 'segments' } as const;
  const all: Traffic[] = [
    { name: 'plain-64', size: 64, flows, ...plain, quick: true },
    { name: 'plain-64-1flow', size: 64, flows: 1, ...plain },
    { name: 'plain-64-scattered', size: 64, flows, ...plain, burst: 1 },
    { name: 'plain-1200', size: 1200, flows, ...plain },
    { name: 'plain-1200-1flow', size: 1200, flows: 1, ...plain },
    { name: 'segments-64', size: 64, flows, ...segments, quick: true },
    { name: 'segments-64-1flow', size: 64, flows: 1, ...segments },
    { name: 'segments-64-gro', size: 64, flows, ...segments, gro: true },
    { name: 'segments-1200', size: 1200, flows, ...segments, quick: true },
    { name: 'segments-1200-1flow', size: 1200, flows: 1, ...segments },
    { name: 'segments-1200-gro', size: 1200, flows, ...segments, gro: true },
    { name: 'answers-64', size: 64, flows, ...plain, answers: true, quick: true },
    { name: 'answers-1200', size: 1200, flows, ...plain, answers: true },
  ];
  if (traffic.length > 0) return all.filter(({ name }) => traffic.includes(name));
  return all.filter(one => !quick || one.quick);
}

export function describeTraffic({ size, flows, burst, sender, gro, answers }: Traffic): string {
  const grouped =
    sender === 'segments' ? `UDP_SEGMENT, ${burst} a send` : `plain, ${burst} of a flow in a row`;
  return [
    `${size} B, ${flows} flow${flows === 1 ? '' : 's'}, ${grouped}`,
    ...(gro ? ['receiver with UDP_GRO'] : []),
    ...(answers ? ['answers, counted at the LB'] : []),
  ].join('; ');
}
