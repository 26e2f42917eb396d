#!/usr/bin/env python3
"""Many datagrams at once, by the kernel's own means (UDP_SEGMENT, UDP_GRO), and a look at what is on the wire.

    super-packets.py app ADDRESS PORT [--gro]
        receives; answers from the same socket on demand
    super-packets.py client
        sends; each command names its own ends
    super-packets.py sniff INTERFACE ADDRESS...
        looks at all UDP datagrams that come in on an interface from these addresses

All take commands on stdin, a JSON object a line, and answer each with one line that has its id; they end with their
stdin.

    all     {"id": N, ...
    app     {"do": "tally"} {"do": "reply", "client": [A, P], "flow": N, ...BURST}
    client  {"do": "send", "source": [A, P], "destination": [A, P], "flow": N, "mark": HEX or "", ...BURST}
            {"do": "corrupt", "source": ..., "destination": ..., "flow": N, "size": N, "numbers": [N...]}
    sniff   {"do": "tally"}
    BURST   "first": N, "count": N, "size": N, "last": N, "segments": N
            `count` datagrams of `size` bytes from number `first` on, the last one of `last`, `segments` per send()

A tally: {"flows": {"FLOW from A:P to A:P": {"count": N, "next": N}}, "faults": [TEXT...], "calls": N, "longest": N}.
A datagram is its flow, its number and bytes that follow from both, so that any wrong one shows.
"""
import argparse
import json
import select
import socket
import struct
import sys

SO_RCVBUFFORCE = 33
UDP_SEGMENT = 103
UDP_GRO = 104
IPV6_DSTOPTS = 59
IPPROTO_RAW = 255
ETH_P_ALL = 3
PACKET_OUTGOING = 4
HEAD = struct.Struct("!II")


def payload_of(flow, number, size):
    body = bytes((flow * 31 + number * 7 + i) & 0xFF for i in range(251)) * (size // 251 + 1)
    return (HEAD.pack(flow, number) + body)[:size]


class Tally:
    """What came, and what is wrong with it: datagrams of a flow count up from 0."""

    def __init__(self):
        self.flows = {}
        self.faults = []
        self.calls = 0
        self.longest = 0

    def fault(self, text):
        if len(self.faults) < 20:
            self.faults.append(text)

    def add(self, payload, source, destination):
        if len(payload) < HEAD.size:
            self.fault("%d bytes from %s" % (len(payload), source))
            return
        flow, number = HEAD.unpack_from(payload)
        name = "%d from %s to %s" % (flow, source, destination)
        known = self.flows.setdefault(name, {"count": 0, "next": 0})
        if payload != payload_of(flow, number, len(payload)):
            self.fault("%s: number %d has wrong bytes" % (name, number))
        if number < known["next"]:
            self.fault("%s: number %d after %d" % (name, number, known["next"] - 1))
        known["count"] += 1
        known["next"] = number + 1

    def report(self):
        return vars(self)


def serve(handlers, commands):
    """Calls each handler when its socket is readable, and answers commands."""
    say({"event": "ready"})
    while True:
        readable, _, _ = select.select([*handlers, 0], [], [])
        for source in readable:
            if source != 0:
                handlers[source]()
        if 0 in readable:
            line = sys.stdin.readline()
            if not line:
                return
            command = json.loads(line)
            number = command.pop("id")
            say({"id": number, **(commands[command.pop("do")](**command) or {})})


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def endpoint(address, port):
    return ("[%s]:%d" if ":" in address else "%s:%d") % (address, port)


def burst(sender, to, flow, first, count, size, last, segments):
    sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size if segments > 1 else 0)
    numbers = list(range(first, first + count))
    for at in range(0, count, segments):
        parts = [payload_of(flow, n, last if n == numbers[-1] else size) for n in numbers[at : at + segments]]
        sender.sendto(b"".join(parts), to)


# ---- app -----------------------------------------------------------------------------------------------------


