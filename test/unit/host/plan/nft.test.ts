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

describe('an owned table', () => {
  it('has the text of the ordinary one, and a flag', () => {
    expect(flagged.id).toBe('table netdev uoa_uoa0');
    expect(flagged.text).toContain('flags owner');
    expect(up).toBe(`${down}\n${flagged.text.replace('\tflags owner\n', '')}`);
  });

  it('fits on one line', () => {
    expect(oneLine(flagged.text)).toBe(
      `table netdev uoa_uoa0 { ; flags owner ; chain in_0 { ; ${HOOK}; policy accept; ; counter ; } ; }`,
    );
  });

  it('is the ordinary one in a script, with a remark', () => {
    const change: Change = { kind: 'nft', ...made, reason: 'the way in' };
    expect(upScript([change])).toContain(`${up}\nEND`);
    expect(upScript([change])).toMatch(/^# the way in\n# .*`flags owner`.*\nnft -f - <</m);
    expect(upScript([{ kind: 'nft', ...lasting, reason: 'the way in' }])).not.toContain('flags owner');
    expect(downScript([change])).toContain(down);
  });
});
