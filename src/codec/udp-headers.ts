/**
 * The headers of a UDP datagram: IP's, what carries a mark, and UDP's. A packet has them once; an ICMP error has those
 * of the datagram that it quotes.
 */
import { Carrier } from './carriers.js';
import { IpHeader, Read } from './ip-header.js';
import * as ipv4 from './ipv4.js';
import * as udp from './udp.js';
import { type ByteOffset, NONE, type Port } from './units.js';
import * as uoa from './uoa.js';

/** Whether there is a mark, and in what state. */
export const Mark = { none: 0, found: 1, broken: 2 } as const;
export type Mark = (typeof Mark)[keyof typeof Mark];

export class UdpHeaders extends IpHeader {
  /** The UDP header, behind the `opp` header if there is one. Where no UDP was found it is as `transport`. */
  udp: ByteOffset = 0;
  carrier: Carrier = Carrier.none;
  mark: Mark = Mark.none;
  /** The option and its length in bytes; NONE and 0 unless the mark is `Mark.found`. */
  option: ByteOffset = NONE;
  optionLength = 0;

  get sourcePort(): Port {
    return this.view.getUint16(this.udp + udp.SOURCE_PORT);
  }

  get destinationPort(): Port {
    return this.view.getUint16(this.udp + udp.DESTINATION_PORT);
  }

  /** Bytes of UDP payload, as the UDP header has it. */
  get payloadLength(): number {
    return this.view.getUint16(this.udp + udp.LENGTH) - udp.HEADER;
  }

  /** The mark is gone, and what carried it. */
  forgetMark(): void {
    this.carrier = Carrier.none;
    this.mark = Mark.none;
    this.option = NONE;
    this.optionLength = 0;
  }

  /**
   * Reads what an ICMP error of a family quotes in `[start, end)`: true if it is the whole headers of a UDP datagram (of
   * its first fragment, if it came in several). Sets every field.
   */
  readQuoted(start: ByteOffset, end: ByteOffset, v6: boolean): boolean {
    const read = this.readIp(start, end, false);
    return read === Read.whole && this.v6 === v6 && this.isUdp && this.readUdp();
  }

  /** Reads the IP header as `readHeader` does, and sets all other fields to what they are without a UDP header. */
  protected readIp(start: ByteOffset, end: ByteOffset, isWhole: boolean): Read {
    this.forgetMark();
    const read = this.readHeader(start, end, isWhole);
    this.udp = this.transport;
    return read;
  }

  /** Whether UDP follows the IP header, or a header of UOA's own in front of it. */
  protected get isUdp(): boolean {
    return this.protocol === udp.PROTOCOL || this.protocol === uoa.OPP_PROTOCOL;
  }

  /** Finds the UDP header behind the IP header, and the mark that is with it; false if the UDP header is not whole. */
  protected readUdp(): boolean {
    const isPlain = this.v6 ? !this.hasOptionsHeader : this.headerLength === ipv4.MIN_HEADER;
    if ((!isPlain || this.protocol === uoa.OPP_PROTOCOL) && !this.readCarrier()) return false;
    return this.udp + udp.HEADER <= this.end;
  }

  /** Reads what stands in front of the UDP header; false if that contradicts itself. */
  private readCarrier(): boolean {
    const { view, transport } = this;
    if (this.protocol === uoa.OPP_PROTOCOL) {
      const length = uoa.oppLength(view, transport, this.end);
      this.carrier = Carrier.opp;
      this.mark = Mark.broken;
      if (length === 0) return false;
      this.udp += length;
      this.readMark(Carrier.opp, uoa.findMark(view, transport + uoa.OPP_HEADER, this.udp));
    } else if (this.v6) this.readMark(Carrier.dstopt, uoa.findMark6(view, this.optionsHeader));
    else this.readMark(Carrier.ipo, uoa.findMark(view, this.start + ipv4.OPTIONS, transport));
    return true;
  }

  private readMark(carrier: Carrier, option: ByteOffset): void {
    if (option === NONE && carrier !== Carrier.opp) return;
    this.carrier = carrier;
    this.mark = option < 0 ? Mark.broken : Mark.found;
    if (option < 0) return;
    this.option = option;
    this.optionLength =
      carrier === Carrier.dstopt
        ? uoa.dstoptOptionLength(this.view, option)
        : uoa.optionLength(this.view, option);
  }
}
