#!/usr/bin/env python3
"""What a UDP application can ask of the kernel beyond recvfrom and sendto. It knows nothing of marks.

    features.py serve PORT [--bind A] [--device NAME] [--reuseport] [--group A] [--gro] [--many] [--label NAME]
                           [--errors] [--answer BYTES] [--segment BYTES] [--interface NAME] [--from A]
                           [--tos N] [--ttl N] [--discover N] [--no-checksum]
        echoes, or answers with so many bytes; --many by recvmmsg and sendmmsg; --interface and --from go into the
        IP_PKTINFO of the answer ("none": without one)
    features.py send SOURCE SPORT DESTINATION DPORT --bytes N [--segment BYTES]
        one send of so many bytes, cut by the kernel (UDP_SEGMENT); ends then

{"event": "ready"}, per datagram {"event": "datagram", "client": "A:P", "payload": HEX, "label", "tos", "ttl",
"interface": NAME and "local", "asked" (ipi_spec_dst, ipi_addr), "original": "A:P" (IP_ORIGDSTADDR), "pieces": bytes
of each (UDP_GRO), "batch": how many came in one call}; an ICMP error is {"event": "error", "error", "client": "A:P",
"offender": A}, a refused answer {"event": "refused", "error"}. Ends with its stdin.
"""
import argparse
import ctypes
import errno
import json
import os
import select
import socket
import struct
import sys

