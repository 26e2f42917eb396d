/**
 * A new version takes over what a killed one has left, though that wrote its undos down in other words.
 *
 *   LB namespace (wire.py)         RS namespace
 *     10.99.1.1 LIP     eth0 ---- eth0 10.99.1.2 RIP:7000 echo
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { missing, type Namespace } from '../../support/netns.js';
import { Stage } from '../../support/stage.js';

interface Undo {
  kind: string;
  /** Versions before the keys wrote this of sysctls only, where it is the setting's name. */
  key?: string;
  args?: string[];
}

type Reword = (args: readonly string[]) => string[];

/** Has the state file say what an older version would have: without keys, and in its words. */
function reword(namespace: Namespace, words: Reword): void {
  const file = namespace.stateOf('uoa0');
  const state = JSON.parse(readFileSync(file, 'utf8')) as { undo: Undo[] };
  const undo = state.undo.map(entry => {
    if (entry.kind === 'sysctl') return entry;
    const { key: _, ...keyless } = entry;
    return entry.args === undefined ? keyless : { ...keyless, args: words(entry.args) };
  });
  expect(undo.filter(({ kind }) => kind === 'ip').length).toBeGreaterThan(5);
  writeFileSync(file, JSON.stringify({ ...state, undo }));
}

/** Pairs such as `from` and an address, the last one first; `blackhole` stands alone. */
const otherOrder: Reword = args => {
  const [family, object, verb, ...rest] = args;
  const pairs: string[][] = [];
  for (let i = 0; i < rest.length; i += pairs[0].length)
    pairs.unshift(rest[i] === 'blackhole' ? [rest[i]] : rest.slice(i, i + 2));
  return object === 'rule' ? [family, object, verb, ...pairs.flat()] : [...args];
};

/** Names for what has a number, and the other way round. */
const otherWords: Reword = args =>
  args.map((word, i) => {
    if (word === 'pref') return 'priority';
    if (word === 'lookup') return 'table';
    if (args[i - 1] === 'ipproto') return { 17: 'udp', 1: 'icmp' }[word] ?? word;
    if (args[i - 1] === 'from' || args[i - 1] === 'to') return word.replace(/\/32$/, '');
    return word === 'local' ? '255' : word;
  });

/** As long as nobody cared for the source and the size of replies. */
const barerRoutes: Reword = args =>
  args[1] === 'route' ? args.slice(0, args.includes('src') ? args.indexOf('src') : undefined) : [...args];

/** As long as the rules were nobody's in particular. */
const withoutProtocol: Reword = args =>
  args.includes('protocol') ? args.slice(0, args.indexOf('protocol')) : [...args];

const rules = async (namespace: Namespace): Promise<string[]> =>
  (await namespace.ip('-d rule show')).split('\n');

describe.skipIf(missing() !== undefined)('the state of an older version', () => {
  it.each<[string, Reword]>([
    ['arguments in another order', otherOrder],
    ['other names for the same', otherWords],
    ['routes with fewer attributes', barerRoutes],
  ])('%s: the rules and routes stay, and go in the end', (_, words) =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      const before = await rs.snapshot();
      const shim = await stage.running();
      const [running, replies] = [await rules(rs), await rs.ip('route show table 249')];
      await shim.stop('SIGKILL');
      reword(rs, words);

      await shim.start();
      expect(await rules(rs)).toEqual(running);
      expect(await rs.ip('route show table 249')).toBe(replies);
      await stage.serves();
      expect(await shim.stop()).toBe(0);
      expect(await rs.snapshot()).toEqual(before);
    }),
  );

  it.each([true, false])('rules of no protocol give way to ours (were they there: %s)', wereThere =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      const before = await rs.snapshot();
      const shim = await stage.running();
      const running = await rules(rs);
      await shim.stop('SIGKILL');
      const undo = (JSON.parse(readFileSync(rs.stateOf('uoa0'), 'utf8')) as { undo: Undo[] }).undo;
      for (const { args } of undo) {
        if (args?.[1] !== 'rule' || args[2] !== 'del' || args.at(-1) !== 'kernel') continue;
        // The local rule is not ours alone: there is always one.
        if (args.includes('local')) continue;
        if (wereThere) await rs.ip(withoutProtocol(args).join(' ').replace(' del ', ' add '));
        await rs.ip(args.join(' '));
      }
      reword(rs, args => (args.includes('local') ? [...args] : withoutProtocol(args)));

      await shim.start();
      expect(new Set(await rules(rs))).toEqual(new Set(running));
      await stage.serves();
      expect(await shim.stop()).toBe(0);
      expect(await rs.snapshot()).toEqual(before);
    }),
  );

  it('`cleanup` understands it', () =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      const before = await rs.snapshot();
      const shim = await stage.running();
      await shim.stop('SIGKILL');
      reword(rs, otherOrder);
      expect(await shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
      expect(await rs.snapshot()).toEqual(before);
    }));
});
