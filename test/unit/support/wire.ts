/**
 * Packets written and read the slow, obvious way: lists of bytes, one field after the other, checksums added up
 * word by word. It shares nothing with the code under test, so that a mistake there can't hide here.
 */

export type Octets = ArrayLike<number>;

// ---- text and numbers --------------------------------------------------------------------------------------

/** Bytes from hexadecimal text; blanks and line ends don't count. */
export function hex(text: string): number[] {
  const digits = text.replace(/\s+/g, '');
  if (!/^([0-9a-f]{2})*$/.test(digits)) throw new Error(`not hexadecimal: ${text}`);
  return Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16),
  );
}

export function toHex(bytes: Octets): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

export function be16(value: number): number[] {
  return [Math.floor(value / 256) % 256, value % 256];
}

/** An address as 4 or 16 bytes. */
export function address(text: string): number[] {
  if (!text.includes(':')) return text.split('.').map(Number);
  const [left, right] = text.split('::');
  const words = (part: string | undefined): number[] =>
    part ? part.split(':').map(word => Number.parseInt(word, 16)) : [];
  const high = words(left);
  const low = words(right);
  const gap = new Array<number>(8 - high.length - low.length).fill(0);
  return [...high, ...(text.includes('::') ? gap : []), ...low].flatMap(be16);
}

/** An IPv4 address as the signed 32-bit word that the code under test works with. */
export function word(text: string): number {
  return address(text).reduce((value, byte) => value * 256 + byte, 0) | 0;
}

/** An address as the four words that the code under test works with, IPv4 as ::ffff:a.b.c.d. */
export function words(text: string): number[] {
  const bytes = address(text);
  const all = bytes.length === 4 ? [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes] : bytes;
  return [0, 4, 8, 12].map(i => all[i] * 0x1000000 + all[i + 1] * 0x10000 + all[i + 2] * 0x100 + all[i + 3]);
}

/** A prefix as the code under test has it: four words, and a length that counts the 96 bits in front of IPv4. */
export function prefix(text: string): { words: number[]; length: number } {
  const [base, length] = text.split('/');
  return { words: words(base), length: Number(length) + (base.includes(':') ? 0 : 96) };
}

export function ipv4Text(bytes: Octets): string {
  return Array.from(bytes).join('.');
}

export interface Endpoint {
  address: string;
  port: number;
}

