/** What lists and mappings may be, element by element and key by key. */
import { below, type Fault } from './faults.js';
import { nearest } from './near.js';
import type { Rule } from './rules.js';

export type Mapping = Record<string, unknown>;

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a key has for a value, in what may be a mapping. */
export function valueIn(item: unknown, name: string): unknown {
  return isMapping(item) ? item[name] : undefined;
}

/** The elements of what may be a list. */
export function elements(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function isNone(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

/** A list with at least one element; `together` looks at the elements side by side. */
export function list(
  item: Rule,
  allowed: string,
  together?: (key: string, items: unknown[]) => Fault[],
): Rule {
  return (key, value) => {
    if (!Array.isArray(value) || value.length === 0) return [{ key, value, allowed }];
    const faults = value.flatMap((element, i) => item(`${key}[${i}]`, element));
    return together === undefined ? faults : [...faults, ...together(key, value)];
  };
}

/** Such a list, or an empty one. */
export function orEmpty(rule: Rule): Rule {
  return (key, value) => (Array.isArray(value) && value.length === 0 ? [] : rule(key, value));
}

/** Where a text is there again, and where it was first. undefined is never the same. */
export function repeated(texts: readonly (string | undefined)[]): { index: number; first: number }[] {
  const seen = new Map<string, number>();
  return texts.flatMap((text, index) => {
    if (text === undefined) return [];
    const first = seen.get(text);
    if (first !== undefined) return [{ index, first }];
    seen.set(text, index);
    return [];
  });
}

/** A mapping with these keys and no others; those in `optional` may be left out. */
export function mapping(rules: Record<string, Rule>, optional: readonly string[], example: string): Rule {
  const names = Object.keys(rules);
  return (key, value) => {
    if (!isMapping(value)) return [{ key, value, allowed: `a mapping such as ${example}` }];
    const faults: Fault[] = [];
    for (const name of names) {
      if (Object.hasOwn(value, name)) faults.push(...rules[name](below(key, name), value[name]));
      else if (!optional.includes(name)) faults.push(missing(rules[name], below(key, name)));
    }
    for (const name of Object.keys(value))
      if (!names.includes(name)) faults.push(unknownKey(key, name, value[name], names));
    return faults;
  };
}

/** A rule knows best what is missing: it says so of `undefined`. `by` is the setting that requires it, if one does. */
export function missing(rule: Rule, key: string, by?: string): Fault {
  const fault: Fault = {
    key,
    value: undefined,
    allowed: rule(key, undefined)[0].allowed,
    problem: 'missing',
  };
  return by === undefined ? fault : { ...fault, by };
}

/** `elsewhere` is the path of a key of that name in another place, if there is one. */
export function unknownKey(
  parent: string,
  name: string,
  value: unknown,
  known: readonly string[],
  elsewhere?: string,
): Fault {
  const meant = nearest(name, known) ?? elsewhere;
  const problem = meant === undefined ? 'unknown key' : `unknown key (did you mean ${meant}?)`;
  // An empty key in YAML has null for a value; undefined would read as a missing key.
  return { key: below(parent, name), value: value ?? null, allowed: known.join(', '), problem };
}
