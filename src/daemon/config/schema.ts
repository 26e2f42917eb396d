/**
 * Every key of the configuration, in the order of the documentation: what it is for, its default, what it may be.
 * Environment variables, flags and the faults of unknown keys follow from this table.
 */
import { CARRIER_NAMES } from '../../codec/carriers.js';
import { interfaceAddress } from './addresses.js';
import { localAddresses, virtualServices } from './load-balancer.js';
import { loadBalancers, services } from './real-server.js';
import {
  choice,
  interfaceName,
  interfaceNameOrNone,
  nothingYet,
  socketPath,
  trueOrFalse,
  type ValueRule,
  wholeNumber,
} from './rules.js';

/** How text from the environment or a flag becomes a value. */
export type Format = 'text' | 'whole-number' | 'truth' | 'list';

export interface Key {
  doc: string;
  /** null: it has none, or one that depends on other keys (values.ts). */
  default: string | number | boolean | null;
  format: Format;
  rule: ValueRule;
  /** Its feature is not built yet: the key is checked, and has no place in `Config` or in `--help`. */
  later?: true;
}

export interface Section {
  [name: string]: Key | Section;
}

/** A day at most: expiry counts ticks of a millisecond in 32 bits. */
const timeout = wholeNumber(1, 86_400, 'whole seconds');
const flows = wholeNumber(1, 16_777_216);

export const schema = {
  role: text('what this host is', 'real-server', choice(['real-server', 'load-balancer'])),
  tun: {
    name: text('name of the TUN interface', 'uoa0', interfaceName),
    address: text('address of the TUN interface', '192.0.2.254/32', interfaceAddress),
    offload: text('super-packets, where the kernel can', 'auto', choice(['auto', 'off'])),
    merge: truth('neighbours of one flow become a super-packet', true),
    coalesce: number(
      'microseconds that datagrams wait for their neighbours under load; 0: none',
      50,
      wholeNumber(0, 1000, 'microseconds'),
    ),
  },
  log: {
    level: text('how much is logged', 'info', choice(['error', 'warn', 'info', 'debug'])),
    format: text('how it is logged', 'text', choice(['text', 'json'])),
  },
  control: {
    socket: text("the command line's way in: /run/uoa-shim/<tun.name>.sock", null, socketPath),
  },
  metrics: {
    listen: later(text('address and port that /metrics is served on', '', nothingYet)),
  },
  routing: {
    // 253 to 255 are the system's own (default, main, local). 252 is reserved because the next table is used too.
    table: number(
      'routing table; the one after it is used too',
      248,
      wholeNumber(1, 4_294_967_293, 'a table number', [252, 253, 254, 255]),
    ),
    priority: number('priority of the first of two routing rules', 21, wholeNumber(1, 32_765)),
    localPriority: number('priority that the rule for the local table moves to', 100, wholeNumber(1, 32_700)),
    mark: number('firewall mark of packets from the TUN interface', 0x20, wholeNumber(1, 0xffff_ffff)),
    steering: text(
      'how packets get to the shim',
      'policy-routing',
      choice(['policy-routing', 'nft-ingress']),
    ),
  },
  realServer: {
    interface: text("the load balancers' side; empty: by the route to them", '', interfaceNameOrNone),
    loadBalancers: list('the only sources whose marks count', loadBalancers),
    services: list("the application's own sockets", services),
    datapath: later(
      text('what translates the packets', 'tun', choice(['tun', 'auto'], ['bpf', 'conntrack'])),
    ),
    flowTimeout: number('seconds without a packet until a flow is forgotten', 360, timeout),
    maxFlows: number('flows at most', 1_048_576, flows),
    nat64: text("what an IPv6 client's IPv4 datagrams become", 'keep', choice(['keep', 'deliver'])),
  },
  loadBalancer: {
    carrier: text(
      'how marks travel: an option in the IP header (ipo or dstopt, by the family) or a header behind it (opp)',
      'ipo',
      choice(CARRIER_NAMES),
    ),
    maxTrails: number('packets of a flow that carry a mark, at most; 0: no marks', 3, wholeNumber(0, 100)),
    interface: {
      clients: text("the clients' side; empty: by the routes", '', interfaceNameOrNone),
      servers: text("the real servers' side; empty: by the routes", '', interfaceNameOrNone),
    },
    nat: text('who makes the NAT rules', 'managed', choice(['managed', 'external'])),
    localAddresses: list('sources towards the real servers', localAddresses),
    services: list('what is balanced', virtualServices),
    conntrackTimeout: truth('conntrack keeps flows for flowTimeout; by itself: with managed NAT', null),
    flowTimeout: number('seconds without a packet until a flow is forgotten', 360, timeout),
    maxFlows: number('flows at most', 1_048_576, flows),
  },
} satisfies Section;

function text(doc: string, fallback: string | null, rule: ValueRule): Key {
  return { doc, default: fallback, format: 'text', rule };
}

function number(doc: string, fallback: number, rule: ValueRule): Key {
  return { doc, default: fallback, format: 'whole-number', rule };
}

function truth(doc: string, fallback: boolean | null): Key {
  return { doc, default: fallback, format: 'truth', rule: trueOrFalse };
}

function list(doc: string, rule: ValueRule): Key {
  return { doc, default: null, format: 'list', rule };
}

function later(key: Key): Key {
  return { ...key, later: true };
}
