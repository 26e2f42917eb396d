/** Rules for lists and mappings, made of the rules for their elements and keys. */
import { below, type Fault } from './faults.js';
import { nearest } from './near.js';
import type { ValueRule } from './rules.js';

export type Mapping = Record<string, unknown>;

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value of a key; undefined if `item` is no mapping or does not have the key. */
export function valueIn(item: unknown, name: string): unknown {
  return isMapping(item) ? item[name] : undefined;
}

/** The elements of a list; none if `value` is no list. */
export function elements(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function isNone(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

/** A list with at least one element. `together` finds the faults that no element has by itself. */
export function list(
  item: ValueRule,
  allowed: string,
  together?: (key: string, items: unknown[]) => Fault[],
): ValueRule {
  return (key, value) => {
    if (!Array.isArray(value) || value.length === 0) return [{ key, value, allowed }];
    const faults = value.flatMap((element, i) => item(`${key}[${i}]`, element));
    return together === undefined ? faults : [...faults, ...together(key, value)];
  };
}

/** What `rule` allows, or an empty list. */
export function orEmpty(rule: ValueRule): ValueRule {
  return (key, value) => (Array.isArray(value) && value.length === 0 ? [] : rule(key, value));
}

/** The indices of texts that were there before, each with the index of the first such text; undefined is skipped. */
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

/** A mapping with these keys and no others; keys in `optional` may be left out. */
export function mapping(
  rules: Record<string, ValueRule>,
  optional: readonly string[],
  example: string,
): ValueRule {
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

/**
 * The fault of a missing key. What its rule says of `undefined` is what would be allowed. `by` is the setting that
 * requires the key, if one does.
 */
export function missing(rule: ValueRule, key: string, by?: string): Fault {
  const fault: Fault = {
    key,
    value: undefined,
    allowed: rule(key, undefined)[0].allowed,
    problem: 'missing',
  };
  return by === undefined ? fault : { ...fault, by };
}

/** The fault of an unknown key. `elsewhere` is the path of a key of that name in another section, if there is one. */
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
