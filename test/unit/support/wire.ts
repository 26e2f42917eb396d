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
  const bytes = new Array<number>(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16);
  return bytes;
}

const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export function toHex(bytes: Octets): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += DIGITS[bytes[i]];
  return text;
}

export function be16(value: number): number[] {
  return [Math.floor(value / 256) % 256, value % 256];
}

/** Tests use few addresses, and each of them very often: it is read once. */
function once<T>(read: (text: string) => T[]): (text: string) => T[] {
  const known = new Map<string, readonly T[]>();
  return text => {
    let found = known.get(text);
    if (found === undefined) {
      found = read(text);
      known.set(text, found);
    }
    return found.slice();
  };
}

/** An address as 4 or 16 bytes. */
export const address = once((text: string): number[] => {
  if (!text.includes(':')) return text.split('.').map(Number);
  const [left, right] = text.split('::');
  const words = (part: string | undefined): number[] =>
    part ? part.split(':').map(word => Number.parseInt(word, 16)) : [];
  const high = words(left);
  const low = words(right);
  const gap = new Array<number>(8 - high.length - low.length).fill(0);
  return [...high, ...(text.includes('::') ? gap : []), ...low].flatMap(be16);
});

/** An IPv4 address as the signed 32-bit word that the code under test works with. */
export function word(text: string): number {
  return address(text).reduce((value, byte) => value * 256 + byte, 0) | 0;
}

/** An address as the four words that the code under test works with, IPv4 as ::ffff:a.b.c.d. */
export const words = once((text: string): number[] => {
  const bytes = address(text);
  const all = bytes.length === 4 ? [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes] : bytes;
  return [0, 4, 8, 12].map(i => all[i] * 0x1000000 + all[i + 1] * 0x10000 + all[i + 2] * 0x100 + all[i + 3]);
});

/** Addresses one behind the other, as the code under test takes them. */
export function int32(...texts: string[]): Int32Array {
  const all = new Int32Array(texts.length * 4);
  texts.forEach((text, i) => {
    all.set(words(text), i * 4);
  });
  return all;
}

/** A prefix as the code under test has it: four words, and a length that counts the 96 bits in front of IPv4. */
export function prefix(text: string): { words: number[]; length: number } {
  const [base, length] = text.split('/');
  return { words: words(base), length: Number(length) + (base.includes(':') ? 0 : 96) };
}

export function ipv4Text(bytes: Octets): string {
  return Array.from(bytes).join('.');
}

/** An address as text, the longest run of zeros as `::` (RFC 5952). */
export function addressText(bytes: Octets): string {
  if (bytes.length === 4) return ipv4Text(bytes);
  const groups = Array.from({ length: 8 }, (_, i) => bytes[i * 2] * 256 + bytes[i * 2 + 1]);
  for (let length = 8; length > 1; length--)
    for (let at = 0; at + length <= 8; at++) {
      if (groups.slice(at, at + length).some(group => group !== 0)) continue;
      const text = (part: number[]): string => part.map(group => group.toString(16)).join(':');
      return `${text(groups.slice(0, at))}::${text(groups.slice(at + length))}`;
    }
  return groups.map(group => group.toString(16)).join(':');
}

