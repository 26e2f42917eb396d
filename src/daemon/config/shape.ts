/**
 * Separates the keys of a file that the schema knows from those that it does not know. convict would do that too, but
 * it fails for sections that are not mappings, for mappings in the place of a value and for names with dots in them.
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

/** Sieves a whole document. The document and its sections may be empty. */
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
      // No key has a mapping as its value. The key's rule knows what would be allowed.
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

/** The path of a key of this name in any section; undefined if there is none. */
function placeOf(name: string): string | undefined {
  return [...keys.keys()].find(path => path.endsWith(`.${name}`));
}
