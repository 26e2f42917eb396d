/** The application's own sockets: which addresses and ports are ours to serve. */
import { ADDRESS_WORDS, isMapped, sameAddress } from '../../codec/addresses.js';

export interface Service {
  /** Four 32-bit words, IPv4 as ::ffff:a.b.c.d. */
  words: readonly number[];
  /** First and last port; 0 and 65535 stand for any. */
  from: number;
  to: number;
}

export class ServiceList {
  /** The services' addresses, four words each. */
  readonly addresses: Int32Array;
  private readonly from: Int32Array;
  private readonly to: Int32Array;

  constructor(services: readonly Service[]) {
    this.addresses = Int32Array.from(services.flatMap(({ words }) => [...words]));
    this.from = Int32Array.from(services, ({ from }) => from);
    this.to = Int32Array.from(services, ({ to }) => to);
  }

  get count(): number {
    return this.from.length;
  }

  /** Where in `addresses` that of service `i` is. */
  addressAt(i: number): number {
    return i * ADDRESS_WORDS;
  }

  hasPort(i: number, port: number): boolean {
    return port >= this.from[i] && port <= this.to[i];
  }

  hasAddress(words: Int32Array, at: number): boolean {
    for (let i = 0; i < this.count; i++)
      if (sameAddress(this.addresses, this.addressAt(i), words, at)) return true;
    return false;
  }

  has(words: Int32Array, at: number, port: number): boolean {
    for (let i = 0; i < this.count; i++)
      if (this.hasPort(i, port) && sameAddress(this.addresses, this.addressAt(i), words, at)) return true;
    return false;
  }

  /** The service of the other family with this port, for one at `at` in `words`; or -1. */
  partner(words: Int32Array, at: number, port: number): number {
    const isIpv4 = isMapped(words, at);
    for (let i = 0; i < this.count; i++)
      if (this.hasPort(i, port) && isMapped(this.addresses, this.addressAt(i)) !== isIpv4) return i;
    return -1;
  }
}
