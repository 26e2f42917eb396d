import { describe, expect, it } from 'vitest';
import type { Change } from '../../../../src/host/plan/change.js';
import { chain, oneLine, owned, table } from '../../../../src/host/plan/nft.js';
import { downScript, upScript } from '../../../../src/host/plan/script.js';

const HOOK = 'type filter hook ingress device "eth0" priority 0';
const ordinary = table('netdev', 'uoa_uoa0', [chain('in_0', HOOK, ['counter'])]);
const made = owned([ordinary]);
const { up, down } = made;
const [flagged] = made.owned.tables;

describe('a table that goes with the process', () => {
  it('is the ordinary one but for a flag', () => {
    expect(flagged.id).toBe('table netdev uoa_uoa0');
    expect(flagged.text).toContain('flags owner');
    expect(up).toBe(`${down}\n${flagged.text.replace('\tflags owner\n', '')}`);
  });

  it('fits a line', () => {
    expect(oneLine(flagged.text)).toBe(
      `table netdev uoa_uoa0 { ; flags owner ; chain in_0 { ; ${HOOK}; policy accept; ; counter ; } ; }`,
    );
  });

  it('is in a script as the ordinary one, with a remark', () => {
    const lasting: Change = { kind: 'nft', up, down, reason: 'the way in' };
    const change: Change = { ...lasting, owned: made.owned };
    expect(upScript([change])).toContain(`${up}\nEND`);
    expect(upScript([change])).toMatch(/^# the way in\n# .*`flags owner`.*\nnft -f - <</m);
    expect(upScript([lasting])).not.toContain('flags owner');
    expect(downScript([change])).toContain(down);
  });
});
