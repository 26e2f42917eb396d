"""UOA packets from fields: IPv4 and IPv6, the three carriers, fragments. See wire.py for what a PACKET is."""
import socket
import struct

ICMP = 1
UDP = 17
ICMPV6 = 58
OPP = 248
OPTION = 31

HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
DESTINATION_OPTIONS = 60


def internet_checksum(data):
    """RFC 1071, slow and obvious."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def is_ipv6(address):
    return ":" in address


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if is_ipv6(address) else socket.AF_INET, address)


def option(client, port):
    """Code, length of the whole, client port, client address."""
    address = packed(client)
    return struct.pack("!BBH", OPTION, 4 + len(address), port) + address


def destination_option(client, port):
    """As an option of IPv6's: the length is that of the data, type and length not among it."""
    address = packed(client)
    return struct.pack("!BBH", OPTION, 2 + len(address), port) + address


def opp_header(options, client):
    """Version (by the client's family), next protocol, length of this header and its options."""
    return struct.pack("!BBH", (2 if is_ipv6(client) else 1) << 4, UDP, 4 + len(options))


def padded(options):
    """A header of IPv6 options but for its first byte: its length, the options, PadN up to a multiple of 8 bytes."""
    missing = -(2 + len(options)) % 8
    if missing == 1:
        options += b"\0"
    elif missing > 1:
        options += struct.pack("!BB", 1, missing - 2) + b"\0" * (missing - 2)
    return bytes([(2 + len(options)) // 8 - 1]) + options


def pseudo_header(source, destination, protocol, length):
    """RFC 768, and RFC 8200, 8.1."""
    if is_ipv6(source):
        return packed(source) + packed(destination) + struct.pack("!IxxxB", length, protocol)
    return packed(source) + packed(destination) + struct.pack("!BBH", 0, protocol, length)


def udp_checksum(source, destination, datagram):
    """Over a datagram whose checksum field is 0; 0 itself goes as 0xffff (RFC 768)."""
    return internet_checksum(pseudo_header(source, destination, UDP, len(datagram)) + datagram) or 0xFFFF


def udp(source, source_port, destination, destination_port, payload, checksum):
    header = struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0)
    value = udp_checksum(source, destination, header + payload)
    value = {"good": value, "zero": 0, "bad": value ^ 0x5555}[checksum]
    return header[:6] + struct.pack("!H", value) + payload


def ipv4(source, destination, protocol, payload, options=b"", tos=0, ttl=64, identification=0, fragment=0):
    options += b"\0" * (-len(options) % 4)
    length = 20 + len(options)
    header = struct.pack("!BBHHHBBH", 0x40 | length // 4, tos, length + len(payload), identification, fragment, ttl, protocol, 0)
    header += packed(source) + packed(destination) + options
    return header[:10] + struct.pack("!H", internet_checksum(header)) + header[12:] + payload


def ipv6(source, destination, next_header, payload, tos=0, ttl=64, flow=0):
    first = 6 << 28 | tos << 20 | flow
    return struct.pack("!IHBB", first, len(payload), next_header, ttl) + packed(source) + packed(destination) + payload


def fragment_header(next_header, offset, more, identification):
    return struct.pack("!BBHI", next_header, 0, offset | more, identification)


def chain(headers, protocol):
    """IPv6 extension headers, [(number, all but its first byte)]: the first number, and their bytes."""
    data = b""
    for number, rest in reversed(headers):
        data = bytes([protocol]) + rest + data
        protocol = number
    return protocol, data


def encode(packet):
    """The IP packets for one PACKET: one, or its fragments."""
    if "raw" in packet:
        return [bytes.fromhex(packet["raw"])]
    return encode6(packet) if is_ipv6(packet["source"]) else encode4(packet)


def marked_options(packet):
    """The mark, if there is one, among the options around it."""
    before, after = bytes.fromhex(packet.get("before", "")), bytes.fromhex(packet.get("after", ""))
    mark = packet.get("mark")
    if not mark:
        return before + after
    as_option = destination_option if mark["carrier"] == "dstopt" else option
    return before + as_option(mark["client"], mark["port"]) + after


def icmp(source, destination, message):
    """IPv6's checksum covers the addresses (RFC 4443, 2.3)."""
    protocol = ICMPV6 if is_ipv6(source) else ICMP
    body = struct.pack("!BBHI", message["type"], message["code"], 0, message.get("value", 0)) + bytes.fromhex(message["quoted"])
    pseudo = pseudo_header(source, destination, protocol, len(body)) if protocol == ICMPV6 else b""
    return protocol, body[:2] + struct.pack("!H", internet_checksum(pseudo + body)) + body[4:]


def transport(packet, carrier, default_checksum):
    """Protocol and bytes of what comes behind the IP header (and IPv6's destination options)."""
    if "body" in packet:
        return packet["protocol"], bytes.fromhex(packet["body"])
    if "icmp" in packet:
        return icmp(packet["source"], packet["destination"], packet["icmp"])
    checksum = packet.get("checksum", default_checksum)
    payload = bytes.fromhex(packet.get("payload", ""))
    body = udp(packet["source"], packet["sourcePort"], packet["destination"], packet["destinationPort"], payload, checksum)
    if carrier != "opp":
        return UDP, body
    marked = marked_options(packet)
    return OPP, opp_header(marked, packet["mark"]["client"]) + marked + body


def cut(body, size):
    """(offset, whether more follow, piece) of each fragment."""
    return [(at, at + size < len(body), body[at : at + size]) for at in range(0, len(body), size)]


def in_order(packet, pieces):
    return [pieces[i] for i in packet.get("fragmentOrder", range(len(pieces)))]


def encode4(packet):
    carrier = packet["mark"]["carrier"] if packet.get("mark") else None
    # DPVS leaves the checksum out with opp.
    protocol, body = transport(packet, carrier, "zero" if carrier == "opp" else "good")
    options = (b"" if carrier == "opp" else marked_options(packet)) + bytes.fromhex(packet.get("options", ""))
    common = {"tos": packet.get("tos", 0), "ttl": packet.get("ttl", 64), "identification": packet.get("identification", 0x4D21)}

    def piece(offset, more, part):
        # Option 31 is "not copied": it stays in the first fragment alone (RFC 791, 3.1).
        own = options if offset == 0 else b""
        fragment = (0x2000 if more else 0) | offset // 8
        return ipv4(packet["source"], packet["destination"], protocol, part, own, fragment=fragment, **common)

    if "fragment" in packet:
        return [piece(packet["fragment"]["offset"], packet["fragment"]["more"], body)]
    if "fragmentAt" in packet:
        return in_order(packet, [piece(*fragment) for fragment in cut(body, packet["fragmentAt"])])
    fragment = 0x4000 if packet.get("dontFragment") else 0
    return [ipv4(packet["source"], packet["destination"], protocol, body, options, fragment=fragment, **common)]


def encode6(packet):
    carrier = packet["mark"]["carrier"] if packet.get("mark") else None
    protocol, body = transport(packet, carrier, "good")
    if carrier == "dstopt" or ("before" in packet and carrier is None):
        protocol, options = chain([(DESTINATION_OPTIONS, padded(marked_options(packet)))], protocol)
        body = options + body
    ahead = [(header["type"], padded(bytes.fromhex(header["options"]))) for header in packet.get("extensions", [])]
    identification = packet.get("identification", 0x4D21)

    def whole(headers, next_header, part):
        first, extensions = chain(headers, next_header)
        common = {"tos": packet.get("tos", 0), "ttl": packet.get("ttl", 64), "flow": packet.get("flow", 0)}
        return ipv6(packet["source"], packet["destination"], first, extensions + part, **common)

    def piece(offset, more, part):
        fragment = fragment_header(0, offset, more, identification)[1:]
        return whole([*ahead, (FRAGMENT, fragment)], protocol, part)

    if "fragment" in packet:
        return [piece(packet["fragment"]["offset"], packet["fragment"]["more"], body)]
    if "fragmentAt" in packet:
        return in_order(packet, [piece(*fragment) for fragment in cut(body, packet["fragmentAt"])])
    return [whole(ahead, protocol, body)]
