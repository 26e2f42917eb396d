#!/usr/bin/env python3
"""How many packets overtake others of their flow at the load balancer: those of a released flow, the last ones in the TUN.

    client ns            LB ns: nftables and uoa-shim                       RS ns: tcpdump, and uoa-shim (--ack) or
    many clients ------- eth0 198.51.100.10 VIP    eth1 10.10.2.1-.4 LIPs --- eth0 10.10.2.2        none (--no-ack)

    order.py [--flows N] [--burst N] [--gap N] [--rate N] [--carrier ipo|opp] [--max-trails N] [--ack|--no-ack] [--json]

Flows of --burst packets each are sent as fast as one core can, or so many packets a second (--rate). With --gap 1 a
flow's packets go back to back, which is the worst case; with --gap N packets of N flows go by turns. What arrives is
taken down on the RS's interface, in its order, and read afterwards:

    late        packets that arrive behind a later one of their flow
    unnamed     packets that arrive ahead of their flow's first mark: there must not be any. Their client is unknown to
                the RS, or another one, whose LIP:lport it was before
    mixed       flows with a late packet

Needs root, a build (npm run build), ip, nft, tcpdump and python3. All of it goes in network namespaces of its own, and
is gone afterwards.
"""
import argparse
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "dist", "cli", "main.js")
# The saved flows of a namespace that goes are of no use to anybody: each shim has a run directory of its own.
ALONE = ("sh", "-ec", 'mkdir -p /run/uoa-shim; mount -t tmpfs none /run/uoa-shim; exec "$@"', "sh")
VIP, PORT = "198.51.100.10", 7000
LIPS = ["10.10.2.%d" % n for n in range(101, 105)]
RIP = "10.10.2.2"
CLIENT_MAC, LB_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
UDP, OPP, OPTION = 17, 248, 31
PAYLOAD = struct.Struct("!4sII")
MAGIC = b"ordr"
PATIENCE = 20


# ---- the scene -----------------------------------------------------------------------------------------------


