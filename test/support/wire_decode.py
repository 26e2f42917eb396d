"""What a test may want to know of a packet, and datagrams made whole from fragments. Nothing is taken on trust."""
import socket
import struct

from wire_encode import (
    DESTINATION_OPTIONS,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    OPP,
    OPTION,
    ROUTING,
    UDP,
    internet_checksum,
    ipv4,
    ipv6,
    pseudo_header,
    udp_checksum,
)


def walk(options):
    """Yields (code, bytes) of each option; ("broken", rest) ends a list that isn't well formed."""
    at = 0
    while at < len(options):
        code = options[at]
        if code == 0:
            return
        if code == 1:
            at += 1
            continue
        if at + 2 > len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            yield "broken", options[at:]
            return
        yield code, options[at : at + options[at + 1]]
        at += options[at + 1]


def walk6(options):
    """The same for IPv6, where 0 is one byte of padding, 1 several, and lengths are those of the data."""
    at = 0
    while at < len(options):
        code = options[at]
        if code == 0:
            at += 1
            continue
        end = at + 2 + options[at + 1] if at + 2 <= len(options) else len(options) + 1
        if end > len(options):
            yield "broken", options[at:]
            return
        if code != 1:
            yield code, options[at:end]
        at = end


def find_mark(options, carrier):
    lengths = (6, 18) if carrier == "dstopt" else (8, 20)
    for code, whole in walk6(options) if carrier == "dstopt" else walk(options):
        if code == OPTION and whole[1] in lengths:
            port, address = struct.unpack("!H", whole[2:4])[0], whole[4:]
            family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
            return {"client": socket.inet_ntop(family, address), "port": port, "carrier": carrier}
    return None


def decode(data):
    return decode6(data) if data[0] >> 4 == 6 else decode4(data)


def decode4(data):
    header_length = (data[0] & 15) * 4
    tos, total, identification, fragment, ttl, protocol = struct.unpack("!xBHHHBB", data[:10])
    data = data[:total]  # Ethernet pads small frames
    out = {
        "source": socket.inet_ntoa(data[12:16]),
        "destination": socket.inet_ntoa(data[16:20]),
        "tos": tos,
        "ttl": ttl,
        "protocol": protocol,
        "identification": identification,
        "dontFragment": bool(fragment & 0x4000),
        "fragment": {"more": bool(fragment & 0x2000), "offset": (fragment & 0x1FFF) * 8},
        "options": data[20:header_length].hex(),
        "headerChecksumGood": internet_checksum(data[:header_length]) == 0,
        "bytes": len(data),
        "hex": data.hex(),
    }
    if fragment & 0x3FFF:
        return out
    mark = find_mark(data[20:header_length], "ipo") if protocol == UDP else None
    return {**out, **decode_transport(out, protocol, data[header_length:], mark)}


def decode6(data):
    first, length, next_header, hops = struct.unpack("!IHBB", data[:8])
    data = data[: 40 + length]
    out = {
        "source": socket.inet_ntop(socket.AF_INET6, data[8:24]),
        "destination": socket.inet_ntop(socket.AF_INET6, data[24:40]),
        "tos": first >> 20 & 0xFF,
        "ttl": hops,
        "flow": first & 0xFFFFF,
        "identification": 0,
        "dontFragment": True,
        "fragment": {"more": False, "offset": 0},
        "options": "",
        "bytes": len(data),
        "hex": data.hex(),
    }
    at, mark, headers = 40, None, []
    while next_header in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS) and not out["fragment"]["offset"]:
        headers.append(next_header)
        size = 8 if next_header == FRAGMENT else 8 + data[at + 1] * 8
        if next_header == FRAGMENT:
            field, out["identification"] = struct.unpack("!HI", data[at + 2 : at + 8])
            out["fragment"] = {"more": bool(field & 1), "offset": field & 0xFFF8}
        else:
            out["options"] += data[at : at + size].hex()
        # A mark counts right in front of UDP.
        if next_header == DESTINATION_OPTIONS and data[at] == UDP:
            mark = find_mark(data[at + 2 : at + size], "dstopt")
        next_header = data[at]
        at += size
    out.update(protocol=next_header, headers=headers)
    if out["fragment"]["more"] or out["fragment"]["offset"]:
        return out
    return {**out, **decode_transport(out, next_header, data[at:], mark)}


