/** The keys of the schema by their paths, with the names of their environment variables and flags. */
import { type Key, type Section, schema } from './schema.js';

export interface NamedKey extends Key {
  /** Such as `realServer.flowTimeout`. */
  path: string;
  /** Such as `UOA_SHIM_REAL_SERVER_FLOW_TIMEOUT`. */
  variable: string;
  /** Such as `--real-server-flow-timeout`. */
  flag: string;
}

export function isKey(node: Key | Section): node is Key {
  return 'rule' in node;
}

export const keys: ReadonlyMap<string, NamedKey> = new Map(
  [...walk(schema, '')].map(([path, key]) => [path, named(path, key)]),
);

function* walk(section: Section, parent: string): Iterable<[string, Key]> {
  for (const [name, node] of Object.entries(section)) {
    const path = parent === '' ? name : `${parent}.${name}`;
    if (isKey(node)) yield [path, node];
    else yield* walk(node, path);
  }
}

function named(path: string, key: Key): NamedKey {
  const words = path.replaceAll('.', '-').replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
  const variable = `UOA_SHIM_${words.replaceAll('-', '_').toUpperCase()}`;
  return { ...key, path, variable, flag: `--${words}` };
}

export interface FlagDefinition {
  /** As commander takes it: `--log-level <value>`. */
  flag: string;
  key: string;
  description: string;
  /** Its feature is not built yet, so `--help` leaves it out. */
  hidden: boolean;
}

/** One flag for each key whose value is not a list. */
export function flagDefinitions(): FlagDefinition[] {
  return [...keys.values()]
    .filter(key => key.format !== 'list')
    .map(key => ({
      flag: `${key.flag} <value>`,
      key: key.path,
      description:
        key.default === null || key.default === '' ? key.doc : `${key.doc} (default: ${key.default})`,
      hidden: key.later === true,
    }));
}
