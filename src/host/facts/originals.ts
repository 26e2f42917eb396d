/**
 * The host's settings as they were before any shim. What a `run` on any TUN changed and wrote down counts as unchanged, so
 * that a plan made while it runs, or after it was killed, is the same as one made before.
 */
import type { Family } from '../family.js';
import { type HostState, type LocalRule, readOtherStates, readState, type SysctlUndo } from '../state.js';
import { readSysctl } from '../sysctl.js';

export class Originals {
  private readonly states: readonly HostState[];

  constructor(tun: string) {
    // Our own first: it knows the values from before the others came.
    const own = readState(tun);
    this.states = [...(own === undefined ? [] : [own]), ...readOtherStates(tun)];
  }

  /** Where the local rule was; undefined if no shim has moved it. */
  localRule(family: Family): LocalRule | undefined {
    for (const { localRules } of this.states) {
      const found = localRules?.find(rule => rule.family === family);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** A sysctl's value; '0' if there is no such setting. */
  sysctl(key: string): string {
    const undo = this.states
      .flatMap(state => state.undo)
      .find((entry): entry is SysctlUndo => entry.kind === 'sysctl' && entry.key === key);
    return undo?.before ?? readSysctl(key) ?? '0';
  }
}
