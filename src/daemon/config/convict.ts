/**
 * The schema as convict takes it, and its formats.
 *
 * convict puts all faults into one text. Ours need their parts, so a format reports them instead of throwing;
 * what `validate` still throws is a fault of this program.
 */
import convict from 'convict';
import { parse } from 'yaml';
import type { Fault } from './faults.js';
import { isKey, keys, type NamedKey } from './keys.js';
import { type Section, schema } from './schema.js';
import type { Values } from './values.js';

/** Takes the faults of the key with this path. */
export type Report = (path: string, faults: Fault[]) => void;

type Node = NamedKey & { report: Report };

function validate(value: unknown, node: unknown): void {
  const { path, rule, report } = node as Node;
  report(path, rule(path, value));
}

/** Each leaves text that it can't read as it is: the rule then finds the fault, and shows what was written. */
convict.addFormats({
  text: { validate },
  'whole-number': {
    validate,
    coerce: (text: string) => (/^(0x[\da-f]+|\d+)$/i.test(text) ? Number(text) : text),
  },
  truth: {
    validate,
    coerce: (text: string) => (text === 'true' || text === 'false' ? text === 'true' : text),
  },
  list: {
    validate,
    coerce: (text: string) => {
      try {
        return parse(text, { logLevel: 'error' }) as unknown;
      } catch {
        return text;
      }
    },
  },
});

/** A configuration of defaults and the environment. */
export function makeConvict(env: NodeJS.ProcessEnv, report: Report): convict.Config<Values> {
  // No arguments: flags are the command line's to parse, and convict would parse process.argv.
  return convict<Values>(nodes(schema, '', report) as convict.Schema<Values>, { env, args: [] });
}

function nodes(section: Section, parent: string, report: Report): object {
  return Object.fromEntries(
    Object.entries(section).map(([name, node]) => {
      const path = parent === '' ? name : `${parent}.${name}`;
      if (!isKey(node)) return [name, nodes(node, path, report)];
      const key = keys.get(path);
      return [name, { ...key, env: key?.variable, nullable: node.default === null, report }];
    }),
  );
}
