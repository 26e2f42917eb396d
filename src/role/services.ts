/** The application's own sockets: which addresses and ports are ours to serve. */
import { isIpv4 } from '../flow/prefixes.js';

export interface Service {
  /** Four 32-bit words, IPv4 as ::ffff:a.b.c.d. */
  words: readonly number[];
  /** First and last port; 0 and 65535 stand for any. */
  from: number;
  to: number;
}

export class ServiceList {
  private readonly addresses4: Int32Array;
  private readonly from: Int32Array;
  private readonly to: Int32Array;

  constructor(services: readonly Service[]) {
    const services4 = services.filter(({ words }) => isIpv4(words));
    this.addresses4 = Int32Array.from(services4, ({ words }) => words[3]);
    this.from = Int32Array.from(services4, ({ from }) => from);
    this.to = Int32Array.from(services4, ({ to }) => to);
  }

  get count(): number {
    return this.addresses4.length;
  }

  address4(i: number): number {
    return this.addresses4[i];
  }

  hasPort(i: number, port: number): boolean {
    return port >= this.from[i] && port <= this.to[i];
  }

  hasAddress4(address: number): boolean {
    return this.addresses4.includes(address);
  }

  has4(address: number, port: number): boolean {
    for (let i = 0; i < this.count; i++)
      if (this.addresses4[i] === address && this.hasPort(i, port)) return true;
    return false;
  }
}