/** `203.0.113.7:5555` or `[2001:db8::7]:5555` in two. */
export function endpoint(text: string): Endpoint {
  const colon = text.lastIndexOf(':');
  return { address: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

// ---- checksums ---------------------------------------------------------------------------------------------

/** The Internet checksum of bytes: every word added with its end-around carry, then the complement. */
export function checksum(bytes: Octets): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i] * 256 + (i + 1 < bytes.length ? bytes[i + 1] : 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

/** What a datagram's checksum has to be: over pseudo header and datagram, its own field as 0; 0 is sent as 0xffff. */
export function udpChecksum(source: Octets, destination: Octets, datagram: Octets): number {
  const body = Array.from(datagram);
  body[6] = 0;
  body[7] = 0;
  const pseudoHeader = [...Array.from(source), ...Array.from(destination), 0, 17, ...be16(body.length)];
  return checksum([...pseudoHeader, ...body]) || 0xffff;
}

// ---- writing -----------------------------------------------------------------------------------------------

export interface Ipv4Fields {
  source: string;
  destination: string;
  protocol: number;
  body: Octets;
  tos?: number;
  ttl?: number;
  id?: number;
  dontFragment?: boolean;
  moreFragments?: boolean;
  /** In units of 8 bytes. */
  fragmentOffset?: number;
  options?: Octets;
}

export function ipv4(fields: Ipv4Fields): Uint8Array {
  const options = Array.from(fields.options ?? []);
  if (options.length % 4 !== 0 || options.length > 40)
    throw new Error('IP options need whole words, 40 at most');
  const headerLength = 20 + options.length;
  const flags = (fields.dontFragment ? 0x4000 : 0) + (fields.moreFragments ? 0x2000 : 0);
  const header = [
    0x40 + headerLength / 4,
    fields.tos ?? 0,
    ...be16(headerLength + fields.body.length),
    ...be16(fields.id ?? 0),
    ...be16(flags + (fields.fragmentOffset ?? 0)),
    fields.ttl ?? 64,
    fields.protocol,
    0,
    0,
    ...address(fields.source),
    ...address(fields.destination),
    ...options,
  ];
  const sum = be16(checksum(header));
  header[10] = sum[0];
  header[11] = sum[1];
  return Uint8Array.from([...header, ...Array.from(fields.body)]);
}

/** A UDP header and its payload; `checksum` other than the right one if it is given. */
export function udp(from: Endpoint, to: Endpoint, payload: Octets, sum?: number): number[] {
  const length = 8 + payload.length;
  const datagram = [...be16(from.port), ...be16(to.port), ...be16(length), 0, 0, ...Array.from(payload)];
  const right = udpChecksum(address(from.address), address(to.address), datagram);
  datagram.splice(6, 2, ...be16(sum ?? right));
  return datagram;
}

/** The UOA option: 31, length, client port, client address. */
export function option(client: string): number[] {
  const { address: text, port } = endpoint(client);
  const bytes = address(text);
  return [31, 4 + bytes.length, ...be16(port), ...bytes];
}

/** The `opp` header for options, with them behind it. */
export function opp(options: Octets, version = options.length >= 20 ? 2 : 1): number[] {
  return [version * 16, 17, ...be16(4 + options.length), ...Array.from(options)];
}

export interface DatagramFields {
  from: string;
  to: string;
  payload?: Octets;
  carrier?: 'ipo' | 'opp';
  /** The client that the mark names. */
  client?: string;
  /** The mark's bytes, if they aren't to be those of `client`. */
  mark?: Octets;
  /** Other IP options, behind the mark. */
  options?: Octets;
  udpChecksum?: number;
  tos?: number;
  ttl?: number;
  id?: number;
  dontFragment?: boolean;
}

/** A UDP datagram in an IPv4 packet, marked or not. */
export function datagram(fields: DatagramFields): Uint8Array {
  const from = endpoint(fields.from);
  const to = endpoint(fields.to);
  const mark = fields.mark ?? (fields.client === undefined ? [] : option(fields.client));
  const body = udp(from, to, fields.payload ?? [], fields.udpChecksum);
  const isOpp = fields.carrier === 'opp';
  return ipv4({
    ...fields,
    source: from.address,
    destination: to.address,
    protocol: isOpp ? 248 : 17,
    options: [...(isOpp ? [] : Array.from(mark)), ...Array.from(fields.options ?? [])],
    body: isOpp ? [...opp(mark), ...body] : body,
  });
}

/** A deterministic payload that repeats nothing soon. */
export function payloadOf(length: number, seed = 1): number[] {
  let state = seed;
  return Array.from({ length }, () => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.floor(state / 65536) % 256;
  });
}

// ---- reading -----------------------------------------------------------------------------------------------

export interface Decoded {
  from: string;
  to: string;
  protocol: number;
  tos: number;
  ttl: number;
  id: number;
  dontFragment: boolean;
  /** Hexadecimal. */
  options: string;
  /** The `opp` header with its options, hexadecimal; empty if there is none. */
  opp: string;
  payload: string;
  udpChecksum: number;
}

/** Reads a whole UDP datagram in one IPv4 packet, and throws where a length or a checksum is wrong. */
export function decode(packet: Octets): Decoded {
  const { header, body } = splitIpv4(packet);
  if ((header[6] & 0x3f) !== 0 || header[7] !== 0) throw new Error('a fragment');
  const protocol = header[9];
  if (protocol !== 17 && protocol !== 248) throw new Error(`protocol ${protocol}`);
  const oppLength = protocol === 248 ? body[2] * 256 + body[3] : 0;
  if (protocol === 248 && body[1] !== 17) throw new Error(`opp: next protocol ${body[1]}`);

  const source = header.slice(12, 16);
  const destination = header.slice(16, 20);
  const udpBytes = body.slice(oppLength);
  const length = udpBytes[4] * 256 + udpBytes[5];
  if (length !== udpBytes.length) throw new Error(`UDP: length ${length}, not ${udpBytes.length}`);
  const found = udpBytes[6] * 256 + udpBytes[7];
  const right = udpChecksum(source, destination, udpBytes);
  if (found !== 0 && found !== right)
    throw new Error(`UDP: checksum ${found.toString(16)}, not ${right.toString(16)}`);
  return {
    from: `${ipv4Text(source)}:${udpBytes[0] * 256 + udpBytes[1]}`,
    to: `${ipv4Text(destination)}:${udpBytes[2] * 256 + udpBytes[3]}`,
    protocol,
    tos: header[1],
    ttl: header[8],
    id: header[4] * 256 + header[5],
    dontFragment: (header[6] & 0x40) !== 0,
    options: toHex(header.slice(20)),
    opp: toHex(body.slice(0, oppLength)),
    payload: toHex(udpBytes.slice(8)),
    udpChecksum: found,
  };
}

function splitIpv4(packet: Octets): { header: number[]; body: number[] } {
  const bytes = Array.from(packet);
  const headerLength = (bytes[0] % 16) * 4;
  if (bytes[0] >> 4 !== 4 || headerLength < 20) throw new Error(`IPv4: begins with ${bytes[0]}`);
  const length = bytes[2] * 256 + bytes[3];
  if (length !== bytes.length) throw new Error(`IPv4: total length ${length}, not ${bytes.length}`);
  const header = bytes.slice(0, headerLength);
  if (checksum(header) !== 0) throw new Error('IPv4: header checksum');
  return { header, body: bytes.slice(headerLength) };
}

// ---- fragments ---------------------------------------------------------------------------------------------

/** Cuts a packet into fragments of up to `size` bytes of body; IP options stay in the first one (none is copied). */
export function fragment(packet: Octets, size: number): Uint8Array[] {
  const { header, body } = splitIpv4(packet);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < body.length; at += size) {
    pieces.push(
      ipv4({
        source: ipv4Text(header.slice(12, 16)),
        destination: ipv4Text(header.slice(16, 20)),
        protocol: header[9],
        tos: header[1],
        ttl: header[8],
        id: header[4] * 256 + header[5],
        moreFragments: at + size < body.length,
        fragmentOffset: at / 8,
        options: at === 0 ? header.slice(20) : [],
        body: body.slice(at, at + size),
      }),
    );
  }
  return pieces;
}

/** The packet that fragments in order make up; throws if they don't belong together. */
export function reassemble(pieces: readonly Octets[]): Uint8Array {
  const split = pieces.map(splitIpv4);
  const first = split[0].header;
  const body: number[] = [];
  split.forEach(({ header, body: part }, i) => {
    if (toHex(header.slice(12, 20)) !== toHex(first.slice(12, 20))) throw new Error('other addresses');
    if (header[4] !== first[4] || header[5] !== first[5] || header[9] !== first[9])
      throw new Error('another id');
    if (((header[6] & 0x1f) * 256 + header[7]) * 8 !== body.length) throw new Error('out of order');
    if (((header[6] & 0x20) !== 0) !== i < split.length - 1) throw new Error('more fragments');
    body.push(...part);
  });
  return ipv4({
    source: ipv4Text(first.slice(12, 16)),
    destination: ipv4Text(first.slice(16, 20)),
    protocol: first[9],
    tos: first[1],
    ttl: first[8],
    id: first[4] * 256 + first[5],
    options: first.slice(20),
    body,
  });
}
