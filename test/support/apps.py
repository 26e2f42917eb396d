#!/usr/bin/env python3
"""Ordinary UDP applications, in plain Python: they know nothing of marks. Each says in JSON lines what it sees.

    apps.py echo PORT [--bind ADDRESS] [--answer BYTES] [--segment BYTES] [--silent] [--quiet]
        answers from the socket that it receives on (wildcard unless bound), with the payload or so many bytes, cut
        into datagrams of a size by the kernel (UDP_SEGMENT)
    apps.py connected PORT [--bind ADDRESS]
        per client a socket of its own, bound to the same port and connected to the client, that answers
    apps.py push PORT [--bind ADDRESS] [--every MILLISECONDS]
        answers nothing, but sends "push A:P" to every peer that it has heard of, A:P, again and again
    apps.py query ADDRESS PORT [--payload HEX] [--connect] [--from PORT]
        sends a datagram from a socket of its own, and says what comes back

{"event": "ready"}, then per datagram {"event": "datagram", "client": "A:P", "local": "A", "payload": HEX, "options":
HEX of the IP options, "tos": N, "ttl": N, "socket": "wildcard" | "bound" | "connected"}. With --quiet only a line
{"event": "tally", "clients": {"A:P": N}} for each line on stdin; so does push, which tells by "A:P WORD", the first
word of the payload, who sent it. All end with their stdin. An error that a socket is
told of is {"event": "error", "client": "A:P", "error": TEXT}.

IPv6 by the address, "[A]:P" as text: options are destination options, tos is the traffic class, ttl the hop limit, and
there is "flow", the label. A socket bound to :: is for IPv6 alone, but for --dual.
"""
import argparse
import json
import select
import socket
import struct
import sys
import time

IP_TTL = 2
IP_RECVOPTS = 6
IP_PKTINFO = 8
IP_RECVTTL = 12
IP_RECVTOS = 13
IPV6_FLOWINFO = 11
SO_RCVBUFFORCE = 33
UDP_SEGMENT = 103


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def is_ipv6(address):
    return ":" in address


def ends(peer):
    """An address and port as text."""
    return "[%s]:%d" % peer[:2] if is_ipv6(peer[0]) else "%s:%d" % peer


def udp_socket(address, port, dual=False):
    new = socket.socket(socket.AF_INET6 if is_ipv6(address) else socket.AF_INET, socket.SOCK_DGRAM)
    new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    new.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    if is_ipv6(address):
        new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        wanted = ("RECVPKTINFO", "RECVHOPLIMIT", "RECVTCLASS", "RECVDSTOPTS")
        for name in [getattr(socket, "IPV6_" + name) for name in wanted] + [IPV6_FLOWINFO]:
            new.setsockopt(socket.IPPROTO_IPV6, name, 1)
    else:
        for name in (IP_RECVOPTS, IP_PKTINFO, IP_RECVTTL, IP_RECVTOS):
            new.setsockopt(socket.IPPROTO_IP, name, 1)
    new.bind((address, port))
    return new


def local_address(control):
    """The address that was asked for, as a server learns it from IP_PKTINFO."""
    for level, name, data in control:
        if (level, name) == (socket.IPPROTO_IP, IP_PKTINFO):
            return socket.inet_ntoa(data[8:12])
        if (level, name) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return socket.inet_ntop(socket.AF_INET6, data[:16])


def describe(payload, control, peer, kind):
    """What an application can learn of a datagram."""
    seen = {"event": "datagram", "client": ends(peer), "local": local_address(control)}
    seen.update(payload=payload.hex(), options="", socket=kind)
    for level, name, data in control:
        if level == socket.IPPROTO_IPV6:
            if name == socket.IPV6_DSTOPTS:
                seen["options"] += data.hex()
            elif name == socket.IPV6_HOPLIMIT:
                seen["ttl"] = struct.unpack("=i", data)[0]
            elif name == socket.IPV6_TCLASS:
                seen["tos"] = struct.unpack("=i", data)[0]
            elif name == IPV6_FLOWINFO:
                seen["flow"] = struct.unpack("!I", data)[0] & 0xFFFFF
        elif name == IP_RECVOPTS:
            seen["options"] = data.hex()
        elif name == IP_TTL:
            seen["ttl"] = struct.unpack("=i", data)[0]
        elif name == socket.IP_TOS:
            seen["tos"] = data[0]
    return seen


