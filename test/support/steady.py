#!/usr/bin/env python3
"""Steady clients behind a load balancer, as the real server's network sees them: plain sockets of the LIPs.

    steady.py RIP PORT --every MILLISECONDS --marks N LIP:LPORT=CLIENT:CPORT...

Each flow sends its datagrams, "A:P NUMBER" after its client, without a pause. The first N have a mark, as a load balancer
sends them whose marks are not acknowledged. {"event": "ready"} once those are out. Ends with its stdin.
"""
import argparse
import ipaddress
import json
import select
import socket
import struct
import sys


def ends(text):
    address, port = text.rsplit(":", 1)
    return address.strip("[]"), int(port)


def mark(client):
    """The option, and for IPv6 the destination options header that it is in."""
    address, port = ends(client)
    packed = ipaddress.ip_address(address).packed
    option = struct.pack("!BBH", 0x1F, 4 + len(packed), port) + packed
    if len(packed) == 4:
        return option
    return b"\0\x02\x1f\x12" + option[2:] + b"\x01\0"


class Flow:
    def __init__(self, text, server, port):
        source, self.client = text.split("=")
        address, lport = ends(source)
        self.is_ipv6 = ":" in address
        self.socket = socket.socket(socket.AF_INET6 if self.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, lport))
        self.target = (server[self.is_ipv6], port)
        self.number = 0

    def options(self, value):
        if self.is_ipv6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, value)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, value)

    def send(self, marks):
        if self.number == 0:
            self.options(mark(self.client))
        if self.number == marks:
            self.options(b"")
        self.number += 1
        self.socket.sendto(("%s %d" % (self.client, self.number)).encode(), self.target)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server", help="RIP,RIP6")
    parser.add_argument("port", type=int)
    parser.add_argument("--every", type=float, default=5)
    parser.add_argument("--marks", type=int, default=3)
    parser.add_argument("flows", nargs="+")
    arguments = parser.parse_args()
    flows = [Flow(text, arguments.server.split(","), arguments.port) for text in arguments.flows]
    rounds = 0
    while not (select.select([0], [], [], arguments.every / 1000)[0] and not sys.stdin.readline()):
        for flow in flows:
            flow.send(arguments.marks)
        rounds += 1
        if rounds == arguments.marks + 1:
            print(json.dumps({"event": "ready"}), flush=True)


main()
