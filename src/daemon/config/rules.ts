/** What single values may be. */
import { type Fault, notBuilt } from './faults.js';

/** Says what is wrong with the value of `key`: nothing, or one fault or more. */
export type Rule = (key: string, value: unknown) => Fault[];

/** A rule that a test decides. */
export function rule(allowed: string, test: (value: unknown) => boolean): Rule {
  return (key, value) => (test(value) ? [] : [{ key, value, allowed }]);
}

/** One of `values`; `later` are those that are declared but not built yet. */
export function choice(values: readonly string[], later: readonly string[] = []): Rule {
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

/** A whole number in `[from, to]`, except those in `reserved`. `what` says what it counts. */
export function wholeNumber(
  from: number,
  to: number,
  what = 'a whole number',
  reserved: readonly number[] = [],
): Rule {
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
 * What the kernel takes as a name (dev_valid_name), less those with a meaning of their own: `%` makes it a
 * template for numbered names, and `all` and `default` are directories beside the interfaces' in /proc/sys/net.
 */
function isInterfaceName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    Buffer.byteLength(value) <= INTERFACE_BYTES &&
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
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

/** For what is declared as text but not built yet: only '' is left. */
export const nothingYet: Rule = (key, value) => {
  if (value === '') return [];
  return [typeof value === 'string' ? notBuilt(key, value, '""') : { key, value, allowed: '""' }];
};
