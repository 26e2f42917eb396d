/**
 * Parts what the schema knows in a file from what it doesn't. convict would do it too, but it loses
 * its way in sections that aren't mappings, mappings where a value belongs and names with dots in them.
 */
import { isMapping, type Mapping, unknownKey } from './collections.js';
import { below, type Fault } from './faults.js';
import { isKey, keys } from './keys.js';
import { type Key, type Section, schema } from './schema.js';

export interface Sieved {
  /** Only sections and keys of the schema; no key has a mapping as its value. */
  values: Mapping;
  faults: Fault[];
}

/** Sieves a whole document. Empty ones and empty sections are fine. */
export function sieve(document: Mapping | null): Sieved {
  return sieveSection('', document ?? {}, schema);
}

function sieveSection(parent: string, section: Mapping, known: Section): Sieved {
  const names = Object.keys(known);
  const values: Mapping = {};
  const faults: Fault[] = [];
  for (const [name, value] of Object.entries(section)) {
    if (!names.includes(name)) {
      faults.push(unknownKey(parent, name, value, names, placeOf(name)));
      continue;
    }
    const node: Key | Section = known[name];
    const key = below(parent, name);
    if (isKey(node)) {
      // A mapping is never right, but the rule knows what would be.
      if (isMapping(value)) faults.push(...node.rule(key, value));
      else values[name] = value;
    } else if (isMapping(value)) {
      const inner = sieveSection(key, value, node);
      values[name] = inner.values;
      faults.push(...inner.faults);
    } else if (value !== null) {
      faults.push({ key, value, allowed: `a mapping with ${Object.keys(node).join(', ')}` });
    }
  }
  return { values, faults };
}

/** Where a key of this name belongs, if anywhere. */
function placeOf(name: string): string | undefined {
  return [...keys.keys()].find(path => path.endsWith(`.${name}`));
}
