import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadBalancerWarnings } from '../../../../src/host/advice/warnings.js';
import { FakePrograms } from '../../support/fake-programs.js';

type Expression = Record<string, unknown>;

let programs: FakePrograms;

beforeEach(() => {
  programs = new FakePrograms();
});
afterEach(() => programs.remove());

/** The host's rules are one with these parts. */
function rules(...expr: Expression[]): void {
  const ids = { family: 'ip', table: 'nat' };
  const chain = { ...ids, name: 'PREROUTING', type: 'nat', hook: 'prerouting', prio: -100, policy: 'accept' };
  const metainfo = { version: '1.0.6', json_schema_version: 1 };
  const nftables = [{ metainfo }, { chain }, { rule: { ...ids, chain: 'PREROUTING', expr } }];
  programs.add('nft', { '-j list ruleset': JSON.stringify({ nftables }) });
}

const match = (left: Expression, right: unknown): Expression => ({ match: { op: '==', left, right } });
const toVip = match({ payload: { protocol: 'ip', field: 'daddr' } }, '198.51.100.10');
const counter: Expression = { counter: { packets: 12, bytes: 720 } };
const extension = (type: string, name: string): Expression => ({ xt: { type, name } });
const byMap = (key: Expression, data: unknown): Expression => ({ map: { key, data: { set: [[0, data]] } } });

describe('the warning that no rule changes destinations', () => {
  it.each<[string, Expression[]]>([
    ['DNAT by address', [toVip, { dnat: { addr: '10.10.2.2', port: 53 } }]],
    [
      'DNAT by a map',
      [toVip, { dnat: { family: 'ip', addr: byMap({ numgen: { mode: 'inc', mod: 1 } }, '10.10.2.2') } }],
    ],
    ['a redirection', [counter, { redirect: { port: 99 } }]],
    ['DNAT of iptables', [toVip, counter, extension('target', 'DNAT')]],
    ['a redirection of iptables', [counter, extension('target', 'REDIRECT')]],
    ['an extension of iptables that nft before 1.0.6 does not name', [toVip, counter, { xt: null }]],
  ])('is not given beside %s', async (_, expr) => {
    rules(...expr);
    expect(await loadBalancerWarnings('external')).toEqual([]);
  });

  it.each<[string, Expression[]]>([
    ['no statement', []],
    ['a rule that accepts', [toVip, counter, { accept: null }]],
    ['masquerading', [counter, { masquerade: null }]],
    ['a rule about what was changed before', [match({ ct: { key: 'status' } }, 'dnat'), { accept: null }]],
    ['another target of iptables', [counter, extension('target', 'MASQUERADE')]],
    ['a match of iptables', [extension('match', 'DNAT'), counter, { accept: null }]],
  ])('is given beside %s alone', async (_, expr) => {
    rules(...expr);
    expect(await loadBalancerWarnings('external')).toEqual([
      expect.stringMatching(/loadBalancer\.nat is external, but nftables has no DNAT rule/),
    ]);
  });

  it('is given where there are no rules at all', async () => {
    programs.add('nft', { '-j list ruleset': JSON.stringify({ nftables: [] }) });
    expect(await loadBalancerWarnings('external')).toHaveLength(1);
  });

  it.each([
    ['fails', {}],
    ['prints something else', { '-j list ruleset': 'table ip nat {}' }],
  ])('is not given where nft %s: the rules are unknown', async (_, answers) => {
    programs.add('nft', answers);
    expect(await loadBalancerWarnings('external')).toEqual([]);
  });

  it('is not given for a NAT of ours, and nft is not asked', async () => {
    rules();
    expect(await loadBalancerWarnings('managed')).toEqual([]);
    expect(() => programs.asked()).toThrow(/ENOENT/);
  });
});