def decode_transport(ends, protocol, body, mark):
    if protocol in (ICMP, ICMPV6):
        return {"icmp": decode_icmp(ends, protocol, body)} if len(body) >= 8 else {}
    if protocol == OPP and len(body) >= 4 and body[1] == UDP:
        length = struct.unpack("!H", body[2:4])[0]
        mark = find_mark(body[4:length], "opp")
        body = body[length:]
    elif protocol != UDP:
        return {}
    out = {"mark": mark}
    if len(body) >= 8:
        source_port, destination_port, length, checksum = struct.unpack("!HHHH", body[:8])
        expected = udp_checksum(ends["source"], ends["destination"], body[:6] + b"\0\0" + body[8:])
        out.update(
            sourcePort=source_port,
            destinationPort=destination_port,
            udpLength=length,
            payload=body[8:length].hex(),
            udpChecksum="zero" if checksum == 0 else "good" if checksum == expected else "bad",
        )
    return out


def decode_icmp(ends, protocol, body):
    """IPv6's checksum covers the addresses (RFC 4443, 2.3)."""
    covered = body
    if protocol == ICMPV6:
        covered = pseudo_header(ends["source"], ends["destination"], ICMPV6, len(body)) + body
    out = {"type": body[0], "code": body[1], "checksumGood": internet_checksum(covered) == 0, "value": struct.unpack("!I", body[4:8])[0]}
    is_error = 1 <= body[0] <= 4 if protocol == ICMPV6 else body[0] in (3, 11, 12)
    if is_error and len(body) >= 8 + (40 if protocol == ICMPV6 else 20):
        out["quoted"] = decode(body[8:])
    return out


class Reassembler:
    """Makes datagrams of fragments that come in any order, each once."""

    def __init__(self):
        self.pending = {}

    def add(self, data):
        """The whole packet, as if it had never been cut, with the sizes of its pieces; None while some are missing."""
        key, offset, more, piece = split6(data) if data[0] >> 4 == 6 else split4(data)
        pieces = self.pending.setdefault(key, {})
        pieces[offset] = (data, piece, more)
        body, sizes = b"", []
        while len(body) in pieces:
            data, piece, more = pieces[len(body)]
            body += piece
            sizes.append(len(data))
            if not more:
                del self.pending[key]
                first = pieces[0][0]
                whole = join6(first, body) if first[0] >> 4 == 6 else join4(first, body)
                return dict(decode(whole), sizes=sizes, identification=key[-1])
        return None


def split4(data):
    """What tells the datagram, the offset in it, whether more follow, and the piece."""
    total, identification, fragment = struct.unpack("!HHH", data[2:8])
    key = (data[12:20], data[9], identification)
    return key, (fragment & 0x1FFF) * 8, bool(fragment & 0x2000), data[(data[0] & 15) * 4 : total]


def join4(first, body):
    options = first[20 : (first[0] & 15) * 4]
    source, destination = socket.inet_ntoa(first[12:16]), socket.inet_ntoa(first[16:20])
    return ipv4(source, destination, first[9], body, options, first[1], first[8], struct.unpack("!H", first[4:6])[0])


def headers_ahead(data):
    """Where the fragment header is: behind other extension headers, as far as there are any."""
    at, next_header = 40, data[6]
    while next_header != FRAGMENT:
        next_header, at = data[at], at + 8 + data[at + 1] * 8
    return at


def split6(data):
    at, length = headers_ahead(data), struct.unpack("!H", data[4:6])[0]
    field, identification = struct.unpack("!HI", data[at + 2 : at + 8])
    return (data[8:40], identification), field & 0xFFF8, bool(field & 1), data[at + 8 : 40 + length]


def join6(first, body):
    """What is ahead of the first fragment's header stays there (RFC 8200, 4.5)."""
    source, destination = (socket.inet_ntop(socket.AF_INET6, first[at : at + 16]) for at in (8, 24))
    word = struct.unpack("!I", first[:4])[0]
    at = headers_ahead(first)
    ahead, next_header, last = bytearray(first[40:at]), first[6], 0
    while ahead and ahead[last] != FRAGMENT:
        last += 8 + ahead[last + 1] * 8
    if ahead:
        ahead[last] = first[at]
    else:
        next_header = first[at]
    return ipv6(source, destination, next_header, bytes(ahead) + body, word >> 20 & 0xFF, first[7], word & 0xFFFFF)
