/**
 * The control socket and the TUN's name, read from a configuration that may have faults: commands have to find a
 * running shim while its configuration is being edited.
 */
import { isMapping, type Mapping } from './collections.js';
import { readFile } from './file.js';
import { keys } from './keys.js';
import type { Sources } from './load.js';
import { schema } from './schema.js';
import { defaultSocket } from './values.js';

/** The first valid control socket among flags, environment and file; else the one that the TUN's name gives. */
export function readControlSocket(sources: Sources): string {
  return firstValid(sources, 'control', 'socket') ?? defaultSocket(readTunName(sources));
}

/** The first valid name of the TUN among flags, environment and file; else the default. */
export function readTunName(sources: Sources): string {
  return firstValid(sources, 'tun', 'name') ?? String(schema.tun.name.default);
}

function firstValid({ file, env, flags }: Sources, section: string, name: string): string | undefined {
  const path = `${section}.${name}`;
  const key = keys.get(path);
  if (key === undefined) return undefined;
  const candidates = [flags[path], env[key.variable], lookUp(readFile(file).document, section, name)];
  return candidates.find(value => typeof value === 'string' && key.rule(path, value).length === 0);
}

function lookUp(document: Mapping | null, section: string, name: string): string | undefined {
  const inner = document?.[section];
  const value = isMapping(inner) ? inner[name] : undefined;
  return typeof value === 'string' ? value : undefined;
}