SOL_UDP = 17
IP_TTL = 2
IP_PKTINFO = 8
IP_MTU_DISCOVER = 10
IP_RECVERR = 11
IP_RECVTTL = 12
IP_RECVTOS = 13
IP_RECVORIGDSTADDR = 20
SO_NO_CHECK = 11
SO_RCVBUFFORCE = 33
MSG_ERRQUEUE = 0x2000
MSG_WAITFORONE = 0x10000
UDP_SEGMENT = 103
UDP_GRO = 104
BATCH = 16


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def pattern(length):
    """Bytes that show where a piece is missing or in the wrong place."""
    return b"".join(struct.pack("!I", i) for i in range(length // 4 + 1))[:length]


def endpoint(data):
    """The port and address of a sockaddr_in."""
    return "%s:%d" % (socket.inet_ntoa(data[4:8]), struct.unpack("!H", data[2:4])[0])


# ---- receiving -----------------------------------------------------------------------------------------------


def describe(payload, control, client, more):
    seen = {"event": "datagram", "client": client, "payload": payload.hex(), "pieces": [len(payload)], "batch": 1, **more}
    for level, name, data in control:
        if level == SOL_UDP and name == UDP_GRO:
            size = struct.unpack("=i", data[:4])[0]
            seen["pieces"] = [len(payload[i : i + size]) for i in range(0, len(payload), size)]
        elif level == socket.IPPROTO_IP and name == IP_PKTINFO:
            index, local, asked = struct.unpack("=I4s4s", data[:12])
            seen["interface"] = socket.if_indextoname(index) if index else ""
            seen["local"], seen["asked"] = socket.inet_ntoa(local), socket.inet_ntoa(asked)
        elif level == socket.IPPROTO_IP and name == IP_TTL:
            seen["ttl"] = struct.unpack("=i", data[:4])[0]
        elif level == socket.IPPROTO_IP and name == socket.IP_TOS:
            seen["tos"] = data[0]
        elif level == socket.IPPROTO_IP and name == IP_RECVORIGDSTADDR:
            seen["original"] = endpoint(data)
    return seen


class Error(ctypes.Structure):
    """struct sock_extended_err; the offender's address is behind it."""

    _fields_ = [("errno", ctypes.c_uint32), ("origin", ctypes.c_uint8), ("type", ctypes.c_uint8), ("code", ctypes.c_uint8)]


def report_errors(server):
    while True:
        try:
            _, control, _, about = server.recvmsg(65535, 1024, MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        for level, name, data in control:
            if level == socket.IPPROTO_IP and name == IP_RECVERR:
                code = Error.from_buffer_copy(data).errno
                say({"event": "error", "error": errno.errorcode[code], "client": "%s:%d" % about, "offender": socket.inet_ntoa(data[20:24])})


# ---- many at a time ------------------------------------------------------------------------------------------


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("header", Msghdr), ("length", ctypes.c_uint32)]


class Many:
    """recvmmsg, and sendmmsg of the same buffers: an echo of a batch."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.messages = (Mmsghdr * BATCH)()
        self.buffers = [(ctypes.create_string_buffer(2048), ctypes.create_string_buffer(16), Iovec()) for _ in range(BATCH)]
        self.forget()

    def forget(self):
        for message, (data, name, iov) in zip(self.messages, self.buffers):
            iov.base, iov.length = ctypes.addressof(data), len(data)
            header = message.header
            header.name, header.namelen = ctypes.addressof(name), len(name)
            header.iov, header.iovlen = ctypes.pointer(iov), 1

    def echo(self, server, more):
        count = self.libc.recvmmsg(server.fileno(), self.messages, BATCH, MSG_WAITFORONE, None)
        if count < 0:
            raise OSError(ctypes.get_errno(), "recvmmsg")
        for message, (data, name, iov) in zip(self.messages[:count], self.buffers):
            iov.length = message.length
            say(dict(describe(data.raw[: message.length], [], endpoint(name.raw), more), batch=count))
        sent = self.libc.sendmmsg(server.fileno(), self.messages, count, 0)
        if sent != count:
            raise OSError(ctypes.get_errno(), "sendmmsg sent %d of %d" % (sent, count))
        self.forget()


# ---- commands ------------------------------------------------------------------------------------------------


def open_server(arguments):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    wanted = [IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR] + ([IP_RECVERR] if arguments.errors else [])
    for name in wanted:
        server.setsockopt(socket.IPPROTO_IP, name, 1)
    for level, name, value in (
        (socket.SOL_SOCKET, socket.SO_REUSEPORT, arguments.reuseport),
        (socket.SOL_SOCKET, socket.SO_BROADCAST, 1),
        (socket.SOL_SOCKET, SO_NO_CHECK, arguments.no_checksum),
        (SOL_UDP, UDP_GRO, arguments.gro),
        (SOL_UDP, UDP_SEGMENT, arguments.segment),
        (socket.IPPROTO_IP, socket.IP_TOS, arguments.tos),
        (socket.IPPROTO_IP, IP_TTL, arguments.ttl),
        (socket.IPPROTO_IP, IP_MTU_DISCOVER, arguments.discover),
    ):
        if value is not None:
            server.setsockopt(level, name, int(value))
    if arguments.device:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, arguments.device.encode())
    if arguments.group:
        index = socket.if_nametoindex("eth0")
        server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("=4s4si", socket.inet_aton(arguments.group), b"\0" * 4, index))
    server.bind((arguments.bind, arguments.port))
    return server


def serve(arguments):
    server = open_server(arguments)
    more = {"label": arguments.label}
    control = []
    if arguments.interface is not None or arguments.source is not None:
        index = socket.if_nametoindex(arguments.interface) if arguments.interface else 0
        info = struct.pack("=I4s4s", index, socket.inet_aton(arguments.source or "0.0.0.0"), b"\0" * 4)
        control = [(socket.IPPROTO_IP, IP_PKTINFO, info)]
    many = Many() if arguments.many else None
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.register(0, select.POLLIN)
    say({"event": "ready"})
    while True:
        events = dict(poll.poll())
        if 0 in events and not os.read(0, 4096):
            return
        ready = events.get(server.fileno(), 0)
        if ready & select.POLLERR:
            report_errors(server)
        if not ready & select.POLLIN:
            continue
        if many:
            many.echo(server, more)
            continue
        payload, received, _, peer = server.recvmsg(65535, 1024)
        say(describe(payload, received, "%s:%d" % peer, more))
        try:
            server.sendmsg([pattern(arguments.answer) or payload], control, 0, peer)
        except OSError as error:
            say({"event": "refused", "error": errno.errorcode[error.errno]})


def send(arguments):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.bind((arguments.source, arguments.sport))
    client.setsockopt(SOL_UDP, UDP_SEGMENT, arguments.segment)
    say({"event": "ready"})
    client.sendto(pattern(arguments.bytes), (arguments.destination, arguments.dport))


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("serve")
    command.add_argument("port", type=int)
    command.add_argument("--bind", default="0.0.0.0")
    command.add_argument("--label", default="")
    for name in ("--device", "--group", "--interface"):
        command.add_argument(name)
    command.add_argument("--from", dest="source")
    for name in ("--reuseport", "--gro", "--many", "--errors", "--no-checksum"):
        command.add_argument(name, action="store_true", default=None)
    for name in ("--segment", "--tos", "--ttl", "--discover"):
        command.add_argument(name, type=int)
    command.add_argument("--answer", type=int, default=0)
    command.set_defaults(run=serve)
    command = commands.add_parser("send")
    command.add_argument("source")
    command.add_argument("sport", type=int)
    command.add_argument("destination")
    command.add_argument("dport", type=int)
    command.add_argument("--bytes", type=int, required=True)
    command.add_argument("--segment", type=int, default=0)
    command.set_defaults(run=send)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
