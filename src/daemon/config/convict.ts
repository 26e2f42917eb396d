/**
 * The schema in convict's terms, with formats of our own.
 *
 * convict would put all faults into one text. `loadConfig` needs the parts of each, so a format reports its faults
 * instead of throwing. Whatever `validate` throws in spite of that is a mistake in this program.
 */
import convict from 'convict';
import { parse } from 'yaml';
import type { Fault } from './faults.js';
import { isKey, keys, type NamedKey } from './keys.js';
import { type Section, schema } from './schema.js';
import type { Values } from './values.js';

/** Hears of the faults of the key with this path. */
export type Report = (path: string, faults: Fault[]) => void;

type Node = NamedKey & { report: Report };

function validate(value: unknown, node: unknown): void {
  const { path, rule, report } = node as Node;
  report(path, rule(path, value));
}

/** A `coerce` gives text back that it can't read: the rule then finds the fault, and shows the text as written. */
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

/** convict's configuration with the defaults and the values of the environment; a file and flags are still to come. */
export function makeConvict(env: NodeJS.ProcessEnv, report: Report): convict.Config<Values> {
  // Without `args`, convict would parse process.argv. Flags are parsed by the command line (cli/context.ts).
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
