import { describe, expect, it } from 'vitest';
import { Packet } from '../../../src/codec/packet.js';
import { MarkedClient } from '../../../src/role/marked-client.js';
import { datagramIn, FAMILIES } from '../support/families.js';
import { int32 } from '../support/wire.js';

describe.each(FAMILIES)('the client of a mark, IPv%i', family => {
  it.each([
    ['203.0.113.7', 5555],
    ['2001:db8::7', 65_535],
  ])('a mark of %s and port %i is read as that client', (address, port) => {
    const named = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
    const client = new MarkedClient();
    // Left over from another mark.
    client.words.fill(-1);
    const ends = { from: '10.10.1.1:40000', to: '10.10.1.2:53' };
    const bytes = datagramIn(family, { ...ends, carrier: 'opp', named, payload: [1] });
    const packet = new Packet(bytes.buffer);
    packet.parse(0, bytes.length);
    client.read(packet);
    expect(client).toMatchObject({ words: int32(address), port, v6: address.includes(':') });
  });
});
