import { describe, expect, it } from 'vitest';
import { type Difference, difference } from '../../../../src/host/apply/difference.js';
import { undosOf } from '../../../../src/host/apply/journal.js';
import type { Change } from '../../../../src/host/plan/change.js';
import { scripts, tableFor } from '../../../../src/host/plan/nft.js';
import { route, rule } from '../../../../src/host/plan/routing.js';
import { upCommand } from '../../../../src/host/plan/script.js';
import { parseState, type UndoEntry } from '../../../../src/host/state.js';

const setting = (value: string): Change => ({
  kind: 'sysctl',
  key: 'net.ipv4.udp_early_demux',
  value,
  before: '1',
  reason: 'a setting',
});
const replies = rule(4, 'replies', 110, 'from 10.0.0.1 iif lo ipproto 17 lookup 249');
const wayIn = rule(4, 'the way in', 21, 'to 10.0.0.1 iif eth0 lookup 248');
const replyRoute = (mtu: number): Change =>
  route(4, 'replies', `default dev uoa0 table 249 src 10.0.0.1 mtu ${mtu}`);
const tables = (...families: string[]): Change => ({
  kind: 'nft',
  ...scripts(families.map(family => tableFor('uoa0', family, []))),
  reason: 'tables',
});

const wordings = (changes: readonly Change[]): Map<string, string> =>
  new Map(changes.map(change => [change.key, upCommand(change)]));
const undos = (changes: readonly Change[]): UndoEntry[] => changes.flatMap(undosOf);

/** What an older version has written down: no keys, and its own words. */
const older = (...undo: object[]): UndoEntry[] => parseState(JSON.stringify({ undo })).undo;
const ip = (text: string): object => ({ kind: 'ip', args: text.split(' ') });

const away = (...families: string[]): string =>
  families.flatMap(family => [`table ${family} uoa_uoa0`, `delete table ${family} uoa_uoa0`]).join('\n');

const NOTHING: Difference = { make: [], undo: [], makeSure: [] };

describe('from one plan to the next', () => {
  it('nothing is done where both say the same', () => {
    const plan = [setting('0'), replies, replyRoute(1500), tables('ip', 'netdev')];
    expect(difference(plan, wordings(plan), undos(plan))).toEqual(NOTHING);
  });

  it('all is made, in its order, where nothing is there yet', () => {
    const plan = [setting('0'), replies, tables('ip')];
    expect(difference(plan, new Map(), [])).toEqual({ ...NOTHING, make: plan });
  });

  it('what is new is made, and what is not wanted any more is undone, the last first', () => {
    const before = [wayIn, setting('0'), replies];
    const after = [replies, replyRoute(1500)];
    expect(difference(after, wordings(before), undos(before))).toEqual({
      make: [replyRoute(1500)],
      undo: undos([setting('0'), wayIn]),
      makeSure: [],
    });
  });

  it('a route with another MTU takes the place of the one before, which is not deleted', () => {
    expect(difference([replyRoute(1400)], wordings([replyRoute(1500)]), undos([replyRoute(1500)]))).toEqual({
      ...NOTHING,
      make: [replyRoute(1400)],
    });
  });

  it('of tables that are made together, those that are not wanted any more are taken away, and no others', () => {
    const [before, after] = [tables('ip', 'ip6', 'netdev'), tables('ip', 'netdev')];
    expect(difference([after], wordings([before]), undos([before]))).toEqual({
      make: [after],
      undo: [expect.objectContaining({ key: 'table ip6 uoa_uoa0' })],
      makeSure: [],
    });
  });
});

describe('after a killed predecessor of an older version', () => {
  it('a rule that it worded otherwise is made sure of, and not deleted', () => {
    const left = older(
      ip('-4 rule del pref 110 iif lo ipproto udp from 10.0.0.1/32 table 249 protocol kernel'),
    );
    expect(difference([replies], new Map(), left)).toEqual({ ...NOTHING, make: [replies] });
  });

  it('a route that it knew less of is replaced, and not deleted', () => {
    const left = older(ip('-4 route del default dev uoa0 table 249'));
    expect(difference([replyRoute(1500)], new Map(), left)).toEqual({ ...NOTHING, make: [replyRoute(1500)] });
  });

  it('tables of its one script stay where they are wanted', () => {
    const left = older({ kind: 'nft', script: away('ip', 'ip6', 'netdev') });
    expect(difference([tables('netdev', 'ip')], new Map(), left).undo).toMatchObject([
      { key: 'table ip6 uoa_uoa0' },
    ]);
  });

  it('a rule of no protocol goes, and ours is made again in case that undo met it', () => {
    const left = older(ip('-4 rule del pref 110 from 10.0.0.1 iif lo ipproto 17 lookup 249'));
    expect(difference([wayIn, replies], new Map(), left)).toEqual({
      make: [wayIn, replies],
      undo: left,
      makeSure: [replies],
    });
  });

  it('a rule that is not wanted any more is deleted in the words that it was made with', () => {
    const left = older(ip('-4 rule del iif lo pref 999 lookup 249'));
    expect(difference([replies], new Map(), left).undo).toEqual(left);
  });
});
