/** The command line. */
import { parseArgs } from 'node:util';

export interface Options {
  quick: boolean;
  rounds: number;
  /** Length of one measurement. */
  seconds: number;
  /** Length of the traffic before it that is not counted. */
  warmUpSeconds: number;
  soakSeconds: number;
  flows: number;
  /** Datagrams under way at most, from senders that use sendmmsg(). */
  window: number;
  /** The same, from senders that use UDP_SEGMENT. */
  segmentWindow: number;
  /** Names of candidates and of traffic; empty: all. */
  only: string[];
  traffic: string[];
  /** The core of sender and receiver. */
  loadCore: number;
  /** The core of what is measured. */
  shimCore: number;
  micro: boolean;
  /** Whether new flows at the load balancer are measured. */
  setUp: boolean;
  /** The file that the results go to. */
  out: string;
}

export const HELP = `npm run bench [-- OPTION...]     (as root)

  --quick             few and short rounds of some of the traffic
  --rounds N          rounds, each of which measures every candidate once
  --seconds S         of one measurement
  --soak S            seconds at 80 % of the capacity; 0: none
  --flows N           for the traffic of many flows (1000)
  --window N          datagrams under way at most (400)
  --only NAMES        candidates, with commas between them: some of the usual ones, or others
  --traffic NAMES     kinds of traffic, likewise
  --cores A,B         A: sender and receiver, B: what is measured (0,1)
  --no-set-up         no new flows at the load balancer
  --no-micro          no micro-benchmarks
  --out FILE          for the results (bench/results/latest.json)
`;

export function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      soak: { type: 'string' },
      flows: { type: 'string', default: '1000' },
      window: { type: 'string', default: '400' },
      only: { type: 'string', default: '' },
      traffic: { type: 'string', default: '' },
      cores: { type: 'string', default: '0,1' },
      'no-micro': { type: 'boolean', default: false },
      'no-set-up': { type: 'boolean', default: false },
      out: { type: 'string', default: new URL('../results/latest.json', import.meta.url).pathname },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const { quick } = values;
  const [loadCore, shimCore] = values.cores.split(',').map(text => whole('cores', text));
  const window = whole('window', values.window);
  return {
    quick,
    rounds: whole('rounds', values.rounds ?? (quick ? '2' : '5')),
    seconds: positive('seconds', values.seconds ?? (quick ? '0.3' : '1')),
    warmUpSeconds: quick ? 0.1 : 0.3,
    soakSeconds: whole('soak', values.soak ?? (quick ? '2' : '60')),
    flows: whole('flows', values.flows),
    window,
    segmentWindow: window * 4,
    only: names(values.only),
    traffic: names(values.traffic),
    loadCore,
    shimCore,
    micro: !values['no-micro'],
    setUp: !values['no-set-up'],
    out: values.out,
  };
}

function names(text: string): string[] {
  return text === '' ? [] : text.split(',');
}

function whole(name: string, text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new RangeError(`--${name} ${text}: not a whole number`);
}

function positive(name: string, text: string): number {
  if (Number(text) > 0) return Number(text);
  throw new RangeError(`--${name} ${text}: not a number above 0`);
}
