#!/usr/bin/env python3
"""A UDP service that never lets its datagrams be fragmented (IP_MTU_DISCOVER, DO), and says what the kernel says.

    sender.py PORT --bind ADDRESS [--connect] [--fragment]

waits for one datagram, {"event": "client", "client": "A:P"}, connects to its sender with --connect, and then answers
with N bytes for each line N on stdin: {"event": "sent", "bytes": N, "error": NAME or null, "mtu": what IP_MTU says of
the path to the client}. With --fragment (IP_PMTUDISC_WANT) the kernel may cut them. Ends with its stdin.
"""
import argparse
import errno
import json
import socket
import sys

IP_MTU_DISCOVER = 10
IP_MTU = 14
IPV6_MTU_DISCOVER = 23
IPV6_MTU = 24
WANT = 1
DO = 2


def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def path_mtu(server, client):
    """As a socket of its own on the same port finds it, connected to the client."""
    probe = socket.socket(server.family, socket.SOCK_DGRAM)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(server.getsockname())
    probe.connect(client)
    v6 = server.family == socket.AF_INET6
    found = probe.getsockopt(socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, IPV6_MTU if v6 else IP_MTU)
    probe.close()
    return found


def send(server, client, connected, length):
    try:
        if connected:
            server.send(b"z" * length)
        else:
            server.sendto(b"z" * length, client)
        return None
    except OSError as error:
        return errno.errorcode[error.errno]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--bind", default="0.0.0.0")
    parser.add_argument("--connect", action="store_true")
    parser.add_argument("--fragment", action="store_true")
    arguments = parser.parse_args()
    v6 = ":" in arguments.bind
    server = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    discover = WANT if arguments.fragment else DO
    if v6:
        server.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, discover)
    else:
        server.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, discover)
    server.bind((arguments.bind, arguments.port))
    say(event="ready")
    _, client = server.recvfrom(65535)
    say(event="client", client=("[%s]:%d" if v6 else "%s:%d") % client[:2])
    if arguments.connect:
        server.connect(client)
    for line in sys.stdin:
        length = int(line)
        error = send(server, client, arguments.connect, length)
        say(event="sent", bytes=length, error=error, mtu=path_mtu(server, client))


main()
