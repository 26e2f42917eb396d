#!/usr/bin/env python3
"""Clients of a load balancer: many ordinary UDP sockets in one program, each bound to an address and a port.

Run inside a network namespace as `lb-clients.py`; it speaks JSON lines. Each line in is a request with an "id", each
gets one answer with the same "id". A socket is named "A:P" (or "[A]:P") and opened where it is first named.

    {"op": "send", "from": "A:P", "target": "A:P", "payloads": [HEX, ...]}     sends them back to back; also
        "options": HEX of IP options (IPv6: destination options), "checksum": false, "segment": BYTES (UDP_SEGMENT),
        "ttl": N, "dontFragment": false or "ever" (for IPv6 as well: never in pieces, whatever is known of the path),
        "connect": true. Answers {"refused": N}, how many the socket found too large itself
    {"op": "mtu", "from": "A:P"}        answers {"mtu": BYTES} of the path, as a connected socket knows it
    {"op": "talk", "from": ["A:P", ...], "target": "A:P", "rounds": N}
        each says "A:P number" and waits for that to come back, N times over; with "burst": N it says so many before it
        waits for all of them; "together": N so many talk at a time. Answers {"sent", "answered", "lost": [TEXT, ...]}
    {"op": "stream", "from": ["A:P", ...], "target": "A:P", "visitors": ["A", FIRST, LAST]}
        they talk on and on until {"op": "halt"}; and besides, one after the other, visitors from all those ports say
        one thing each. Answers at once, and the halt like `talk`, with "visitors": {"sent", "answered", "lost"}
    {"op": "swarm", "address": "A", "ports": [FIRST, LAST], "target": "A:P", "every": SECONDS}
        one socket more each time, from all those ports, and all that are there say "A:P number" each time, whether they
        are answered or not, until {"op": "halt"}. Answers at once, and the halt with {"sent": N}
    {"op": "ping"}  answers; everything that came before it has been reported

Whatever comes that isn't the answer to something said is a line {"event": "answer", "client", "peer", "payload": HEX};
so is an answer from anybody but the target. Errors on a socket are lines {"event": "error", "client", "error"}.
"""
import collections
import errno
import json
import select
import socket
import sys
import time

SO_NO_CHECK = 11
SO_RCVBUFFORCE = 33
IP_TTL = 2
IP_OPTIONS = 4
IP_MTU_DISCOVER = 10
IP_MTU = 14
IPV6_MTU_DISCOVER = 23
IPV6_MTU = 24
UDP_NO_CHECK6_TX = 101
UDP_SEGMENT = 103
# IP_PMTUDISC_DONT, _WANT and _DO; IPv6's are the same.
DISCOVER = {False: 0, True: 1, "ever": 2}
# Seconds after which a datagram counts as lost: more than the slowest machine needs.
PATIENCE = 5


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def endpoint(text):
    address, port = text.rsplit(":", 1)
    return address.strip("[]"), int(port)


def named(peer):
    address, port = peer[:2]
    return "[%s]:%d" % (address, port) if ":" in address else "%s:%d" % (address, port)


def destination_options(options):
    """A whole header, as IPV6_DSTOPTS wants it: padded with Pad1s to a multiple of 8 bytes."""
    if not options:
        return b""
    size = (2 + len(options) + 7) // 8
    return bytes([0, size - 1]) + options.ljust(size * 8 - 2, b"\0")


class Tally:
    def __init__(self):
        self.sent = self.answered = 0
        self.lost = []

    def report(self):
        return {"sent": self.sent, "answered": self.answered, "lost": self.lost}


class Talker:
    """One socket's part of a conversation: a burst, and the next one as soon as all of it is answered."""

    def __init__(self, name, rounds, burst, tally):
        self.name, self.rounds, self.burst, self.tally = name, rounds, burst, tally
        self.number = 0
        self.waiting = set()
        self.since = 0

    def next_burst(self):
        self.rounds -= 1
        self.since = time.monotonic()
        texts = [f"{self.name} {self.number + i}" for i in range(self.burst)]
        self.number += self.burst
        self.tally.sent += self.burst
        self.waiting = set(texts)
        return texts

    def hear(self, text):
        if text not in self.waiting:
            return False
        self.waiting.remove(text)
        self.tally.answered += 1
        return True

    @property
    def is_waiting(self):
        if self.waiting and time.monotonic() - self.since > PATIENCE:
            self.tally.lost += sorted(self.waiting)
            self.waiting = set()
        return bool(self.waiting)


