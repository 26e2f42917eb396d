/** The two families of IP, as numbers. */

export type Family = 4 | 6;

export const FAMILIES: readonly Family[] = [4, 6];

/** The family of a valid address or prefix. */
export function familyOf(text: string): Family {
  return text.includes(':') ? 6 : 4;
}

/** The option that tells `ip` the family. */
export function familyFlag(family: Family): string {
  return `-${family}`;
}
