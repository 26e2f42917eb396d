import { describe, expect, it } from 'vitest';
import { Firewall } from '../../../../src/host/facts/firewall.js';
import type { FirstDatagram } from '../../../../src/host/facts/rule-match.js';
import type { RulesetObject } from '../../../../src/host/facts/ruleset.js';

type Expression = Record<string, unknown>;

const DATAGRAM: FirstDatagram = {
  ...{ family: 4, iifname: 'eth0', oifname: 'uoa0' },
  ...{ saddr: '10.10.1.1', daddr: '10.10.1.2', dport: 53 },
};

/** A base chain `inet host c` at the forward hook, with these rules; and chains that it may jump to. */
function firewall(
  policy: 'accept' | 'drop',
  rules: Expression[][],
  others: Record<string, Expression[][]> = {},
): Firewall {
  const ids = { family: 'inet', table: 'host' };
  const inChain = (chain: string, each: Expression[][]): RulesetObject[] =>
    each.map(expr => ({ rule: { ...ids, chain, expr } }));
  return Firewall.of([
    { chain: { ...ids, name: 'c', hook: 'forward', policy } },
    ...inChain('c', rules),
    ...Object.entries(others).flatMap(([name, each]) => [
      { chain: { ...ids, name } },
      ...inChain(name, each),
    ]),
  ]);
}

const match = (left: Expression, right: unknown, op = '=='): Expression => ({ match: { op, left, right } });
const meta = (key: string): Expression => ({ meta: { key } });
const payload = (protocol: string, field: string): Expression => ({ payload: { protocol, field } });
const ACCEPT = { accept: null };
const DROP = { drop: null };
const COUNTER = { counter: { packets: 0, bytes: 0 } };

const drops = (fw: Firewall, datagram: Partial<FirstDatagram> = {}): boolean =>
  fw.droppers('forward', { ...DATAGRAM, ...datagram }).length > 0;

describe('a chain', () => {
  it('without rules drops by its policy', () => {
    expect(drops(firewall('accept', []))).toBe(false);
    expect(drops(firewall('drop', []))).toBe(true);
  });

  it('that drops is named', () => {
    expect(firewall('drop', []).droppers('forward', DATAGRAM)).toMatchObject([
      { family: 'inet', table: 'host', name: 'c' },
    ]);
  });

  it('of another hook or family does not count', () => {
    expect(firewall('drop', []).droppers('input', DATAGRAM)).toEqual([]);
    const ip6 = Firewall.of([
      { chain: { family: 'ip6', table: 't', name: 'c', hook: 'forward', policy: 'drop' } },
    ]);
    expect(drops(ip6)).toBe(false);
    expect(drops(ip6, { family: 6, saddr: 'fd00::1', daddr: 'fd00::2' })).toBe(true);
  });

  it.each<[string, Expression[]]>([
    ['drop', [COUNTER, DROP]],
    ['reject', [{ reject: { type: 'icmpx', expr: 'admin-prohibited' } }]],
    ['iptables’ REJECT', [COUNTER, { xt: { type: 'target', name: 'REJECT' } }]],
  ])('that ends with %s drops what nothing accepted before', (_, last) => {
    expect(drops(firewall('accept', [last]))).toBe(true);
  });

  it('is walked with its jumps and returns', () => {
    const jump = [{ jump: { target: 'sub' } }];
    expect(drops(firewall('accept', [jump], { sub: [[DROP]] }))).toBe(true);
    expect(drops(firewall('drop', [jump, [ACCEPT]], { sub: [[{ return: null }], [DROP]] }))).toBe(false);
    expect(drops(firewall('drop', [jump], { sub: [[ACCEPT]] }))).toBe(false);
    expect(drops(firewall('drop', [[{ goto: { target: 'sub' } }], [ACCEPT]], { sub: [] }))).toBe(true);
  });

  it('that jumps to itself is left after some jumps, and its policy counts', () => {
    expect(
      drops(firewall('drop', [[{ jump: { target: 'sub' } }]], { sub: [[{ jump: { target: 'sub' } }]] })),
    ).toBe(true);
  });
});

describe('a rule', () => {
  const accepts = (...matches: Expression[]): boolean => !drops(firewall('drop', [[...matches, ACCEPT]]));

  it.each<[string, Expression]>([
    ['the interface', match(meta('iifname'), 'eth0')],
    ['one of several interfaces', match(meta('iifname'), { set: ['eth0', 'eth1'] })],
    ['the beginning of its name', match(meta('iifname'), 'eth*')],
    ['the interface that it leaves by', match(meta('oifname'), 'uoa0')],
    ['the protocol', match(meta('l4proto'), 'udp')],
    ['the protocol in the header', match(payload('ip', 'protocol'), 'udp')],
    ['the port', match(payload('udp', 'dport'), 53)],
    ['a range of ports', match(payload('udp', 'dport'), { range: [1, 1024] })],
    ['a prefix', match(payload('ip', 'saddr'), { prefix: { addr: '10.10.1.0', len: 24 } })],
    ['another address', match(payload('ip', 'saddr'), '192.0.2.1', '!=')],
    ['a new flow', match({ ct: { key: 'state' } }, ['new', 'established'], 'in')],
    ['an unknown match', match({ fib: { result: 'oif' } }, 'eth0')],
    ['a named set', match(payload('ip', 'saddr'), '@allowed')],
    ['an unknown match of iptables', { xt: { type: 'match', name: 'comment' } }],
  ])('that accepts by %s accepts the datagram', (_, expression) => {
    expect(accepts(expression)).toBe(true);
  });

  it.each<[string, Expression]>([
    ['another interface', match(meta('iifname'), 'eth1')],
    ['TCP', match(payload('tcp', 'dport'), 53)],
    ['another port', match(payload('udp', 'dport'), 54)],
    ['another prefix', match(payload('ip', 'saddr'), { prefix: { addr: '10.10.2.0', len: 24 } })],
    ['IPv6', match(payload('ip6', 'saddr'), 'fd00::1')],
    ['established flows', match({ ct: { key: 'state' } }, ['established', 'related'], 'in')],
    ['established flows, by iptables', { xt: { type: 'match', name: 'conntrack' } }],
  ])('that accepts by %s does not accept the datagram', (_, expression) => {
    expect(accepts(expression)).toBe(false);
  });

  it('that drops by an unknown match does not drop the datagram', () => {
    expect(drops(firewall('accept', [[match({ fib: { result: 'oif' } }, 'missing'), DROP]]))).toBe(false);
  });
});
