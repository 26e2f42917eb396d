#!/usr/bin/env python3
"""UOA on the wire, written a second time: a load balancer for the tests, in plain Python.

It shares nothing with the shim, so that the two can disagree. Run inside a network namespace as

    wire.py lb --interface eth0 --peer 02:00:00:63:01:02 [--all]

it speaks JSON lines. Each line in is a request with an "id", each gets one answer with the same "id":

    {"op": "send", "packets": [PACKET, ...]}        sends them; answers with the bytes of each, in hex
    {"op": "exchange", "packets": [PACKET, ...], "rounds": N, "window": W}
                                                    sends them round after round and waits for as many answers per
                                                    window; answers with a tally instead of events
    {"op": "encode", "packets": [PACKET, ...]}      the bytes only
    {"op": "ping"}                                  answers; everything that came before it has been reported

and every IPv4 packet that arrives is a line {"event": "packet", ...}, each datagram made whole from fragments one
more {"event": "datagram", ...}. Packet sockets send and receive: nothing of the namespace's own stack has a say.

PACKET is {"raw": HEX}, or fields: source, sourcePort, destination, destinationPort, payload (hex), mark
({"client", "port", "carrier"}), before and after (hex, options around the mark in its carrier), options (hex, IP
options without a mark in ipo), tos, ttl, identification, dontFragment, checksum ("good", "zero", "bad"),
fragmentAt (bytes of IP payload per fragment), fragmentOrder (a list of positions); protocol and body (hex) instead of
ports and payload.
"""
import argparse
import json
import select
import socket
import struct
import sys
import time

UDP = 17
OPP = 248
OPTION = 31
ETH_P_IP = 0x0800
ETH_P_ALL = 0x0003
SO_RCVBUFFORCE = 33
SO_SNDBUFFORCE = 32
PACKET_HOST = 0


# ---- encoding ------------------------------------------------------------------------------------------------