def pattern(length):
    """Bytes that show where a piece is missing or in the wrong place."""
    return b"".join(struct.pack("!I", i) for i in range(length // 4 + 1))[:length]


def echo(arguments):
    server = udp_socket(arguments.bind, arguments.port, arguments.dual)
    kind = "wildcard" if arguments.bind in ("0.0.0.0", "::") else "bound"
    if arguments.segment:
        server.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, arguments.segment)
    tally = {}
    say({"event": "ready"})
    while True:
        readable, _, _ = select.select([server, 0], [], [])
        if server in readable:
            payload, control, _, peer = server.recvmsg(65535, 1024)
            if arguments.quiet:
                key = ends(peer)
                tally[key] = tally.get(key, 0) + 1
            else:
                say(describe(payload, control, peer, kind))
            if not arguments.silent:
                server.sendto(pattern(arguments.answer) or payload, peer)
        elif not sys.stdin.readline():
            return
        else:
            say({"event": "tally", "clients": tally})
            tally = {}


def connected(arguments):
    listener = udp_socket(arguments.bind, arguments.port)
    sockets = {listener}
    say({"event": "ready"})
    while True:
        readable, _, _ = select.select([0, *sockets], [], [])
        if 0 in readable and not sys.stdin.readline():
            return
        for ready in sockets & set(readable):
            try:
                payload, control, _, peer = ready.recvmsg(65535, 1024)
            except OSError as error:
                say({"event": "error", "client": ends(ready.getpeername()), "error": error.strerror})
                continue
            say(describe(payload, control, peer, "wildcard" if ready is listener else "connected"))
            if ready is listener:
                ready = udp_socket(local_address(control), arguments.port)
                ready.connect(peer)
                sockets.add(ready)
            ready.send(payload)


def push(arguments):
    server = udp_socket(arguments.bind, arguments.port)
    peers = {}
    tally = {}
    say({"event": "ready"})
    due = time.monotonic()
    while True:
        readable, _, _ = select.select([server, 0], [], [], max(0, due - time.monotonic()))
        if time.monotonic() >= due:
            due = time.monotonic() + arguments.every / 1000
            for name, peer in peers.items():
                server.sendto(("push " + name).encode(), peer)
        if server in readable:
            payload, peer = server.recvfrom(65535)
            peers.setdefault(ends(peer), peer)
            key = "%s %s" % (ends(peer), payload.decode().split(" ")[0])
            tally[key] = tally.get(key, 0) + 1
        elif 0 in readable:
            if not sys.stdin.readline():
                return
            say({"event": "tally", "clients": tally})
            tally = {}


def query(arguments):
    client = socket.socket(socket.AF_INET6 if is_ipv6(arguments.address) else socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(5)
    if arguments.source:
        client.bind(("", arguments.source))
    target = (arguments.address, arguments.port)
    payload = bytes.fromhex(arguments.payload)
    if arguments.connect:
        client.connect(target)
        client.send(payload)
    else:
        client.sendto(payload, target)
    try:
        answer, peer = client.recvfrom(65535)
        say({"event": "answer", "peer": ends(peer), "payload": answer.hex()})
    except OSError as error:
        say({"event": "error", "error": str(error)})


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("echo")
    command.add_argument("port", type=int)
    command.add_argument("--bind", default="0.0.0.0")
    command.add_argument("--answer", type=int, default=0)
    command.add_argument("--segment", type=int, default=0)
    command.add_argument("--silent", action="store_true")
    command.add_argument("--dual", action="store_true")
    command.add_argument("--quiet", action="store_true")
    command.set_defaults(run=echo)
    command = commands.add_parser("connected")
    command.add_argument("port", type=int)
    command.add_argument("--bind", default="0.0.0.0")
    command.set_defaults(run=connected)
    command = commands.add_parser("push")
    command.add_argument("port", type=int)
    command.add_argument("--bind", default="0.0.0.0")
    command.add_argument("--every", type=float, default=10)
    command.set_defaults(run=push)
    command = commands.add_parser("query")
    command.add_argument("address")
    command.add_argument("port", type=int)
    command.add_argument("--payload", default="")
    command.add_argument("--connect", action="store_true")
    command.add_argument("--from", dest="source", type=int, default=0)
    command.set_defaults(run=query)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