class Clients:
    def __init__(self):
        self.poll = select.epoll()
        self.poll.register(0, select.EPOLLIN)
        self.sockets = {}
        self.names = {}
        self.talkers = {}
        self.target = None
        self.input = b""

    def open(self, name):
        if name not in self.sockets:
            new = socket.socket(socket.AF_INET6 if name.startswith("[") else socket.AF_INET, socket.SOCK_DGRAM)
            new.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
            new.setblocking(False)
            new.bind(endpoint(name))
            self.sockets[name] = new
            self.names[new.fileno()] = name
            self.poll.register(new.fileno(), select.EPOLLIN)
        return self.sockets[name]

    # ---- what comes ------------------------------------------------------------------------------------------

    def turn(self, timeout):
        for fd, _ in self.poll.poll(timeout):
            if fd in self.names:
                self.receive(self.names[fd])
            else:
                chunk = sys.stdin.buffer.raw.read(1 << 16)
                if not chunk:
                    sys.exit()
                self.input += chunk

    def receive(self, name):
        while True:
            try:
                payload, peer = self.sockets[name].recvfrom(65535)
            except BlockingIOError:
                return
            except OSError as error:
                say({"event": "error", "client": name, "error": error.strerror})
                continue
            talker = self.talkers.get(name)
            if not (talker and peer[:2] == self.target and talker.hear(payload.decode("latin-1"))):
                say({"event": "answer", "client": name, "peer": named(peer), "payload": payload.hex()})

    # ---- what is said ----------------------------------------------------------------------------------------

    def transmit(self, sender, payload, target):
        while True:
            try:
                sender.sendto(payload, target)
                return
            except BlockingIOError:
                select.select([], [sender], [], 0.1)

    def send(self, request):
        sender, target = self.open(request["from"]), endpoint(request["target"])
        options = bytes.fromhex(request.get("options", ""))
        unchecked = int(not request.get("checksum", True))
        discover = DISCOVER[request.get("dontFragment", True)]
        hops = request.get("ttl", 64)
        if sender.family == socket.AF_INET6:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, destination_options(options))
            sender.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_TX, unchecked)
            sender.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, discover)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        else:
            sender.setsockopt(socket.IPPROTO_IP, IP_OPTIONS, options)
            sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, unchecked)
            sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, discover)
            sender.setsockopt(socket.IPPROTO_IP, IP_TTL, hops)
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, request.get("segment", 0))
        if request.get("connect"):
            sender.connect(target)
        refused = 0
        for payload in request["payloads"]:
            try:
                self.transmit(sender, bytes.fromhex(payload), target)
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                refused += 1
        return {"refused": refused}

    def mtu(self, request):
        asked = self.open(request["from"])
        of = (socket.IPPROTO_IPV6, IPV6_MTU) if asked.family == socket.AF_INET6 else (socket.IPPROTO_IP, IP_MTU)
        return {"mtu": asked.getsockopt(*of)}

    def join(self, name, rounds, burst, tally):
        self.open(name)
        self.talkers[name] = Talker(name, rounds, burst, tally)

    def go_on(self):
        """Lets everyone who isn't waiting say something; who has nothing left to say goes."""
        for talker in list(self.talkers.values()):
            if talker.is_waiting:
                continue
            if talker.rounds <= 0:
                del self.talkers[talker.name]
                continue
            for text in talker.next_burst():
                self.transmit(self.sockets[talker.name], text.encode(), self.target)

    def talk(self, request):
        self.target = endpoint(request["target"])
        tally = Tally()
        waiting = collections.deque(request["from"])
        while waiting or self.talkers:
            while waiting and len(self.talkers) < request["together"]:
                self.join(waiting.popleft(), request["rounds"], request["burst"], tally)
            self.go_on()
            if self.talkers:
                self.turn(0.05)
        return tally.report()

    def stream(self, request):
        self.target = endpoint(request["target"])
        known, visitors = Tally(), Tally()
        for name in request["from"]:
            self.join(name, sys.maxsize, 1, known)
        address, first, last = request["visitors"]
        coming = (named((address, port)) for port in range(first, last))
        visitor = None
        say({"id": request["id"]})
        halt = None
        while self.talkers:
            if visitor not in self.talkers and not halt:
                visitor = next(coming, None)
                if visitor:
                    self.join(visitor, 1, 1, visitors)
            self.go_on()
            self.turn(0.01)
            # Whoever starts or stops beside this gets a share of the machine.
            time.sleep(0.004)
            halt = halt or self.next_request()
            if halt:
                for talker in self.talkers.values():
                    talker.rounds = 0
        say({"id": halt["id"], **known.report(), "visitors": visitors.report()})

    def swarm(self, request):
        target = endpoint(request["target"])
        first, last = request["ports"]
        coming = [named((request["address"], port)) for port in range(first, last)]
        members = []
        sent = number = 0
        say({"id": request["id"]})
        due = time.monotonic()
        halt = None
        while not halt:
            if coming:
                members.append(coming.pop(0))
            for name in members:
                self.transmit(self.open(name), f"{name} {number}".encode(), target)
            sent += len(members)
            number += 1
            due += request["every"]
            while not halt and time.monotonic() < due:
                self.turn(max(0, due - time.monotonic()))
                halt = self.next_request()
            halt = halt or self.next_request()
        say({"id": halt["id"], "sent": sent})

    # ---- requests --------------------------------------------------------------------------------------------

    def next_request(self):
        line, end, rest = self.input.partition(b"\n")
        if not end:
            return None
        self.input = rest
        return json.loads(line)

    def serve(self):
        say({"event": "ready"})
        while True:
            request = self.next_request()
            if request is None:
                self.turn(-1)
            elif request["op"] == "stream":
                self.stream(request)
            elif request["op"] == "swarm":
                self.swarm(request)
            elif request["op"] == "ping":
                self.turn(0)
                say({"id": request["id"]})
            else:
                say({"id": request["id"], **{"send": self.send, "talk": self.talk, "mtu": self.mtu}[request["op"]](request)})


if __name__ == "__main__":
    Clients().serve()
