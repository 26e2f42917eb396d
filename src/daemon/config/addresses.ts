/** What addresses and prefixes may be. IPv6 is known, so that it can be told from a slip, but not built yet. */
import { Address4, Address6 } from 'ip-address';
import { type Fault, notBuilt } from './faults.js';
import type { Rule } from './rules.js';

const PREFIX = 'an IPv4 prefix such as 10.10.1.0/24';
const TUN_ADDRESS = 'an IPv4 unicast address with its prefix length, such as 192.0.2.254/32';

/** Reads `a.b.c.d` or `a.b.c.d/length`. */
function readIPv4(value: unknown): Address4 | undefined {
  return typeof value === 'string' && Address4.isValid(value) ? new Address4(value) : undefined;
}

function isIPv6(value: unknown): value is string {
  return typeof value === 'string' && Address6.isValid(value);
}

/** An IPv4 address in its one spelling, always with a prefix length: a bare one is a single host's. */
export function withLength(value: string): string {
  const address = new Address4(value);
  return `${address.correctForm()}/${address.subnetMask}`;
}

/** A prefix in its one spelling, or undefined if it isn't one: whatever `prefix` finds a fault with. */
export function readPrefix(value: unknown): string | undefined {
  return prefix('', value).length === 0 ? withLength(value as string) : undefined;
}

/** Where packets come from: an IPv4 prefix, or a bare address for a single host. */
export const prefix: Rule = (key, value) => {
  const address = readIPv4(value);
  if (address === undefined) return [wrongAddress(key, value, PREFIX)];
  const first = address.startAddress().correctForm();
  if (first === address.correctForm()) return [];
  const meant = `${first}/${address.subnetMask} (the whole prefix) or ${address.correctForm()}/32 (one host)`;
  return [{ key, value, allowed: meant }];
};

/** An address that datagrams can be sent to from elsewhere. */
export function unicastAddress(allowed: string): Rule {
  return (key, value) => (readUnicast(value) === undefined ? [wrongAddress(key, value, allowed)] : []);
}

/** Such an address, which has one spelling only, or undefined if it isn't one. */
export function readUnicast(value: unknown): string | undefined {
  const address = readIPv4(value);
  if (address === undefined || String(value).includes('/') || !isUnicast(address)) return undefined;
  return address.correctForm();
}

/** The address of an interface, with or without a prefix length. */
export const interfaceAddress: Rule = (key, value) => {
  const address = readIPv4(value);
  return address !== undefined && isUnicast(address) ? [] : [wrongAddress(key, value, TUN_ADDRESS)];
};

function wrongAddress(key: string, value: unknown, allowed: string): Fault {
  return isIPv6(value) ? notBuilt(key, value, allowed) : { key, value, allowed };
}

/** Not 0.0.0.0/8, loopback, multicast or 240.0.0.0/4, which has broadcast in it (RFC 1122, 3.2.1.3). */
function isUnicast(address: Address4): boolean {
  const [first] = address.toArray();
  return first !== 0 && first !== 127 && first < 224;
}
