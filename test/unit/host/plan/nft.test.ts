import { describe, expect, it } from 'vitest';
import type { Change } from '../../../../src/host/plan/change.js';
import { chain, oneLine, scriptsOrOwned, tableFor } from '../../../../src/host/plan/nft.js';
import { downScript, upScript } from '../../../../src/host/plan/script.js';

const HOOK = 'type filter hook ingress device "eth0" priority 0';
const ordinary = tableFor('uoa0', 'netdev', [chain('in_0', HOOK, ['counter'])]);
const made = scriptsOrOwned([ordinary]);
const { owned: _, ...lasting } = made;
const { up, down } = lasting;
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
    const change: Change = { kind: 'nft', ...made, reason: 'the way in' };
    expect(upScript([change])).toContain(`${up}\nEND`);
    expect(upScript([change])).toMatch(/^# the way in\n# .*`flags owner`.*\nnft -f - <</m);
    expect(upScript([{ kind: 'nft', ...lasting, reason: 'the way in' }])).not.toContain('flags owner');
    expect(downScript([change])).toContain(down);
  });
});
