import { beforeEach, describe, expect, it } from 'vitest';
import { oneLine } from '../../../../src/host/plan/nft.js';
import { type IngressOptions, ingressTables } from '../../../../src/host/plan/nft-ingress.js';
import { countRules, load, obstacle, rulesOf } from '../../support/nft.js';

const four: IngressOptions = {
  tun: 'uoa0',
  loadBalancers: [{ prefix: '10.10.1.0/24', interface: 'eth0' }],
  addresses: ['10.10.1.2'],
  fwmark: 0x20,
  errorsOnly: false,
};
const six: IngressOptions = {
  ...four,
  loadBalancers: [{ prefix: 'fd00:1::/64', interface: 'eth0' }],
  addresses: ['fd00:1::2', 'fd00:1::3'],
};
const both: IngressOptions = {
  ...four,
  loadBalancers: [
    ...four.loadBalancers,
    ...six.loadBalancers,
    { prefix: '2001:db8:9::1/128', interface: 'eth1.100' },
  ],
  addresses: [...four.addresses, ...six.addresses],
};

/** The rules of the chain with this number. */
const arriving = (options: IngressOptions, chain: number): string[] =>
  rulesOf(ingressTables(options), `in_${chain}`);

describe('the ingress tables', () => {
  it('of IPv4 take both carriers from the load balancers, and errors from everywhere', () => {
    expect(arriving(four, 0)).toEqual([
      'ip saddr 10.10.1.0/24 ip daddr { 10.10.1.2 } ip protocol { 17, 248 } fwd ip to 192.0.2.253 device "uoa0"',
      'ip daddr { 10.10.1.2 } icmp type { 3, 11, 12 } fwd ip to 192.0.2.253 device "uoa0"',
    ]);
  });

  it('of IPv6 take fragments of destination options as well, which later fragments behind a mark are', () => {
    const to = 'ip6 daddr { fd00:1::2, fd00:1::3 }';
    const forward = 'fwd ip6 to 2001:db8::253 device "uoa0"';
    expect(arriving(six, 0)).toEqual([
      `ip6 saddr fd00:1::/64 ${to} meta l4proto { 17, 248 } ${forward}`,
      `ip6 saddr fd00:1::/64 ${to} frag nexthdr 60 ${forward}`,
      `${to} icmpv6 type { 1, 2, 3, 4 } ${forward}`,
    ]);
  });

  it('of both families have a chain for each interface, with rules for the families that come by it', () => {
    expect(arriving(both, 0)).toEqual([...arriving(four, 0), ...arriving(six, 0)]);
    expect(arriving(both, 1)).toEqual(
      arriving(six, 0).map(rule => rule.replace('fd00:1::/64', '2001:db8:9::1/128')),
    );
    expect(ingressTables(both).up).toContain('hook ingress device "eth1.100" priority 0;');
    expect(ingressTables(both).up).not.toContain('chain in_2');
  });

  it('take errors alone where routing rules bring the rest', () => {
    expect(arriving({ ...six, errorsOnly: true }, 0)).toEqual(arriving(six, 0).slice(-1));
  });

  it('have no rules for a family that has only load balancers or only services', () => {
    expect(arriving({ ...both, addresses: four.addresses }, 0)).toEqual(arriving(four, 0));
    expect(arriving({ ...four, addresses: both.addresses }, 0)).toEqual(arriving(four, 0));
  });
});

describe('nft itself', () => {
  const why = obstacle();
  beforeEach(({ skip }) => skip(why !== undefined, why));
  const devices = ['eth0', 'eth1.100', 'uoa0'];

  it.each<[string, IngressOptions]>([
    ['IPv4', four],
    ['IPv6', six],
    ['both', both],
    ['errors alone', { ...both, errorsOnly: true }],
  ])('takes ingress tables for %s, once and again, and takes them away without a trace', (_, rules) => {
    const { up, down } = ingressTables(rules);
    const { status, stderr, there, gone } = load({ up, down }, devices);
    expect({ status, stderr, gone }).toEqual({ status: 0, stderr: '', gone: '' });
    expect(countRules(there)).toBe(countRules(up));
  });

  it('takes ingress tables on one line, as an owner’s session sends them', () => {
    const { up, down, owned } = ingressTables(both);
    const { status, stderr, there } = load({ up: oneLine(up), down }, devices);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(countRules(there)).toBe(countRules(up));
    for (const { text } of owned.tables) expect(text).toContain('flags owner');
  });
});
