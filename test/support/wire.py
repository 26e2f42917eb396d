#!/usr/bin/env python3
"""UOA on the wire, written a second time: a load balancer for the tests, in plain Python.

It shares nothing with the shim, so that the two can disagree. Run inside a network namespace as

    wire.py lb --interface eth0 --peer 02:00:00:63:01:02 [--all]

it speaks JSON lines. Each line in is a request with an "id", each gets one answer with the same "id":

    {"op": "send", "packets": [PACKET, ...]}        sends them; answers with the bytes of each, in hex
    {"op": "exchange", "packets": [PACKET, ...], "rounds": N, "window": W}
                                                    sends them round after round and waits for as many answers per
                                                    window; answers with a tally instead of events
    {"op": "flood", "packets": [PACKET, ...], "rounds": N}
                                                    sends them round after round, each round with identifications of
                                                    its own
    {"op": "encode", "packets": [PACKET, ...]}      the bytes only
    {"op": "ping"}                                  answers; everything that came before it has been reported

and every IP packet that arrives is a line {"event": "packet", ...}, each datagram made whole from fragments one
more {"event": "datagram", ...}. Packet sockets send and receive: nothing of the namespace's own stack has a say.

PACKET is {"raw": HEX}, or fields: source, sourcePort, destination, destinationPort, payload (hex), mark
({"client", "port", "carrier"}), before and after (hex, options around the mark in its carrier), options (hex, IP
options without a mark in ipo), tos, ttl, identification, dontFragment, checksum ("good", "zero", "bad"),
fragmentAt (bytes of IP payload per fragment), fragmentOrder (a list of positions). Instead of ports and payload:
protocol and body (hex), and fragment ({"offset", "more"}) for that body as a fragment, whatever it may be one of; or
icmp ({"type", "code", "value", "quoted": HEX}), an error.
IPv6, by its addresses: tos is the traffic class, ttl the hop limit, and there are flow (the label) and extensions
([{"type": N, "options": HEX}], ahead of the fragment header and of the options that a mark is in).

wire_encode.py makes packets and wire_decode.py reads them.
"""
import argparse
import json
import select
import socket
import sys

# No cache beside the sources.
sys.dont_write_bytecode = True

from wire_decode import Reassembler, decode  # noqa: E402
from wire_encode import OPP, UDP, encode, option  # noqa: E402

ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD
SO_RCVBUFFORCE = 33
SO_SNDBUFFORCE = 32
PACKET_HOST = 0


def is_ack(seen):
    """An ask, the other kind of marked packet from a real server, names nobody."""
    return bool(seen.get("mark")) and seen["mark"]["port"] != 0


class LoadBalancer:
    def __init__(self, interface, peer, see_all):
        self.interface = interface
        self.peer = bytes.fromhex(peer.replace(":", ""))
        self.sockets = {protocol: self.open(protocol) for protocol in (ETH_P_IP, ETH_P_IPV6)}
        self.see_all = see_all
        self.reassembler = Reassembler()
        self.input = b""

    def open(self, protocol):
        new = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
        new.bind((self.interface, protocol))
        new.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        new.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 16 << 20)
        new.setblocking(False)
        return new

    def serve(self):
        say({"event": "ready"})
        while True:
            readable, _, _ = select.select([0, *self.sockets.values()], [], [])
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
        if operation == "flood":
            return self.flood(request["packets"], request["rounds"])
        packets = [data for packet in request["packets"] for data in encode(packet)]
        if operation == "encode":
            return {"packets": [data.hex() for data in packets]}
        if operation == "exchange":
            return self.exchange(packets, request["rounds"], request["window"])
        for data in packets:
            self.send(data)
        return {"packets": [data.hex() for data in packets]}

    def flood(self, packets, rounds):
        for i in range(rounds):
            for packet in packets:
                for data in encode(dict(packet, identification=packet.get("identification", 0) + i)):
                    self.send(data)
        return {}

    def send(self, data):
        protocol = ETH_P_IPV6 if data[0] >> 4 == 6 else ETH_P_IP
        while True:
            try:
                self.sockets[protocol].sendto(data, (self.interface, protocol, 0, 0, self.peer))
                return
            except (BlockingIOError, OSError) as error:
                if not isinstance(error, BlockingIOError) and error.errno != 105:  # ENOBUFS
                    raise
                select.select([], [self.sockets[protocol]], [], 0.1)

    def comes(self, seconds):
        return select.select(list(self.sockets.values()), [], [], seconds)[0]

    def arrived(self):
        """Packets that came for us so far."""
        for ready in self.sockets.values():
            while True:
                try:
                    data, (_, _, kind, _, _) = ready.recvfrom(65535)
                except BlockingIOError:
                    break
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
            while missing > 0 and self.comes(5):
                for data in self.arrived():
                    seen = decode(data)
                    if seen["protocol"] not in (UDP, OPP):
                        continue
                    good = seen.get("headerChecksumGood", True) and seen.get("udpChecksum") in ("good", "zero")
                    bad += not good
                    if seen.get("mark"):
                        acks += is_ack(seen)
                        continue
                    answered += 1
                    missing -= 1
                    key = "%s:%d" % (seen["destination"], seen["destinationPort"])
                    tally[key] = tally.get(key, 0) + 1
            if missing > 0:
                break
        # What comes in late, ACKs among it, would spoil the next test.
        while self.comes(0.2):
            for data in self.arrived():
                acks += is_ack(decode(data))
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
    self_test6(reassembler)


def self_test6(reassembler):
    packet = {"source": "fd00:99:1::1", "sourcePort": 40000, "destination": "fd00:99:1::2", "destinationPort": 7000}
    mark = {"client": "2001:db8::7", "port": 5555, "carrier": "dstopt"}
    (whole,) = encode(dict(packet, mark=mark, payload="6869"))
    assert whole[6] == 60 and whole[40:64].hex() == "11021f1215b320010db80000000000000000000000070100"
    assert decode(whole)["mark"] == mark and decode(whole)["protocol"] == UDP and decode(whole)["udpChecksum"] == "good"
    (whole,) = encode(dict(packet, mark=dict(mark, client="203.0.113.7"), payload="6869"))
    assert whole[40:56].hex() == "11011f0615b3cb007107010400000000", whole[40:56].hex()
    (whole,) = encode(dict(packet, mark=dict(mark, carrier="opp"), payload="6869"))
    assert whole[6] == OPP and whole[40:48].hex() == "201100181f1415b3" and decode(whole)["udpChecksum"] == "good"
    pieces = encode(dict(packet, mark=mark, payload="ab" * 3000, fragmentAt=1448, fragmentOrder=[2, 1, 0]))
    wholes = [reassembler.add(piece) for piece in pieces]
    assert wholes[:2] == [None, None] and wholes[2]["mark"] == mark and wholes[2]["sizes"] == [1496, 1496, 184]
    assert wholes[2]["udpChecksum"] == "good" and wholes[2]["payload"] == "ab" * 3000


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