/** `203.0.113.7:5555` or `[2001:db8::7]:5555`. */
export function endpointText(bytes: Octets, port: number): string {
  return bytes.length === 4 ? `${ipv4Text(bytes)}:${port}` : `[${addressText(bytes)}]:${port}`;
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

export interface Ipv6Fields {
  source: string;
  destination: string;
  /** What `body` is. */
  next: number;
  body: Octets;
  /** Between the fixed header and `body`. */
  extensions?: readonly Extension[];
  tos?: number;
  flow?: number;
  ttl?: number;
}

/** An extension header: its number, and its bytes but the first, which says what comes next. */
export type Extension = readonly [number: number, bytes: Octets];

export function ipv6(fields: Ipv6Fields): Uint8Array {
  const { extensions = [], tos = 0, flow = 0 } = fields;
  const numbers = [...extensions.map(([number]) => number), fields.next];
  const behind = extensions.flatMap(([, bytes], i) => [numbers[i + 1], ...Array.from(bytes)]);
  const body = [...behind, ...Array.from(fields.body)];
  return Uint8Array.from([
    0x60 + Math.floor(tos / 16),
    (tos % 16) * 16 + Math.floor(flow / 0x10000),
    ...be16(flow % 0x10000),
    ...be16(body.length),
    numbers[0],
    fields.ttl ?? 64,
    ...address(fields.source),
    ...address(fields.destination),
    ...body,
  ]);
}

/** Pad1 or PadN (RFC 8200, 4.2). */
export function padding(length: number): number[] {
  if (length < 2) return new Array<number>(length).fill(0);
  return [1, length - 2, ...new Array<number>(length - 2).fill(0)];
}

/** Of any of those with options or segments in them: `data` filled up to whole units of 8 bytes. */
function extension(number: number, data: Octets): Extension {
  const whole = [...Array.from(data), ...padding((8 - ((2 + data.length) % 8)) % 8)];
  return [number, [(2 + whole.length) / 8 - 1, ...whole]];
}

export const hopByHop = (options: Octets = []): Extension => extension(0, options);
export const routing = (segments: Octets = [253, 0, 0, 0, 0, 0]): Extension => extension(43, segments);
export const destinationOptions = (options: Octets = []): Extension => extension(60, options);

/** A fragment header; `offset` in units of 8 bytes. */
export function fragmentHeader(offset: number, more: boolean, id = 0x1c46): Extension {
  return [
    44,
    [0, ...be16(offset * 8 + (more ? 1 : 0)), ...be16(Math.floor(id / 0x10000)), ...be16(id % 0x10000)],
  ];
}

/** The mark as a destination option: its length counts port and address alone. */
export function destinationOption(client: string): number[] {
  const bytes = option(client);
  return [31, bytes.length - 2, ...bytes.slice(2)];
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
  carrier?: 'ipo' | 'opp' | 'dstopt';
  /** The client that the mark names. */
  client?: string;
  /** The mark's bytes, if they aren't to be those of `client`. */
  mark?: Octets;
  /** Other IPv4 options, behind the mark. */
  options?: Octets;
  /** IPv6: in front of the mark. */
  extensions?: readonly Extension[];
  udpChecksum?: number;
  tos?: number;
  ttl?: number;
  id?: number;
  dontFragment?: boolean;
  /** IPv6. */
  flow?: number;
}

/** A UDP datagram in an IP packet of its addresses' family, marked or not. */
export function datagram(fields: DatagramFields): Uint8Array {
  const from = endpoint(fields.from);
  const to = endpoint(fields.to);
  const mark = fields.mark ?? (fields.client === undefined ? [] : option(fields.client));
  const body = udp(from, to, fields.payload ?? [], fields.udpChecksum);
  const isOpp = fields.carrier === 'opp';
  if (from.address.includes(':')) {
    const { carrier, client, extensions = [] } = fields;
    const isOption = carrier === 'dstopt' && client !== undefined;
    return ipv6({
      ...fields,
      source: from.address,
      destination: to.address,
      extensions: [...extensions, ...(isOption ? [destinationOptions(destinationOption(client))] : [])],
      next: isOpp ? 248 : 17,
      body: isOpp ? [...opp(mark), ...body] : body,
    });
  }
  return ipv4({
    ...fields,
    source: from.address,
    destination: to.address,
    protocol: isOpp ? 248 : 17,
    options: [...(isOpp ? [] : Array.from(mark)), ...Array.from(fields.options ?? [])],
    body: isOpp ? [...opp(mark), ...body] : body,
  });
}

export interface IcmpFields {
  source: string;
  destination: string;
  type: number;
  code: number;
  /** The four bytes behind the checksum. */
  rest?: Octets;
  quote: Octets;
}

/** An ICMP error in an IP packet of its addresses' family. */
export function icmp(fields: IcmpFields): Uint8Array {
  const { source, destination, type, code, rest = [0, 0, 0, 0], quote } = fields;
  const body = [type, code, 0, 0, ...Array.from(rest), ...Array.from(quote)];
  const v6 = source.includes(':');
  body.splice(2, 2, ...be16(icmpChecksum(address(source), address(destination), body)));
  return v6
    ? ipv6({ source, destination, next: 58, body })
    : ipv4({ source, destination, protocol: 1, body });
}

/** Over the message, and in IPv6 over a pseudo header too (RFC 4443, 2.3). */
function icmpChecksum(source: Octets, destination: Octets, message: Octets): number {
  const body = Array.from(message);
  body[2] = 0;
  body[3] = 0;
  const pseudoHeader = [...Array.from(source), ...Array.from(destination), 0, 58, ...be16(body.length)];
  return checksum(source.length === 4 ? body : [...pseudoHeader, ...body]);
}

/** A packet as a router, or a host that forwards it, sends it on: with a hop less. What is cut short stays as it is. */
export function forwarded(packet: Octets): Uint8Array {
  const bytes = Uint8Array.from(packet);
  const headerLength = (bytes[0] % 16) * 4;
  if (bytes[0] >> 4 === 6) bytes[7]--;
  else if (bytes[0] >> 4 === 4 && headerLength >= 20 && headerLength <= bytes.length) {
    bytes[8]--;
    bytes.set([0, 0], 10);
    bytes.set(be16(checksum(bytes.slice(0, headerLength))), 10);
  }
  return bytes;
}

/** A deterministic payload that repeats nothing soon. */
export function payloadOf(length: number, seed = 1): number[] {
  const bytes = new Array<number>(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    bytes[i] = Math.floor(state / 65536) % 256;
  }
  return bytes;
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

/** Reads a whole UDP datagram in one packet, and throws where a length or a checksum is wrong. */
export function decode(packet: Octets): Decoded {
  const ip = split(packet);
  const { header, body, protocol, source, destination } = ip;
  if (ip.isFragment) throw new Error('a fragment');
  if (protocol !== 17 && protocol !== 248) throw new Error(`protocol ${protocol}`);
  const oppLength = protocol === 248 ? body[2] * 256 + body[3] : 0;
  if (protocol === 248 && body[1] !== 17) throw new Error(`opp: next protocol ${body[1]}`);

  const udpBytes = body.slice(oppLength);
  const length = udpBytes[4] * 256 + udpBytes[5];
  if (length !== udpBytes.length) throw new Error(`UDP: length ${length}, not ${udpBytes.length}`);
  const found = udpBytes[6] * 256 + udpBytes[7];
  const right = udpChecksum(source, destination, udpBytes);
  if (found !== right && (found !== 0 || source.length === 16))
    throw new Error(`UDP: checksum ${found.toString(16)}, not ${right.toString(16)}`);
  const isV4 = source.length === 4;
  return {
    from: endpointText(source, udpBytes[0] * 256 + udpBytes[1]),
    to: endpointText(destination, udpBytes[2] * 256 + udpBytes[3]),
    protocol,
    tos: isV4 ? header[1] : (header[0] % 16) * 16 + (header[1] >> 4),
    ttl: header[isV4 ? 8 : 7],
    id: isV4 ? header[4] * 256 + header[5] : 0,
    dontFragment: isV4 && (header[6] & 0x40) !== 0,
    options: toHex(header.slice(isV4 ? 20 : 40)),
    opp: toHex(body.slice(0, oppLength)),
    payload: toHex(udpBytes.slice(8)),
    udpChecksum: found,
  };
}

export interface DecodedError {
  source: string;
  destination: string;
  type: number;
  code: number;
  /** Hexadecimal. */
  rest: string;
  quote: string;
}

/** Reads an ICMP error, and throws where a length or a checksum is wrong. */
export function decodeIcmp(packet: Octets): DecodedError {
  const { body, protocol, source, destination } = split(packet);
  if (protocol !== (source.length === 4 ? 1 : 58)) throw new Error(`protocol ${protocol}`);
  const found = body[2] * 256 + body[3];
  const right = icmpChecksum(source, destination, body);
  if (found !== right) throw new Error(`ICMP: checksum ${found.toString(16)}, not ${right.toString(16)}`);
  return {
    source: addressText(source),
    destination: addressText(destination),
    type: body[0],
    code: body[1],
    rest: toHex(body.slice(4, 8)),
    quote: toHex(body.slice(8)),
  };
}

interface Split {
  /** With options or extension headers. */
  header: number[];
  /** Behind the header; of a fragment, behind the fragment header. */
  body: number[];
  protocol: number;
  source: number[];
  destination: number[];
  isFragment: boolean;
}

export function split(packet: Octets): Split {
  if (packet[0] >> 4 === 6) return splitIpv6(packet);
  const { header, body } = splitIpv4(packet);
  return {
    ...{ header, body, protocol: header[9] },
    ...{ source: header.slice(12, 16), destination: header.slice(16, 20) },
    isFragment: (header[6] & 0x3f) !== 0 || header[7] !== 0,
  };
}

function splitIpv6(packet: Octets): Split {
  const bytes = Array.from(packet);
  const length = bytes[4] * 256 + bytes[5];
  if (bytes.length !== 40 + length)
    throw new Error(`IPv6: payload length ${length}, not ${bytes.length - 40}`);
  let protocol = bytes[6];
  let at = 40;
  const isWhole = (): boolean => bytes[at + 2] === 0 && bytes[at + 3] === 0;
  while ([0, 43, 60].includes(protocol) || (protocol === 44 && isWhole())) {
    const units = protocol === 44 ? 0 : bytes[at + 1];
    protocol = bytes[at];
    at += (units + 1) * 8;
  }
  const isFragment = protocol === 44;
  if (at > bytes.length) throw new Error('IPv6: extension headers past the end');
  return {
    ...{ header: bytes.slice(0, at), body: bytes.slice(at), protocol, isFragment },
    ...{ source: bytes.slice(8, 24), destination: bytes.slice(24, 40) },
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

/**
 * Cuts a packet into fragments of up to `size` bytes of body; IP options stay in the first one (none is copied), and
 * so do IPv6's destination options, which belong to the body.
 */
export function fragment(packet: Octets, size: number, id = 0x1c46): Uint8Array[] {
  if (packet[0] >> 4 === 6) return fragment6(Array.from(packet), size, id);
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

/** Without extension headers in front of the fragment header. */
function fragment6(packet: number[], size: number, id: number): Uint8Array[] {
  const body = packet.slice(40);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < body.length; at += size) {
    const [, header] = fragmentHeader(at / 8, at + size < body.length, id);
    const behind = [packet[6], ...Array.from(header), ...body.slice(at, at + size)];
    pieces.push(
      Uint8Array.from([...packet.slice(0, 4), ...be16(behind.length), 44, ...packet.slice(7, 40), ...behind]),
    );
  }
  return pieces;
}

function reassemble6(pieces: readonly number[][]): Uint8Array {
  const [first] = pieces;
  const body: number[] = [];
  pieces.forEach((piece, i) => {
    if (piece[4] * 256 + piece[5] !== piece.length - 40) throw new Error('IPv6: payload length');
    if (toHex(piece.slice(8, 40)) !== toHex(first.slice(8, 40))) throw new Error('other addresses');
    if (piece[6] !== 44 || toHex(piece.slice(44, 48)) !== toHex(first.slice(44, 48)))
      throw new Error('another id');
    if (piece[42] * 256 + piece[43] - (i < pieces.length - 1 ? 1 : 0) !== body.length)
      throw new Error('out of order, or more fragments');
    body.push(...piece.slice(48));
  });
  const header = [...first.slice(0, 4), ...be16(body.length), first[40], ...first.slice(7, 40)];
  return Uint8Array.from([...header, ...body]);
}

/** The packet that fragments in order make up; throws if they don't belong together. */
export function reassemble(pieces: readonly Octets[]): Uint8Array {
  if (pieces[0][0] >> 4 === 6) return reassemble6(pieces.map(piece => Array.from(piece)));
  const all = pieces.map(splitIpv4);
  const first = all[0].header;
  const body: number[] = [];
  all.forEach(({ header, body: part }, i) => {
    if (toHex(header.slice(12, 20)) !== toHex(first.slice(12, 20))) throw new Error('other addresses');
    if (header[4] !== first[4] || header[5] !== first[5] || header[9] !== first[9])
      throw new Error('another id');
    if (((header[6] & 0x1f) * 256 + header[7]) * 8 !== body.length) throw new Error('out of order');
    if (((header[6] & 0x20) !== 0) !== i < all.length - 1) throw new Error('more fragments');
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
