/**
 * Netlink messages, each piece with what it is: constants are those of linux/netlink.h, linux/netfilter/nfnetlink.h and
 * nfnetlink_conntrack.h. Lengths, types and numbers in headers are a little-endian host's.
 */
import { address, be16, endpoint, hex, type Octets, toHex } from './wire.js';

export type Field = readonly [bytes: string, what: string];

export const bytesOf = (fields: readonly Field[]): number[] => hex(fields.map(([bytes]) => bytes).join(''));

export const le16 = (value: number): string => toHex([value & 0xff, (value >> 8) & 0xff]);
export const le32 = (value: number): string => le16(value) + le16(value >>> 16);

/** An attribute and its padding; `data` may be attributes of its own. */
export function attribute(type: number, what: string, data: readonly Field[] | string): Field[] {
  const inner: readonly Field[] = typeof data === 'string' ? [[data, 'its data']] : data;
  const length = bytesOf(inner).length;
  const padding = '00'.repeat((4 - (length % 4)) % 4);
  return [[le16(4 + length) + le16(type), what], ...inner, [padding, 'padding']];
}

/** NLA_F_NESTED */
const nest = (type: number, what: string, data: readonly Field[]): Field[] =>
  attribute(0x8000 | type, what, data);

/** CTA_TUPLE_ORIG (1) or CTA_TUPLE_REPLY (2) of UDP from one endpoint to another. */
export function tuple(type: 1 | 2, from: string, to: string): Field[] {
  const [source, destination] = [from, to].map(endpoint);
  const isV6 = source.address.includes(':');
  return nest(type, type === 1 ? 'CTA_TUPLE_ORIG' : 'CTA_TUPLE_REPLY', [
    ...nest(1, 'CTA_TUPLE_IP', [
      ...attribute(isV6 ? 3 : 1, `CTA_IP_V${isV6 ? 6 : 4}_SRC`, toHex(address(source.address))),
      ...attribute(isV6 ? 4 : 2, `CTA_IP_V${isV6 ? 6 : 4}_DST`, toHex(address(destination.address))),
    ]),
    ...nest(2, 'CTA_TUPLE_PROTO', [
      ...attribute(1, 'CTA_PROTO_NUM: IPPROTO_UDP', '11'),
      ...attribute(2, 'CTA_PROTO_SRC_PORT', toHex(be16(source.port))),
      ...attribute(3, 'CTA_PROTO_DST_PORT', toHex(be16(destination.port))),
    ]),
  ]);
}

/** A message with its header; `sequence` is that of the request that it answers. */
function message(type: number, what: string, sequence: Octets, body: readonly Field[]): Field[] {
  return [
    [le32(16 + bytesOf(body).length), 'nlmsg_len'],
    [le16(type), `nlmsg_type: ${what}`],
    ['0000', 'nlmsg_flags'],
    [toHex(sequence), 'nlmsg_seq'],
    ['00000000', 'nlmsg_pid'],
    ...body,
  ];
}

/** CTA_TUPLE_ORIG of what a client asks. */
export function originalOf(client: string): Field[] {
  return tuple(1, client, client.startsWith('[') ? '[2001:db8:1::10]:53' : '198.51.100.10:53');
}

/** The answer to IPCTNL_MSG_CT_GET: a connection that `client` made to somewhere, and whose replies go `from` `to`. */
export function connection(sequence: Octets, client: string, from: string, to: string, id: number): Field[] {
  return message(0x0100, 'IPCTNL_MSG_CT_NEW of NFNL_SUBSYS_CTNETLINK', sequence, [
    [client.startsWith('[') ? '0a000000' : '02000000', 'nfgen_family, version, res_id'],
    ...originalOf(client),
    ...tuple(2, from, to),
    ...attribute(12, 'CTA_ID', toHex([id >>> 24, (id >>> 16) & 0xff, (id >>> 8) & 0xff, id & 0xff])),
  ]);
}

/** An NLMSG_ERROR of -ENOENT with the header of the request. */
export function notThere(request: Octets): Field[] {
  const header = Array.from(request).slice(0, 16);
  return message(2, 'NLMSG_ERROR', header.slice(8, 12), [
    ['feffffff', 'error: -ENOENT'],
    [toHex(header), 'the header of the request'],
  ]);
}
