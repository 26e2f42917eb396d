/** What addresses and prefixes may be, of either family, and the one spelling that each has (for IPv6 RFC 5952). */
import { Address4, Address6 } from 'ip-address';
import { type Fault, show } from './faults.js';
import type { Rule } from './rules.js';

type Address = Address4 | Address6;

const PREFIX = 'an IPv4 or IPv6 prefix such as 10.10.1.0/24 or fd00:1::/64';
const TUN_ADDRESS = 'an IPv4 unicast address with its prefix length, such as 192.0.2.254/32';

/** Nobody's: `::`, `::1`, and IPv4-compatible addresses, which are long deprecated (RFC 4291, 2.5.5.1). */
const NOBODYS = new Address6('::/96');

/** Reads an address of either family, with or without a prefix length. */
function readAddress(value: unknown): Address | undefined {
  if (typeof value !== 'string') return undefined;
  if (Address4.isValid(value)) return new Address4(value);
  return Address6.isValid(value) ? new Address6(value) : undefined;
}

/** A valid address in its one spelling, always with a prefix length: a bare one is a single host's. */
export function withLength(value: string): string {
  const address = readAddress(value) as Address;
  return `${address.correctForm()}/${address.subnetMask}`;
}

/** A prefix in its one spelling, or undefined if it isn't one: whatever `prefix` finds a fault with. */
export function readPrefix(value: unknown): string | undefined {
  return prefix('', value).length === 0 ? withLength(value as string) : undefined;
}

/** Where packets come from: a prefix, or a bare address for a single host. */
export const prefix: Rule = (key, value) => {
  const address = readAddress(value);
  if (address === undefined || misfit(address) !== undefined) return [wrongAddress(key, value, PREFIX)];
  const own = address.correctForm();
  const first = address.startAddress().correctForm();
  if (first === own) return [];
  const meant = `${first}/${address.subnetMask} (the whole prefix) or ${withLength(own)} (one host)`;
  return [{ key, value, allowed: meant }];
};

/** An address that datagrams can be sent to from elsewhere. */
export function unicastAddress(allowed: string): Rule {
  return (key, value) => (readUnicast(value) === undefined ? [wrongAddress(key, value, allowed)] : []);
}

/** Such an address in its one spelling, or undefined if it isn't one. */
export function readUnicast(value: unknown): string | undefined {
  const address = readAddress(value);
  if (address === undefined || String(value).includes('/') || !isUnicast(address)) return undefined;
  return address.correctForm();
}

/** The address of the TUN interface, with or without a prefix length. rp_filter wants it, and IPv6 has none. */
export const interfaceAddress: Rule = (key, value) => {
  const address = readAddress(value);
  return address instanceof Address4 && isUnicast(address) ? [] : [{ key, value, allowed: TUN_ADDRESS }];
};

function wrongAddress(key: string, value: unknown, allowed: string): Fault {
  const address = readAddress(value);
  const what = address === undefined ? undefined : misfit(address);
  return what === undefined
    ? { key, value, allowed }
    : { key, value, allowed, problem: `${show(value)} ${what}` };
}

function isUnicast(address: Address): boolean {
  if (address instanceof Address4) return isUnicast4(address);
  return misfit(address) === undefined && !address.isMulticast() && !address.isInSubnet(NOBODYS);
}

/** Not 0.0.0.0/8, loopback, multicast or 240.0.0.0/4, which has broadcast in it (RFC 1122, 3.2.1.3). */
function isUnicast4(address: Address4): boolean {
  const [first] = address.toArray();
  return first !== 0 && first !== 127 && first < 224;
}

/** Why no packet that is routed has such an address, or any in such a prefix; undefined if it isn't one of these. */
function misfit(address: Address): string | undefined {
  if (address instanceof Address4) return undefined;
  if (address.isMapped4()) return 'is IPv4-mapped';
  if (address.isLinkLocal()) return 'is link-local';
  return address.zone === '' ? undefined : 'has a zone';
}
