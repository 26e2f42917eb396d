/** The kinds of traffic. */
import type { Options } from './options.js';

/**
 * `cut`: sendmsg() with UDP_SEGMENT. The sender's kernel cuts it into datagrams, so they come one by one, from the
 * fastest sender there is. `segments`: the same, but left whole as for a NIC that would cut it, so super-packets come.
 * `sendmmsg`: as most programs send.
 */
export type Sender = 'cut' | 'segments' | 'sendmmsg';

export interface Traffic {
  name: string;
  /** Bytes of payload per datagram. */
  size: number;
  flows: number;
  /** Datagrams of one flow in a row. */
  burst: number;
  sender: Sender;
  /** The receiver takes super-packets (UDP_GRO). */
  gro?: true;
  /** The receiver answers, and the answers are what is measured. */
  answers?: true;
  /** Measured by --quick too. */
  quick?: true;
}

const BURST = 16;

export function allTraffic({ flows, quick, traffic }: Options): Traffic[] {
  const cut = { burst: BURST, sender: 'cut' } as const;
  const segments = { burst: BURST, sender: 'segments' } as const;
  const usual: Traffic[] = [
    { name: 'plain-64', size: 64, flows, ...cut, quick: true },
    { name: 'plain-64-1flow', size: 64, flows: 1, ...cut },
    { name: 'plain-1200', size: 1200, flows, ...cut },
    { name: 'plain-1200-1flow', size: 1200, flows: 1, ...cut },
    { name: 'segments-64', size: 64, flows, ...segments, quick: true },
    { name: 'segments-64-1flow', size: 64, flows: 1, ...segments },
    { name: 'segments-1200', size: 1200, flows, ...segments, quick: true },
    { name: 'segments-1200-1flow', size: 1200, flows: 1, ...segments },
    { name: 'answers-64', size: 64, flows, ...cut, answers: true, quick: true },
  ];
  const onDemand: Traffic[] = [
    { name: 'plain-64-sendmmsg', size: 64, flows, burst: BURST, sender: 'sendmmsg' },
    { name: 'plain-64-scattered', size: 64, flows, burst: 1, sender: 'sendmmsg' },
    { name: 'segments-64-gro', size: 64, flows, ...segments, gro: true },
    { name: 'segments-1200-gro', size: 1200, flows, ...segments, gro: true },
    { name: 'answers-1200', size: 1200, flows, ...cut, answers: true },
  ];
  if (traffic.length > 0) return chosen([...usual, ...onDemand], traffic);
  return usual.filter(one => !quick || one.quick);
}

function chosen(all: readonly Traffic[], names: readonly string[]): Traffic[] {
  const unknown = names.filter(name => all.every(one => one.name !== name));
  if (unknown.length === 0) return all.filter(({ name }) => names.includes(name));
  throw new RangeError(`--traffic ${unknown}: not one of ${all.map(({ name }) => name).join(', ')}`);
}

const GROUPED: Readonly<Record<Sender, string>> = {
  sendmmsg: 'plain, by sendmmsg()',
  cut: 'plain',
  segments: 'super-packets',
};

export function describeTraffic({ size, flows, burst, sender, gro, answers }: Traffic): string {
  return [
    `${size} B, ${flows} flow${flows === 1 ? '' : 's'}, ${GROUPED[sender]}, ${burst} of a flow in a row`,
    ...(gro ? ['receiver with UDP_GRO'] : []),
    ...(answers ? ['answers, counted at the LB'] : []),
  ].join('; ');
}