def internet_checksum(data):
    """RFC 1071, slow and obvious."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def option(client, port):
    """Code, length of the whole, client port, client address."""
    address = packed(client)
    return struct.pack("!BBH", OPTION, 4 + len(address), port) + address


def udp_checksum(source, destination, datagram):
    """Over a datagram whose checksum field is 0; 0 itself goes as 0xffff (RFC 768)."""
    pseudo_header = packed(source) + packed(destination) + struct.pack("!BBH", 0, UDP, len(datagram))
    return internet_checksum(pseudo_header + datagram) or 0xFFFF


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


def encode(packet):
    """The IP packets for one PACKET: one, or its fragments."""
    if "raw" in packet:
        return [bytes.fromhex(packet["raw"])]
    source, destination = packet["source"], packet["destination"]
    mark = packet.get("mark")
    carrier = mark["carrier"] if mark else None
    options = bytes.fromhex(packet.get("options", ""))
    before, after = bytes.fromhex(packet.get("before", "")), bytes.fromhex(packet.get("after", ""))
    marked = before + (option(mark["client"], mark["port"]) if mark else b"") + after

    common = {"tos": packet.get("tos", 0), "ttl": packet.get("ttl", 64), "identification": packet.get("identification", 0x4d21)}
    if "body" in packet:
        return [ipv4(source, destination, packet["protocol"], bytes.fromhex(packet["body"]), options, **common)]

    # DPVS leaves the checksum out with opp.
    checksum = packet.get("checksum", "zero" if carrier == "opp" else "good")
    payload = bytes.fromhex(packet.get("payload", ""))
    body = udp(source, packet["sourcePort"], destination, packet["destinationPort"], payload, checksum)
    protocol = UDP
    if carrier == "opp":
        version = 1 if len(packed(mark["client"])) == 4 else 2
        # Version, next protocol, length of this header and its options.
        body = struct.pack("!BBH", version << 4, UDP, 4 + len(marked)) + marked + body
        protocol = OPP
    else:
        options = marked + options

    size = packet.get("fragmentAt")
    if not size:
        fragment = 0x4000 if packet.get("dontFragment") else 0
        return [ipv4(source, destination, protocol, body, options, fragment=fragment, **common)]
    pieces = []
    for at in range(0, len(body), size):
        more = 0x2000 if at + size < len(body) else 0
        # Option 31 is "not copied": it stays in the first fragment alone (RFC 791, 3.1).
        pieces.append(ipv4(source, destination, protocol, body[at : at + size], options if at == 0 else b"", fragment=more | at // 8, **common))
    return [pieces[i] for i in packet.get("fragmentOrder", range(len(pieces)))]


# ---- decoding ------------------------------------------------------------------------------------------------


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


def find_mark(options, carrier):
    for code, whole in walk(options):
        if code == OPTION and len(whole) in (8, 20):
            family = socket.AF_INET if len(whole) == 8 else socket.AF_INET6
            port = struct.unpack("!H", whole[2:4])[0]
            return {"client": socket.inet_ntop(family, whole[4:]), "port": port, "carrier": carrier}
    return None


def decode(data):
    """Everything that a test may want to know of an IPv4 packet."""
    header_length = (data[0] & 15) * 4
    tos, total, identification, fragment, ttl, protocol = struct.unpack("!xBHHHBB", data[:10])
    data = data[:total]  # Ethernet pads small frames
    body = data[header_length:]
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
    if protocol == OPP and len(body) >= 4 and body[1] == UDP:
        length = struct.unpack("!H", body[2:4])[0]
        out["mark"] = find_mark(body[4:length], "opp")
        body = body[length:]
    elif protocol == UDP:
        out["mark"] = find_mark(data[20:header_length], "ipo")
    else:
        return out
    if len(body) >= 8:
        source_port, destination_port, length, checksum = struct.unpack("!HHHH", body[:8])
        expected = udp_checksum(out["source"], out["destination"], body[:6] + b"\0\0" + body[8:])
        out.update(
            sourcePort=source_port,
            destinationPort=destination_port,
            udpLength=length,
            payload=body[8:length].hex(),
            udpChecksum="zero" if checksum == 0 else "good" if checksum == expected else "bad",
        )
    return out


class Reassembler:
    """Makes datagrams of fragments that come in any order, each once."""

    def __init__(self):
        self.pending = {}

    def add(self, data):
        """The whole packet, as if it had never been cut, with the sizes of its pieces; None while some are missing."""
        identification, fragment = struct.unpack("!HH", data[4:8])
        header_length = (data[0] & 15) * 4
        key = (data[12:20], data[9], identification)
        pieces = self.pending.setdefault(key, {})
        pieces[(fragment & 0x1FFF) * 8] = (data, data[header_length:], bool(fragment & 0x2000))
        body, sizes = b"", []
        while len(body) in pieces:
            data, piece, more = pieces[len(body)]
            body += piece
            sizes.append(len(data))
            if not more:
                del self.pending[key]
                first = pieces[0][0]
                options = first[20 : (first[0] & 15) * 4]
                source, destination = socket.inet_ntoa(first[12:16]), socket.inet_ntoa(first[16:20])
                whole = ipv4(source, destination, first[9], body, options, first[1], first[8], identification)
                return dict(decode(whole), sizes=sizes)
        return None


# ---- the load balancer ---------------------------------------------------------------------------------------


class LoadBalancer:
    def __init__(self, interface, peer, see_all):
        self.address = (interface, ETH_P_IP, 0, 0, bytes.fromhex(peer.replace(":", "")))
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
        self.socket.bind((interface, ETH_P_IP))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 16 << 20)
        self.socket.setblocking(False)
        self.see_all = see_all
        self.reassembler = Reassembler()
        self.input = b""

    def serve(self):
        say({"event": "ready"})
        while True:
            readable, _, _ = select.select([0, self.socket], [], [])
            if self.socket in readable:
                self.report()
            if 0 in readable:
                chunk = sys.stdin.buffer.raw.read(1 << 16)
                if not chunk:
                    return
                *lines, self.input = (self.input + chunk).split(b"\n")
                for line in lines:
                    request = json.loads(line)
                    say({"id": request["id"], **self.answer(request)})

    def answer(self, request):
        operation = request["op"]
        if operation == "ping":
            self.report()
            return {}
        packets = [data for packet in request["packets"] for data in encode(packet)]
        if operation == "encode":
            return {"packets": [data.hex() for data in packets]}
        if operation == "exchange":
            return self.exchange(packets, request["rounds"], request["window"])
        for data in packets:
            self.send(data)
        return {"packets": [data.hex() for data in packets]}

    def send(self, data):
        while True:
            try:
                self.socket.sendto(data, self.address)
                return
            except (BlockingIOError, OSError) as error:
                if not isinstance(error, BlockingIOError) and error.errno != 105:  # ENOBUFS
                    raise
                select.select([], [self.socket], [], 0.1)

    def arrived(self):
        """Packets that came for us so far."""
        while True:
            try:
                data, (_, _, kind, _, _) = self.socket.recvfrom(65535)
            except BlockingIOError:
                return
            if self.see_all or kind == PACKET_HOST:
                yield data

    def report(self):
        for data in self.arrived():
            decoded = decode(data)
            say({"event": "packet", **decoded})
            fragment = decoded["fragment"]
            if fragment["more"] or fragment["offset"]:
                whole = self.reassembler.add(data)
                if whole:
                    say({"event": "datagram", **whole})

    def exchange(self, packets, rounds, window):
        """Never more than a window on the way, so nothing has to be lost; a window unanswered for 5 s is given up."""
        self.report()
        sent = answered = acks = bad = 0
        tally = {}
        for first in range(0, rounds * len(packets), window):
            last = min(first + window, rounds * len(packets))
            for i in range(first, last):
                self.send(packets[i % len(packets)])
            sent += last - first
            missing = last - first
            while missing > 0 and select.select([self.socket], [], [], 5)[0]:
                for data in self.arrived():
                    seen = decode(data)
                    if seen["protocol"] not in (UDP, OPP):
                        continue
                    good = seen["headerChecksumGood"] and seen.get("udpChecksum") in ("good", "zero")
                    bad += not good
                    if seen.get("mark"):
                        acks += 1
                        continue
                    answered += 1
                    missing -= 1
                    key = "%s:%d" % (seen["destination"], seen["destinationPort"])
                    tally[key] = tally.get(key, 0) + 1
            if missing > 0:
                break
        # What comes in late, ACKs among it, would spoil the next test.
        while select.select([self.socket], [], [], 0.2)[0]:
            for data in self.arrived():
                acks += bool(decode(data).get("mark"))
        return {"sent": sent, "answered": answered, "acks": acks, "bad": bad, "tally": tally}


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def self_test():
    """The facts that the protocol's description names."""
    assert option("203.0.113.7", 5555).hex() == "1f0815b3cb007107"
    packet = {"source": "10.99.1.1", "sourcePort": 40000, "destination": "10.99.1.2", "destinationPort": 7000}
    mark = {"client": "203.0.113.7", "port": 5555, "carrier": "opp"}
    (whole,) = encode(dict(packet, mark=mark, payload="6869"))
    assert whole[20:32].hex() == "1011000c1f0815b3cb007107" and whole[38:40] == b"\0\0"
    assert decode(whole)["mark"] == mark and decode(whole)["payload"] == "6869"
    (whole,) = encode(dict(packet, mark=dict(mark, carrier="ipo"), payload="6869"))
    assert whole[0] == 0x47 and decode(whole)["udpChecksum"] == "good" and decode(whole)["headerChecksumGood"]
    reassembler = Reassembler()
    pieces = encode(dict(packet, payload="ab" * 3000, fragmentAt=1480, fragmentOrder=[2, 0, 1]))
    wholes = [reassembler.add(piece) for piece in pieces]
    assert wholes[:2] == [None, None] and wholes[2]["udpChecksum"] == "good" and wholes[2]["sizes"] == [1500, 1500, 68]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["lb", "self-test"])
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--peer", default="ff:ff:ff:ff:ff:ff")
    parser.add_argument("--all", action="store_true", help="also report packets for other hosts")
    arguments = parser.parse_args()
    self_test()
    if arguments.command == "lb":
        LoadBalancer(arguments.interface, arguments.peer, arguments.all).serve()


if __name__ == "__main__":
    main()