def app(arguments):
    server = socket.socket(family_of(arguments.address), socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    if arguments.gro:
        server.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    server.bind((arguments.address, arguments.port))
    tally = Tally()
    local = endpoint(arguments.address, arguments.port)

    def receive():
        for _ in range(100):
            try:
                data, control, _, peer = server.recvmsg(65535, 1024, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            size = len(data)
            for level, name, value in control:
                if level == socket.IPPROTO_UDP and name == UDP_GRO:
                    size = struct.unpack("=i", value[:4])[0]
            tally.calls += 1
            tally.longest = max(tally.longest, len(data))
            for at in range(0, len(data), size):
                tally.add(data[at : at + size], endpoint(*peer[:2]), local)

    def reply(client, **more):
        burst(server, tuple(client), **more)

    serve({server: receive}, {"tally": tally.report, "reply": reply})


# ---- client --------------------------------------------------------------------------------------------------


def client(_):
    sockets = {}

    def socket_from(source):
        key = tuple(source)
        if key not in sockets:
            new = socket.socket(family_of(key[0]), socket.SOCK_DGRAM)
            new.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
            new.bind(key)
            sockets[key] = new
        return sockets[key]

    def send(source, destination, mark, **more):
        sender = socket_from(source)
        options = bytes.fromhex(mark)
        if sender.family == socket.AF_INET:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, options)
        elif options:
            sender.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, destination_options(options))
        else:
            sender.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, b"")
        burst(sender, tuple(destination), **more)

    def corrupt(source, destination, flow, size, numbers):
        """Datagrams of the same flow with a bit wrong on their way."""
        raw = socket.socket(family_of(source[0]), socket.SOCK_RAW, IPPROTO_RAW)
        for number in numbers:
            payload = bytearray(payload_of(flow, number, size))
            packet = datagram(source, destination, payload)
            packet[-1] ^= 0x10
            raw.sendto(packet, (destination[0], 0))

    serve({}, {"send": send, "corrupt": corrupt})


def destination_options(options):
    """The header that holds them: its own number is filled in by the kernel."""
    missing = -(2 + len(options)) % 8
    padding = b"" if missing == 0 else b"\0" if missing == 1 else bytes([1, missing - 2]) + bytes(missing - 2)
    body = options + padding
    return bytes([0, (2 + len(body)) // 8 - 1]) + body


def checksum(data):
    data = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


def pseudo_header(source, destination, length):
    return source + destination + struct.pack("!II", length, socket.IPPROTO_UDP)


def datagram(source, destination, payload):
    """A whole packet, its checksums right."""
    family = family_of(source[0])
    ends = [socket.inet_pton(family, end[0]) for end in (source, destination)]
    length = 8 + len(payload)
    udp = bytearray(struct.pack("!HHHH", source[1], destination[1], length, 0) + payload)
    udp[6:8] = struct.pack("!H", checksum(pseudo_header(*ends, length) + bytes(udp)) or 0xFFFF)
    if family == socket.AF_INET6:
        return bytearray(struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_UDP, 64) + b"".join(ends) + udp)
    header = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, 17, 0) + b"".join(ends))
    header[10:12] = struct.pack("!H", checksum(bytes(header)))
    return header + udp


# ---- sniff ---------------------------------------------------------------------------------------------------


def sniff(arguments):
    watcher = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    watcher.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    watcher.bind((arguments.interface, ETH_P_ALL))
    wanted = set(arguments.addresses)
    tally = Tally()

    def look(packet):
        if packet[0] >> 4 == 6:
            header, family, ends, protocol = 40, socket.AF_INET6, (packet[8:24], packet[24:40]), packet[6]
            length = 40 + struct.unpack_from("!H", packet, 4)[0]
        else:
            header, family, protocol = (packet[0] & 15) * 4, socket.AF_INET, packet[9]
            ends = (packet[12:16], packet[16:20])
            length = struct.unpack_from("!H", packet, 2)[0]
        source, destination = (socket.inet_ntop(family, end) for end in ends)
        if protocol != socket.IPPROTO_UDP or source not in wanted:
            return
        name = "%s > %s" % (source, destination)
        if family == socket.AF_INET and checksum(packet[:header]) != 0:
            tally.fault("%s: header checksum" % name)
        packet = packet[:length]
        udp = packet[header:]
        from_port, to_port, udp_length, sent = struct.unpack_from("!HHHH", udp)
        if udp_length != len(udp):
            tally.fault("%s: %d bytes of UDP, not %d" % (name, len(udp), udp_length))
        if sent == 0 or checksum(pseudo_header(*ends, len(udp)) + udp) != 0:
            tally.fault("%s: UDP checksum %04x" % (name, sent))
        tally.calls += 1
        tally.longest = max(tally.longest, len(packet))
        if len(udp) > 8:
            tally.add(udp[8:], endpoint(source, from_port), endpoint(destination, to_port))

    def receive():
        for _ in range(100):
            try:
                packet, sender = watcher.recvfrom(65535, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if sender[2] != PACKET_OUTGOING and packet[0] >> 4 in (4, 6):
                look(packet)

    serve({watcher: receive}, {"tally": tally.report})


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("app")
    one.add_argument("address")
    one.add_argument("port", type=int)
    one.add_argument("--gro", action="store_true")
    one.set_defaults(run=app)
    commands.add_parser("client").set_defaults(run=client)
    one = commands.add_parser("sniff")
    one.add_argument("interface")
    one.add_argument("addresses", nargs="+")
    one.set_defaults(run=sniff)
    arguments = parser.parse_args()
    arguments.run(arguments)


main()
