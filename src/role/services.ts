/** The services: addresses and ports of the application's sockets. */
import { ADDRESS_WORDS, isMapped, sameAddress } from '../codec/addresses.js';
import { NONE, type Port, type WordIndex } from '../codec/units.js';

export interface Service {
  /** Four 32-bit words, IPv4 as ::ffff:a.b.c.d. */
  words: readonly number[];
  /** First and last port. 0 and 65535 mean any port. */
  from: Port;
  to: Port;
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

  /** Where in `addresses` the one of service `i` is. */
  addressAt(i: number): WordIndex {
    return i * ADDRESS_WORDS;
  }

  hasPort(i: number, port: Port): boolean {
    return port >= this.from[i] && port <= this.to[i];
  }

  hasAddress(words: Int32Array, at: WordIndex): boolean {
    for (let i = 0; i < this.count; i++)
      if (sameAddress(this.addresses, this.addressAt(i), words, at)) return true;
    return false;
  }

  has(words: Int32Array, at: WordIndex, port: Port): boolean {
    for (let i = 0; i < this.count; i++)
      if (this.hasPort(i, port) && sameAddress(this.addresses, this.addressAt(i), words, at)) return true;
    return false;
  }

  /** The service with this port of the other family than the one at `at` in `words`, or NONE. */
  partner(words: Int32Array, at: WordIndex, port: Port): number {
    const isIpv4 = isMapped(words, at);
    for (let i = 0; i < this.count; i++)
      if (this.hasPort(i, port) && isMapped(this.addresses, this.addressAt(i)) !== isIpv4) return i;
    return NONE;
  }
}
