/** Loads the configuration: defaults, then the file, then the environment, then flags; the later one wins. */
import { makeConvict } from './convict.js';
import { ConfigError, type Fault } from './faults.js';
import { readFile } from './file.js';
import { keys } from './keys.js';
import { sieve } from './shape.js';
import { acrossKeys } from './together.js';
import type { Config } from './types.js';
import { complete } from './values.js';

export interface Sources {
  /** Path; JSON if it ends in `.json`, YAML otherwise. */
  file: string;
  env: NodeJS.ProcessEnv;
  /** By the key's path, such as `log.level`. */
  flags: Readonly<Record<string, string>>;
}

/** Throws a ConfigError that names every fault. */
export function loadConfig({ file, env, flags }: Sources): Config {
  const { document, broken, faults } = readFile(file);
  // Keys that could not be read would be reported as missing, and those read in part as wrong.
  if (broken) throw new ConfigError(faults);

  const sieved = sieve(document);
  faults.push(...sieved.faults);
  const report = (path: string, found: readonly Fault[]) => {
    const source = sourceOf(path, env, flags);
    faults.push(...(source === undefined ? found : found.map(fault => ({ ...fault, source }))));
  };

  const settings = makeConvict(env, report);
  settings.load(sieved.values);
  for (const [path, value] of Object.entries(flags)) {
    if (!keys.has(path)) throw new Error(`there is no key ${path} for a flag to set`);
    settings.set(path, value);
  }
  settings.validate({ allowed: 'strict' });

  const values = settings.getProperties();
  for (const fault of acrossKeys(values, faults)) report(fault.key, [fault]);
  if (faults.length > 0) throw new ConfigError(faults);
  return complete(values);
}

/** The flag or variable that the value of a key comes from; undefined: the file. */
function sourceOf(path: string, env: NodeJS.ProcessEnv, flags: Sources['flags']): string | undefined {
  // The path of an element begins with that of its list.
  const key = keys.get(path.split('[')[0]);
  if (key === undefined) return undefined;
  if (Object.hasOwn(flags, key.path)) return key.flag;
  return env[key.variable] === undefined ? undefined : key.variable;
}
