/** Rules for addresses and prefixes of either family, and the one spelling that each gets (IPv6: RFC 5952). */
import { Address4, Address6 } from 'ip-address';
import { type Fault, show } from './faults.js';
import type { ValueRule } from './rules.js';

type Address = Address4 | Address6;

const PREFIX = 'an IPv4 or IPv6 prefix such as 10.10.1.0/24 or fd00:1::/64';
const TUN_ADDRESS = 'an IPv4 unicast address with its prefix length, such as 192.0.2.254/32';

/** `::`, `::1` and IPv4-compatible addresses, which are deprecated (RFC 4291, 2.5.5.1). */
const IPV4_COMPATIBLE = new Address6('::/96');

/** Reads an address of either family, with or without a prefix length. */
function readAddress(value: unknown): Address | undefined {
  if (typeof value !== 'string') return undefined;
  if (Address4.isValid(value)) return new Address4(value);
  return Address6.isValid(value) ? new Address6(value) : undefined;
}

/** A valid address in its one spelling and with its prefix length; a bare one gets the length of a single host. */
export function withLength(value: string): string {
  const address = readAddress(value) as Address;
  return `${address.correctForm()}/${address.subnetMask}`;
}

/** A prefix in its one spelling; undefined if the rule `prefix` finds a fault with it. */
export function readPrefix(value: unknown): string | undefined {
  return prefix('', value).length === 0 ? withLength(value as string) : undefined;
}

/** A prefix, or a bare address for a single host. */
export const prefix: ValueRule = (key, value) => {
  const address = readAddress(value);
  if (address === undefined || misfit(address) !== undefined) return [wrongAddress(key, value, PREFIX)];
  const own = address.correctForm();
  const first = address.startAddress().correctForm();
  if (first === own) return [];
  const meant = `${first}/${address.subnetMask} (the whole prefix) or ${withLength(own)} (one host)`;
  return [{ key, value, allowed: meant }];
};

/** An address that other hosts can send datagrams to. `allowed` says so, with an example. */
export function unicastAddress(allowed: string): ValueRule {
  return (key, value) => (readUnicast(value) === undefined ? [wrongAddress(key, value, allowed)] : []);
}

/** Such an address in its one spelling; undefined if the value is none. */
export function readUnicast(value: unknown): string | undefined {
  const address = readAddress(value);
  if (address === undefined || String(value).includes('/') || !isUnicast(address)) return undefined;
  return address.correctForm();
}

/** The TUN's address, with or without a prefix length. Only IPv4 has rp_filter, which is what the address is for. */
export const interfaceAddress: ValueRule = (key, value) => {
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
  return misfit(address) === undefined && !address.isMulticast() && !address.isInSubnet(IPV4_COMPATIBLE);
}

/** Excludes 0.0.0.0/8, loopback, multicast and 240.0.0.0/4, which contains broadcast (RFC 1122, 3.2.1.3). */
function isUnicast4(address: Address4): boolean {
  const [first] = address.toArray();
  return first !== 0 && first !== 127 && first < 224;
}

/** Why no routed packet can have this address, or one in this prefix; undefined if there is no such reason. */
function misfit(address: Address): string | undefined {
  if (address instanceof Address4) return undefined;
  if (address.isMapped4()) return 'is IPv4-mapped';
  if (address.isLinkLocal()) return 'is link-local';
  return address.zone === '' ? undefined : 'has a zone';
}
