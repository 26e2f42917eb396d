/** Rules for single values. */
import { type Fault, notBuilt } from './faults.js';

/** Gives the faults of the value of `key`; none if it is allowed. */
export type ValueRule = (key: string, value: unknown) => Fault[];

/** A rule that allows the values that pass `test`. */
export function rule(allowed: string, test: (value: unknown) => boolean): ValueRule {
  return (key, value) => (test(value) ? [] : [{ key, value, allowed }]);
}

/** One of `values`. Those in `later` are planned, but not built yet. */
export function choice(values: readonly string[], later: readonly string[] = []): ValueRule {
  const allowed = either(values);
  return (key, value) => {
    if (typeof value === 'string' && values.includes(value)) return [];
    if (typeof value === 'string' && later.includes(value)) return [notBuilt(key, value, allowed)];
    return [{ key, value, allowed }];
  };
}

function either(values: readonly string[]): string {
  return values.length > 1 ? `${values.slice(0, -1).join(', ')} or ${values.at(-1)}` : values.join();
}

/** A whole number in `[from, to]` that is not in `reserved`. `what` names it in a fault, with its unit. */
export function wholeNumber(
  from: number,
  to: number,
  what = 'a whole number',
  reserved: readonly number[] = [],
): ValueRule {
  const except = reserved.length > 0 ? `, but not ${either(reserved.map(String))}` : '';
  return rule(
    `${what} from ${from} to ${to}${except}`,
    value =>
      typeof value === 'number' &&
      Number.isInteger(value) &&
      value >= from &&
      value <= to &&
      !reserved.includes(value),
  );
}

export const trueOrFalse = rule('true or false', value => typeof value === 'boolean');

/** IFNAMSIZ without its terminating zero. */
const INTERFACE_BYTES = 15;

/**
 * A name that the kernel takes (dev_valid_name), without those that have another meaning: `%` makes a name a template
 * for numbered ones, and `all` and `default` are directories in /proc/sys/net beside those of the interfaces.
 */
function isInterfaceName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    Buffer.byteLength(value) <= INTERFACE_BYTES &&
    // biome-ignore lint/suspicious/noControlCharactersInRegex: names with control characters are refused
    !/[\s/:%\u0000-\u001f\u007f]/.test(value) &&
    !['.', '..', 'all', 'default'].includes(value)
  );
}

const INTERFACE_NAME = 'an interface name of 1 to 15 bytes, without "/", ":", "%" or blanks';

export const interfaceName = rule(INTERFACE_NAME, isInterfaceName);

export const interfaceNameOrNone = rule(
  `${INTERFACE_NAME}, or ""`,
  value => value === '' || isInterfaceName(value),
);

/** sun_path without its terminating zero. */
const SOCKET_BYTES = 107;

export const socketPath = rule(
  `an absolute path of at most ${SOCKET_BYTES} bytes`,
  value =>
    typeof value === 'string' &&
    value.startsWith('/') &&
    !value.endsWith('/') &&
    !value.includes('\0') &&
    Buffer.byteLength(value) <= SOCKET_BYTES,
);

/** For a key whose feature is planned, but not built yet: it can only be ''. */
export const nothingYet: ValueRule = (key, value) => {
  if (value === '') return [];
  return [typeof value === 'string' ? notBuilt(key, value, '""') : { key, value, allowed: '""' }];
};
