import { describe, expect, it } from 'vitest';
import { type HostState, ipUndo, nftUndo, parseState } from '../../../src/host/state.js';

const SETTING = { kind: 'sysctl', key: 'net.ipv4.udp_early_demux', value: '0', before: '1' } as const;

describe('the state file', () => {
  it('is read as it was written', () => {
    const state: HostState = {
      localRules: [{ family: 4, priority: 0, protocol: 'kernel' }],
      undo: [SETTING, ipUndo(['-4', 'rule', 'del', 'pref', '5', 'iif', 'lo']), nftUndo('table ip uoa_uoa0')],
    };
    expect(parseState(JSON.stringify(state))).toEqual(state);
  });

  it('of a version without keys gets them: a rule’s and a route’s by their arguments, a setting’s is its name', () => {
    const args = ['-4', 'rule', 'del', 'iif', 'lo', 'pref', '5'];
    const route = ['-6', 'route', 'del', 'default', 'dev', 'uoa0', 'table', '249'];
    const undo = [SETTING, { kind: 'ip', args }, { kind: 'ip', args: route }];
    expect(parseState(JSON.stringify({ localRules: [], undo }))).toEqual({
      localRules: [],
      undo: [
        SETTING,
        { kind: 'ip', key: 'ip -4 rule iif lo pref 5', args },
        { kind: 'ip', key: 'ip -6 route default table 249', args: route },
      ],
    });
  });

  it('of a version with one script for several tables has an undo for each table', () => {
    const ids = ['table ip uoa_uoa0', 'table netdev uoa_uoa0'];
    const script = ids.flatMap(id => [id, `delete ${id}`]).join('\n');
    expect(parseState(JSON.stringify({ undo: [{ kind: 'nft', script }] })).undo).toEqual(ids.map(nftUndo));
  });

  it('can be read by a version without keys: its fields are where they were', () => {
    expect(nftUndo('table ip uoa_uoa0').script).toBe('table ip uoa_uoa0\ndelete table ip uoa_uoa0');
    expect(ipUndo(['-4', 'rule', 'del', 'pref', '5'])).toMatchObject({
      kind: 'ip',
      args: ['-4', 'rule', 'del', 'pref', '5'],
    });
  });
});