class Scene:
    def __init__(self):
        self.names = {role: "uoa-order-%d-%s" % (os.getpid(), role) for role in ("client", "lb", "rs")}
        self.started = []
        self.directory = tempfile.TemporaryDirectory(prefix="uoa-order-")

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def ip(self, role, *commands):
        for command in commands:
            run(["ip", "-n", self.names[role], *command.split()])

    def command(self, role, *command):
        return ["ip", "netns", "exec", self.names[role], *command]

    def start(self, role, *command):
        log = open(self.path("%s-%d.log" % (role, len(self.started))), "w+")
        process = subprocess.Popen(self.command(role, *command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        process.log = log
        self.started.append(process)
        return process

    def wire_up(self):
        for name in self.names.values():
            run(["ip", "netns", "add", name])
        for role in self.names:
            self.ip(role, "link set lo up")
        self.ip("client", "link add eth0 address %s type veth peer name eth0 address %s netns %s" % (CLIENT_MAC, LB_MAC, self.names["lb"]))
        self.ip("rs", "link add eth0 type veth peer name eth1 netns %s" % self.names["lb"])
        self.ip("lb", "address add 203.0.113.254/24 dev eth0", "address add %s/32 dev eth0" % VIP)
        self.ip("lb", *("address add %s/24 dev eth1" % lip for lip in LIPS))
        self.ip("client", "address add 203.0.113.1/24 dev eth0")
        self.ip("rs", "address add %s/24 dev eth0" % RIP)
        for role, device in (("client", "eth0"), ("lb", "eth0"), ("lb", "eth1"), ("rs", "eth0")):
            self.ip(role, "link set %s up" % device)
        # Clients come from all of this, one hop away.
        self.ip("lb", "route add 198.18.0.0/15 via 203.0.113.1")
        # What the RS says to them is none of their business here.
        run(self.command("client", "nft", "-f", "-"), "table ip quiet {\n chain i { type filter hook prerouting priority -300; drop; }\n}\n")

    def start_shim(self, role, section):
        config = self.path("%s.json" % role)
        control = self.path("%s.sock" % role)
        with open(config, "w") as file:
            json.dump({"role": "load-balancer" if role == "lb" else "real-server", "control": {"socket": control}, **section}, file)
        shim = self.start(role, *ALONE, "node", MAIN, "run", "--config", config)
        shim.config = config
        wait_for("the shim in %s" % role, lambda: self.ask(shim, "status", quiet=True), shim)
        return shim

    def ask(self, shim, command, quiet=False):
        outcome = subprocess.run(["node", MAIN, command, "--json", "--config", shim.config], capture_output=True, text=True)
        if outcome.returncode == 0:
            return json.loads(outcome.stdout)
        if quiet:
            return None
        raise RuntimeError(outcome.stderr)

    def stop(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait()
        self.started.remove(process)

    def clear(self):
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
            process.wait()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        self.directory.cleanup()


def run(command, text=None):
    outcome = subprocess.run(command, input=text, capture_output=True, text=True)
    if outcome.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(command), outcome.stderr.strip()))
    return outcome.stdout


def wait_for(what, ask, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.log.seek(0)
    raise RuntimeError("%s does not come up: %s" % (what, process.log.read()))


# ---- what is sent --------------------------------------------------------------------------------------------


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def frames(flows, burst, gap):
    """Ethernet frames in the order in which they are to go: `gap` flows by turns."""
    ethernet = bytes.fromhex((LB_MAC + CLIENT_MAC).replace(":", "")) + b"\x08\x00"
    vip = socket.inet_aton(VIP)
    first = struct.unpack("!I", socket.inet_aton("198.18.0.1"))[0]

    def packet(flow, number):
        source = struct.pack("!I", first + flow % 65536)
        port = 10000 + flow // 65536 * 7 + flow % 40000
        payload = PAYLOAD.pack(MAGIC, flow, number)
        length = 28 + len(payload)
        header = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0x4000, 64, UDP, 0) + source + vip
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        datagram = struct.pack("!HHHH", port, PORT, length - 20, 0) + payload
        pseudo = source + vip + struct.pack("!BBH", 0, UDP, length - 20)
        return ethernet + header + datagram[:6] + struct.pack("!H", checksum(pseudo + datagram) or 0xFFFF) + datagram[8:]

    for start in range(0, flows, gap):
        for number in range(burst):
            for flow in range(start, min(start + gap, flows)):
                yield packet(flow, number)


# A process of its own in the clients' namespace: it reads frames from its input and sends them.
SENDER = """
import socket, struct, sys, time
rate = float(sys.argv[1])
data = sys.stdin.buffer.read()
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind(("eth0", 0))
size = struct.unpack("!I", data[:4])[0]
packets = [data[at : at + size] for at in range(4, len(data), size)]
send, clock = sender.send, time.monotonic
start = clock()
for i, packet in enumerate(packets):
    if rate:
        while (clock() - start) * rate < i: pass
    send(packet)
print(clock() - start)
"""


def send(scene, all_frames, rate):
    """Sends them and gives the seconds it took."""
    data = struct.pack("!I", len(all_frames[0])) + b"".join(all_frames)
    outcome = subprocess.run(scene.command("client", sys.executable, "-c", SENDER, str(rate)), input=data, capture_output=True)
    if outcome.returncode != 0:
        raise RuntimeError(outcome.stderr.decode())
    return float(outcome.stdout)


# ---- what arrives --------------------------------------------------------------------------------------------


def captured(path):
    """(flow, number, marked) of every packet of ours in a capture, in order; marks without payload have number -1."""
    with open(path, "rb") as file:
        data = file.read()
    header = struct.Struct("<IIII")
    at = 24
    while at + 16 <= len(data):
        _, _, length, _ = header.unpack_from(data, at)
        packet = data[at + 16 + 14 : at + 16 + length]
        at += 16 + length
        if len(packet) < 28:
            continue
        options = (packet[0] & 15) * 4
        marked = packet[9] == OPP or (options > 20 and packet[20] == OPTION)
        payload = packet[-PAYLOAD.size :]
        if payload[:4] == MAGIC:
            _, flow, number = PAYLOAD.unpack(payload)
            yield flow, number, marked


def judge(packets, flows, burst):
    highest = [-1] * flows
    named = bytearray(flows)
    late_flows = set()
    arrived = late = unnamed = marks = 0
    for flow, number, marked in packets:
        arrived += 1
        marks += marked
        if marked:
            named[flow] = 1
        elif not named[flow]:
            unnamed += 1
        if number < highest[flow]:
            late += 1
            late_flows.add(flow)
        highest[flow] = max(highest[flow], number)
    sent = flows * burst
    return {
        "flows": flows,
        "sent": sent,
        "arrived": arrived,
        "lost": sent - arrived,
        "marks": marks,
        "late": late,
        "late_per_100000_flows": round(late * 100_000 / flows),
        "mixed": len(late_flows),
        "unnamed": unnamed,
        "unnamed_per_100000_flows": round(unnamed * 100_000 / flows),
    }


# ---- the measurement -----------------------------------------------------------------------------------------


def measure(scene, arguments):
    scene.wire_up()
    section = {
        "carrier": arguments.carrier,
        "maxTrails": arguments.max_trails,
        "localAddresses": LIPS,
        "services": [{"vip": VIP, "port": PORT, "realServers": [{"address": RIP}]}],
        "interface": {"clients": "eth0", "servers": "eth1"},
    }
    balancer = scene.start_shim("lb", {"loadBalancer": section})
    real_server = None
    if arguments.ack:
        rules = {"loadBalancers": [{"prefix": "10.10.2.0/24"}], "services": [{"address": RIP, "port": PORT}]}
        real_server = scene.start_shim("rs", {"realServer": rules})
    scene.start("rs", sys.executable, "-c", SINK)
    capture = scene.start("rs", "tcpdump", "-i", "eth0", "-Q", "in", "--immediate-mode", "-s", "128", "-B", "262144", "-Z", "root", "-w", scene.path("order.pcap"), "udp or proto 248")
    wait_for("tcpdump", lambda: "listening on" in read(capture), capture)

    seconds = send(scene, list(frames(arguments.flows, arguments.burst, arguments.gap)), arguments.rate)
    settle(scene, "rs")
    scene.stop(capture)
    figures = judge(captured(scene.path("order.pcap")), arguments.flows, arguments.burst)
    figures["packets_per_second"] = round(figures["sent"] / seconds)
    stats = scene.ask(balancer, "stats")
    figures["through_the_tun"] = stats["packets_seen"]
    figures["acks"] = stats["acks_received"]
    figures["tun_overruns"] = tun_overruns(scene)
    if real_server:
        figures["uoa_miss"] = scene.ask(real_server, "stats")["uoa_miss"]
    return figures


# The application: it hears everything, and says nothing.
SINK = """
import socket
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
sink.bind(("0.0.0.0", %d))
buffer = bytearray(2048)
while True: sink.recv_into(buffer)
""" % PORT


def read(process):
    process.log.flush()
    with open(process.log.name) as file:
        return file.read()


def settle(scene, role):
    """Waits until nothing more comes in there."""
    before = None
    while True:
        now = json.loads(run(["ip", "-n", scene.names[role], "-s", "-j", "link", "show", "eth0"]))[0]["stats64"]["rx"]["packets"]
        if now == before:
            return
        before = now
        time.sleep(0.5)


def tun_overruns(scene):
    link = json.loads(run(["ip", "-n", scene.names["lb"], "-s", "-j", "link", "show", "uoa0"]))[0]
    return link["stats64"]["tx"]["dropped"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=100_000)
    parser.add_argument("--burst", type=int, default=6)
    parser.add_argument("--gap", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--carrier", choices=["ipo", "opp"], default="ipo")
    parser.add_argument("--max-trails", type=int, default=3)
    parser.add_argument("--ack", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    # So that a kill leaves nothing behind either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scene = Scene()
    try:
        figures = measure(scene, arguments)
    finally:
        scene.clear()
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print("%-26s %10d" % (name, value))


if __name__ == "__main__":
    main()
