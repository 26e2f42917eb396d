/** The client that a mark names, decoded. Made once and read into again for every mark. */
import { ADDRESS_WORDS, readAddress4, readAddress6 } from '../codec/addresses.js';
import type { Packet } from '../codec/packet.js';
import * as uoa from '../codec/uoa.js';

export class MarkedClient {
  readonly words = new Int32Array(ADDRESS_WORDS);
  port = 0;
  v6 = false;

  /** Reads the mark of a packet that has one (`Mark.found`). */
  read({ view, option, optionLength }: Packet): void {
    const offset = option + uoa.OPTION_ADDRESS;
    this.v6 = optionLength === uoa.OPTION_V6;
    this.port = view.getUint16(option + uoa.OPTION_PORT);
    if (this.v6) readAddress6(view, offset, this.words, 0);
    else readAddress4(view, offset, this.words, 0);
  }
}
