/** A fault in a configuration, and the error that carries all faults at once. */

export interface Fault {
  /** Path of the key, such as `realServer.services[0].port`; the path of the file if the file itself is at fault. */
  key: string;
  /** undefined: the key is missing. */
  value: unknown;
  /** What would be allowed; '' if the problem already says so. */
  allowed: string;
  /** What is wrong; absent: the value is not allowed. */
  problem?: string;
  /** If the key is missing, the setting that requires it, such as `nat: managed`. */
  by?: string;
  /** The environment variable or flag that the value came from; absent: the file. */
  source?: string;
}

export class ConfigError extends Error {
  readonly code = 'CONFIG_FAULTS';

  constructor(readonly faults: readonly Fault[]) {
    super(faults.map(faultLine).join('\n'));
    this.name = 'ConfigError';
  }
}

/** A fault as one line. */
export function faultLine(fault: Fault): string {
  const where = fault.source === undefined ? fault.key : `${fault.key} (from ${fault.source})`;
  const what = fault.problem ?? `${show(fault.value)} is not allowed`;
  if (fault.allowed === '') return `${where}: ${what}`;
  return `${where}: ${what}; ${fault.value === undefined ? required(fault) : 'allowed'}: ${fault.allowed}`;
}

function required({ by }: Fault): string {
  return by === undefined ? 'required' : `required with ${by}`;
}

/** The fault of a value whose feature is planned, but not built yet. */
export function notBuilt(key: string, value: unknown, allowed: string): Fault {
  return { key, value, allowed, problem: `${show(value)} is not built yet` };
}

const LONGEST_CHARACTERS = 120;

/** A value as an operator would write it, on one line and cut if it is long. */
export function show(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : toJson(value);
  return text.length > LONGEST_CHARACTERS ? `${text.slice(0, LONGEST_CHARACTERS)}...` : text;
}

function toJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    // A YAML alias may lie inside the value that it stands for: such a value has no end.
    return Array.isArray(value) ? '[...]' : '{...}';
  }
}

const PLAIN_NAME = /^[\w-]+$/;

/** The path of a key inside `parent`; '' is the whole configuration. */
export function below(parent: string, name: string): string {
  const safe = PLAIN_NAME.test(name) ? name : show(name);
  return parent === '' ? safe : `${parent}.${safe}`;
}
