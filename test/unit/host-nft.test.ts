import { describe, expect, it } from 'vitest';
import type { Change } from '../../src/host/change.js';
import { chain, oneLine, ownedTable } from '../../src/host/nft.js';
import { downScript, upScript } from '../../src/host/script.js';

const HOOK = 'type filter hook ingress device "eth0" priority 0';
const { up, down, owned } = ownedTable('netdev', 'uoa_uoa0', [chain('in_0', HOOK, ['counter'])]);

describe('a table that goes with the process', () => {
  it('is the ordinary one but for a flag', () => {
    expect(owned.id).toBe('table netdev uoa_uoa0');
    expect(owned.text).toContain('flags owner');
    expect(up).toBe(`${down}\n${owned.text.replace('\tflags owner\n', '')}`);
  });

  it('fits a line', () => {
    expect(oneLine(owned.text)).toBe(
      `table netdev uoa_uoa0 { ; flags owner ; chain in_0 { ; ${HOOK}; policy accept; ; counter ; } ; }`,
    );
  });

  it('is in a script as the ordinary one, with a remark', () => {
    const lasting: Change = { kind: 'nft', up, down, reason: 'the way in' };
    const change: Change = { ...lasting, owned };
    expect(upScript([change])).toContain(`${up}\nEND`);
    expect(upScript([change])).toMatch(/^# the way in\n# .*`flags owner`.*\nnft -f - <</m);
    expect(upScript([lasting])).not.toContain('flags owner');
    expect(downScript([change])).toContain(down);
  });
});
