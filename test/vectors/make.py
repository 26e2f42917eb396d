#!/usr/bin/env python3
"""Writes the golden vectors next to it: dpvs.json, huawei-elb.json, uoa-shim.json, rfc.json, broken.json.

The bytes come from test/support/wire_encode.py, the tests' Python codec; nothing is shared with the codec under test.
Bytes that the documents state are asserted here. `make.py --pcap FILE` writes every packet for other dissectors instead.
"""

import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'support'))

import wire_encode as wire  # noqa: E402
from wire_encode import DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, OPP, UDP  # noqa: E402

LB4, SERVER4 = '10.10.1.1:40000', '10.10.1.2:7777'
LB6, SERVER6 = '[2001:db8:1::1]:40000', '[2001:db8:1::2]:7777'
CLIENT4, CLIENT6 = '203.0.113.7:5555', '[2001:db8::7]:5555'
HELLO = b'hello'  # an odd number of bytes, for the checksum

# What a client's packet has and the mark's coming and going must not change.
FROM_CLIENT4 = {'tos': 0xB8, 'ttl': 61, 'id': 0x1C46, 'flags': 0x4000}
FROM_CLIENT6 = {'traffic_class': 0xB8, 'flow': 0x12345, 'hops': 61}


# ---- bytes -------------------------------------------------------------------------------------------------
# A packet is a list of its parts, in order; the JSON has a blank between parts.


def endpoint(text):
    host, port = text.rsplit(':', 1)
    return host.strip('[]'), int(port)


def host(text):
    return endpoint(text)[0]


def udp(source, destination, payload, checked=True):
    datagram = wire.udp(*endpoint(source), *endpoint(destination), payload, 'good' if checked else 'zero')
    return [datagram[:8], payload]


def ip4(source, destination, protocol, body, options=(), tos=0, ttl=64, id=0, flags=0x4000):
    """`flags` is the whole 16-bit field: flags and fragment offset."""
    joined = b''.join(options)
    assert len(joined) % 4 == 0 and len(joined) <= 40
    whole = wire.ipv4(host(source), host(destination), protocol, b''.join(body), joined, tos, ttl, id, flags)
    return [whole[:20], *options, *body]


def ip6(source, destination, next_header, body, traffic_class=0, flow=0, hops=64):
    whole = wire.ipv6(host(source), host(destination), next_header, b''.join(body), traffic_class, hops, flow)
    return [whole[:40], *body]


def extension(next_header, data):
    """A header of options that fill whole units of 8 bytes."""
    assert (2 + len(data)) % 8 == 0
    return bytes([next_header]) + wire.padded(data)


def padding(length):
    """RFC 8200, section 4.2: Pad1 or PadN."""
    return b'' if length == 0 else b'\0' if length == 1 else bytes([1, length - 2]) + bytes(length - 2)


def option(client):
    return wire.option(*endpoint(client))


def destination_option(client):
    return wire.destination_option(*endpoint(client))


def opp(options, version, protocol=UDP, length=None):
    """The `opp` header with whatever options, and with a protocol and a length that may be wrong."""
    return struct.pack('!BBH', version << 4, protocol, 4 + len(options) if length is None else length) + options


def opp_of(client):
    return wire.opp_header(option(client), host(client)) + option(client)


def mark_header(client):
    """A Destination Options header with nothing but the mark, padded to whole units of 8."""
    return bytes([UDP]) + wire.padded(destination_option(client))


# Facts that the documents state as bytes.
assert wire.internet_checksum(bytes.fromhex('0001f203f4f5f6f7')) == 0x220D  # RFC 1071, section 3
assert option(CLIENT4) == bytes.fromhex('1f08 15b3 cb007107')
assert opp_of(CLIENT4)[:4] == bytes.fromhex('1011 000c')
assert opp_of(CLIENT6)[:4] == bytes.fromhex('2011 0018')
assert mark_header(CLIENT6) == bytes.fromhex('1102 1f12 15b3 20010db8000000000000000000000007 0100')
assert mark_header(CLIENT4) == bytes.fromhex('1101 1f06 15b3 cb007107 0104 00000000')


# ---- vectors -----------------------------------------------------------------------------------------------


def ack(carrier, family, client):
    """From the server to the load balancer, the same carrier, nothing in it but the mark; always with a checksum."""
    if family == 4:
        datagram = udp(SERVER4, LB4, b'')
        if carrier == 'ipo':
            return ip4(SERVER4, LB4, UDP, datagram, options=[option(client)])
        return ip4(SERVER4, LB4, OPP, [opp_of(client), *datagram])
    datagram = udp(SERVER6, LB6, b'')
    if carrier == 'opp':
        return ip6(SERVER6, LB6, OPP, [opp_of(client), *datagram])
    return ip6(SERVER6, LB6, DESTINATION_OPTIONS, [mark_header(client), *datagram])


def text(parts):
    return ' '.join(part.hex() for part in parts if part)


def vector(name, source, carrier, family, packet, stripped=None, client=None, payload=None, outcome='marked', **more):
    """One vector as the JSON has it; `more`: `reason` of an outcome, `note`."""
    entry = {'name': name, 'source': source, 'outcome': outcome, **more, 'family': family, 'carrier': carrier}
    entry['lb'], entry['server'] = (LB4, SERVER4) if family == 4 else (LB6, SERVER6)
    if outcome == 'marked':
        entry['client'] = client
    if payload is not None:
        entry['payload'] = payload.hex()
    entry['packet'] = text(packet)
    if stripped is not None:
        entry['stripped'] = text(stripped)
    if outcome == 'marked':
        entry['ack'] = text(ack(carrier, family, client))
    return entry


def ipo(name, source, client, before=(), behind=(), payload=HELLO, checked=True, ip=FROM_CLIENT4, **more):
    body = udp(LB4, SERVER4, payload, checked)
    packet = ip4(LB4, SERVER4, UDP, body, [*before, option(client), *behind], **ip)
    stripped = ip4(LB4, SERVER4, UDP, body, [*before, *behind], **ip)
    return vector(name, source, 'ipo', 4, packet, stripped, client, payload, **more)


def opp4(name, source, client, options=(), header=None, payload=HELLO, checked=False, ip=FROM_CLIENT4, **more):
    body = udp(LB4, SERVER4, payload, checked)
    packet = ip4(LB4, SERVER4, OPP, [header or opp_of(client), *body], options, **ip)
    stripped = ip4(LB4, SERVER4, UDP, body, options, **ip)
    return vector(name, source, 'opp', 4, packet, stripped, client, payload, **more)


def opp6(name, source, client, payload=HELLO, ip=FROM_CLIENT6, **more):
    body = udp(LB6, SERVER6, payload)
    packet = ip6(LB6, SERVER6, OPP, [opp_of(client), *body], **ip)
    return vector(name, source, 'opp', 6, packet, ip6(LB6, SERVER6, UDP, body, **ip), client, payload, **more)


def dstopt(name, source, client, options=None, left=None, payload=HELLO, ip=FROM_CLIENT6, **more):
    """`options`: everything in the header if it isn't the mark alone; `left`: what of it stays, None: no header."""
    body = udp(LB6, SERVER6, payload)
    header = mark_header(client) if options is None else extension(UDP, options)
    packet = ip6(LB6, SERVER6, DESTINATION_OPTIONS, [header, *body], **ip)
    if left is None:
        stripped = ip6(LB6, SERVER6, UDP, body, **ip)
    else:
        stripped = ip6(LB6, SERVER6, DESTINATION_OPTIONS, [extension(UDP, left), *body], **ip)
    return vector(name, source, 'dstopt', 6, packet, stripped, client, payload, **more)


NOP, END = b'\x01', b'\x00'
ROUTER_ALERT = bytes.fromhex('94040000')  # RFC 2113
EXPERIMENT = bytes.fromhex('1e04c0ffee00')  # RFC 4727: an option that nobody knows, skipped by who doesn't

# ---- DPVS --------------------------------------------------------------------------------------------------

DPVS_UDP = 'DPVS src/ipvs/ip_vs_proto_udp.c'
DPVS_IPO = f'DPVS include/uoa.h (UOA IP option); {DPVS_UDP} (insert_ipopt_uoa)'
DPVS_OPP = f'DPVS include/uoa.h ("Option Protocol"); {DPVS_UDP} (insert_opp_uoa, udp_send_csum)'
DPVS_ALONE = f'DPVS kmod/uoa/uoa.md ("No room"), include/uoa.h; {DPVS_UDP} (send_standalone_uoa)'

# A standalone packet has TOS and TTL of the packet that it goes ahead of, an id of its own, and DF clear.
DPVS_ALONE4 = {'tos': 0xB8, 'ttl': 61, 'id': 0x0007, 'flags': 0}

dpvs = [
    ipo('ipo, IPv4 client', DPVS_IPO, CLIENT4),
    ipo(
        'ipo, IPv4 client, in front of options that were there',
        DPVS_IPO,
        CLIENT4,
        behind=[ROUTER_ALERT, NOP, NOP, NOP, END],
    ),
    opp4('opp in IPv4, IPv4 client: version 1, UDP checksum 0', DPVS_OPP, CLIENT4),
    opp4(
        'opp in IPv4, IPv4 client, behind IP options',
        DPVS_OPP,
        CLIENT4,
        options=[ROUTER_ALERT, NOP, NOP, NOP, END],
    ),
    opp4(
        'opp in IPv4, IPv6 client (NAT64): version 2, UDP checksum 0',
        f'{DPVS_OPP}; src/ipvs/ip_vs_nat64.c (mbuf_6to4: TOS 0, id 0, DF)',
        CLIENT6,
        ip={'ttl': 61},
    ),
    opp6(
        'opp in IPv6, IPv6 client: UDP checksum as if the header were not there',
        f'{DPVS_OPP}; src/ipv6 (ip6_udptcp_cksum)',
        CLIENT6,
    ),
    ipo(
        'standalone in ipo: UDP checksum 0, DF clear',
        DPVS_ALONE,
        CLIENT4,
        payload=b'',
        checked=False,
        ip=DPVS_ALONE4,
    ),
    opp4('standalone in opp, IPv4', DPVS_ALONE, CLIENT4, payload=b'', ip=DPVS_ALONE4),
    opp4(
        'standalone in opp, IPv4, IPv6 client (NAT64)', DPVS_ALONE, CLIENT6, payload=b'', ip=DPVS_ALONE4
    ),
    opp6('standalone in opp, IPv6', DPVS_ALONE, CLIENT6, payload=b''),
    opp4(
        'empty datagram with a mark in opp, IPv4',
        DPVS_OPP,
        CLIENT4,
        payload=b'',
        note='A client sent it empty. Only the IP header tells it from a standalone packet.',
    ),
    ipo('empty datagram with a mark in ipo', DPVS_IPO, CLIENT4, payload=b''),
]

# ---- Huawei Cloud ELB --------------------------------------------------------------------------------------

ELB = 'huaweicloud-elb-uoa README.md ("How does it work", step 1)'
ELB_PACKETS = f'{ELB}; script/util.py (lengths 8 and 20 in IPv4, 6 and 18 in IPv6)'
NO_EXCEPTION = 'The README makes no exception for empty datagrams, and says nothing of standalone packets.'

huawei_elb = [
    ipo('IPv4 option, IPv4 client', ELB, CLIENT4),
    ipo(
        'IPv4 option, IPv6 client (NAT64)',
        ELB_PACKETS,
        CLIENT6,
        note='The README says 4 or 16 bytes of address, but gives the length of the option as 8 alone.',
    ),
    dstopt('Destination Options header, IPv6 client: Hdr Ext Len 2, Opt Data Len 18', ELB, CLIENT6),
    dstopt(
        'Destination Options header, IPv4 client (NAT46): Opt Data Len 6',
        f'{ELB_PACKETS}; RFC 8200, section 4.2 (padding)',
        CLIENT4,
        note='The README says 4 or 16 bytes of address, but gives Hdr Ext Len 2 and Opt Data Len 18 alone.',
    ),
    ipo('empty datagram with a mark, IPv4', ELB, CLIENT4, payload=b'', note=NO_EXCEPTION),
    dstopt('empty datagram with a mark, IPv6', ELB, CLIENT6, payload=b'', note=NO_EXCEPTION),
]

# ---- our own load balancer ---------------------------------------------------------------------------------

CARRIERS = 'PROTOCOL: the three carriers'
FACTS = f'{CARRIERS}; facts to test against'
ALONE = f'{CARRIERS}; LB 2 and 3, RS 3'

LONG = bytes(range(64))


def first_fragment4():
    """RFC 791: the option isn't copied (the high bit of 31 is 0), so only the first fragment has it."""
    fields = {**FROM_CLIENT4, 'flags': 0x2000}
    header, payload = udp(LB4, SERVER4, LONG)
    body = [header, payload[:24]]
    packet = ip4(LB4, SERVER4, UDP, body, [option(CLIENT4)], **fields)
    stripped = ip4(LB4, SERVER4, UDP, body, **fields)
    source = f'{CARRIERS}; RFC 791, sections 3.1 and 3.2'
    return vector('ipo in the first fragment', source, 'ipo', 4, packet, stripped, CLIENT4, payload[:24])


def first_fragment6():
    header, payload = udp(LB6, SERVER6, LONG)
    body = [header, payload[:24]]

    def fragment(next_header):
        return struct.pack('!BBHI', next_header, 0, 0 << 3 | 1, 0x1C46)

    with_mark = [fragment(DESTINATION_OPTIONS), mark_header(CLIENT6), *body]
    return vector(
        'dstopt in the first fragment, behind the Fragment header',
        f'{CARRIERS}; RFC 8200, sections 4.1 and 4.5',
        'dstopt',
        6,
        ip6(LB6, SERVER6, FRAGMENT, with_mark, **FROM_CLIENT6),
        ip6(LB6, SERVER6, FRAGMENT, [fragment(UDP), *body], **FROM_CLIENT6),
        CLIENT6,
        payload[:24],
        note='The offsets of the other fragments count the header with the mark: theirs become less by its 24 bytes.',
    )


def behind_hop_by_hop():
    body = udp(LB6, SERVER6, HELLO)
    alert = bytes.fromhex('05020000') + padding(2)  # RFC 2711
    with_mark = [extension(DESTINATION_OPTIONS, alert), mark_header(CLIENT6), *body]
    return vector(
        'dstopt behind a Hop-by-Hop Options header',
        f'{CARRIERS}; RFC 8200, sections 4.1 and 4.3',
        'dstopt',
        6,
        ip6(LB6, SERVER6, HOP_BY_HOP, with_mark, **FROM_CLIENT6),
        ip6(LB6, SERVER6, HOP_BY_HOP, [extension(UDP, alert), *body], **FROM_CLIENT6),
        CLIENT6,
        HELLO,
    )


uoa_shim = [
    ipo('ipo, IPv4 client', FACTS, CLIENT4),
    ipo('ipo, IPv6 client', f'{CARRIERS}; the option', CLIENT6),
    ipo('ipo, IPv4 client, IP header full', f'{CARRIERS}; LB 2', CLIENT4, behind=[NOP * 32]),
    opp4('opp in IPv4, IPv4 client, UDP checksum kept', FACTS, CLIENT4, checked=True),
    opp4('opp in IPv4, IPv6 client, UDP checksum kept', CARRIERS, CLIENT6, checked=True),
    opp6('opp in IPv6, IPv6 client', CARRIERS, CLIENT6),
    opp6('opp in IPv6, IPv4 client', CARRIERS, CLIENT4),
    dstopt('dstopt, IPv6 client', FACTS, CLIENT6),
    dstopt('dstopt, IPv4 client', CARRIERS, CLIENT4),
    first_fragment4(),
    first_fragment6(),
    behind_hop_by_hop(),
    ipo('standalone in ipo, IPv4 client', ALONE, CLIENT4, payload=b'', ip={}),
    ipo('standalone in ipo, IPv6 client', ALONE, CLIENT6, payload=b'', ip={}),
    opp4('standalone in opp, IPv4, IPv4 client', ALONE, CLIENT4, payload=b'', checked=True, ip={}),
    opp4('standalone in opp, IPv4, IPv6 client', ALONE, CLIENT6, payload=b'', checked=True, ip={}),
    opp6('standalone in opp, IPv6, IPv4 client', ALONE, CLIENT4, payload=b'', ip={}),
    opp6('standalone in opp, IPv6, IPv6 client', ALONE, CLIENT6, payload=b'', ip={}),
    dstopt('standalone in dstopt, IPv4 client', ALONE, CLIENT4, payload=b'', ip={}),
    dstopt('standalone in dstopt, IPv6 client', ALONE, CLIENT6, payload=b'', ip={}),
]

# ---- what the RFCs allow besides ---------------------------------------------------------------------------

RFC791 = 'RFC 791, section 3.1 (options); PROTOCOL: the option'
RFC8200 = 'RFC 8200, section 4.2 (options, alignment, padding); PROTOCOL: the three carriers'
KEPT = 'What stays keeps its place modulo 8, so 16 of 20 bytes go and PadN takes the place of the other 4.'


def summing_up_to_zero(source, destination):
    """A payload whose UDP checksum computes to 0."""
    datagram = udp(source, destination, b'zero\0\0')
    payload = b'zero' + datagram[0][6:8]
    assert udp(source, destination, payload)[0][6:8] == b'\xff\xff'
    return payload


rfc = [
    ipo('a NOP before the mark, NOPs behind', RFC791, CLIENT4, before=[NOP], behind=[NOP, NOP, NOP]),
    ipo('another option before the mark', f'{RFC791}; RFC 2113', CLIENT4, before=[ROUTER_ALERT]),
    ipo(
        'other options and NOPs before the mark and behind, IPv6 client',
        f'{RFC791}; RFC 2113',
        CLIENT6,
        before=[NOP, ROUTER_ALERT],
        behind=[bytes.fromhex('070300'), NOP, NOP, END, END],
    ),
    ipo(
        'after END, bytes that look like a broken option',
        RFC791,
        CLIENT4,
        behind=[END, b'\x1f\x00\xff'],
    ),
    ipo('payload of a kilobyte', 'RFC 791; RFC 768', CLIENT4, payload=bytes(range(256)) * 4),
    ipo(
        'UDP checksum that computes to 0, IPv4',
        'RFC 768 (sent as all ones); PROTOCOL: the three carriers',
        CLIENT4,
        payload=summing_up_to_zero(LB4, SERVER4),
    ),
    opp4(
        'NOPs before and behind the mark in the opp header',
        'DPVS include/uoa.h ("Options compatible with IPv4 options"); RFC 791, section 3.1',
        CLIENT4,
        header=opp(NOP + option(CLIENT4) + NOP * 3, 1),
    ),
    dstopt(
        'UDP checksum that computes to 0, IPv6',
        'RFC 768; RFC 8200, section 8.1; PROTOCOL: the three carriers',
        CLIENT6,
        payload=summing_up_to_zero(LB6, SERVER6),
    ),
    dstopt(
        'the mark padded with two Pad1',
        RFC8200,
        CLIENT6,
        options=destination_option(CLIENT6) + padding(1) * 2,
    ),
    dstopt(
        'padding before the mark',
        RFC8200,
        CLIENT6,
        options=padding(2) + destination_option(CLIENT6),
    ),
    dstopt(
        'another option behind the mark of an IPv4 client',
        f'{RFC8200}; RFC 4727',
        CLIENT4,
        options=destination_option(CLIENT4) + EXPERIMENT,
        left=EXPERIMENT,
    ),
    dstopt(
        'another option before the mark of an IPv4 client',
        f'{RFC8200}; RFC 4727',
        CLIENT4,
        options=EXPERIMENT + destination_option(CLIENT4),
        left=EXPERIMENT,
    ),
    dstopt(
        'another option behind the mark of an IPv6 client',
        f'{RFC8200}; RFC 4727',
        CLIENT6,
        options=destination_option(CLIENT6) + EXPERIMENT + padding(4),
        left=padding(4) + EXPERIMENT + padding(4),
        note=KEPT,
    ),
    dstopt(
        'other options before the mark of an IPv6 client and behind',
        f'{RFC8200}; RFC 4727',
        CLIENT6,
        options=EXPERIMENT + destination_option(CLIENT6) + EXPERIMENT + padding(6),
        left=EXPERIMENT + padding(4) + EXPERIMENT + padding(6),
        note=KEPT,
    ),
]

# ---- broken ------------------------------------------------------------------------------------------------

OPTION = 'PROTOCOL: the option; RFC 791, section 3.1'
OPTION_SIZES = 'PROTOCOL: the option; DPVS include/uoa.h (IPOLEN_UOA_IPV4, IPOLEN_UOA_IPV6)'
OPP_HEADER = 'PROTOCOL: the three carriers; DPVS include/uoa.h ("Option Protocol")'
DSTOPT_SIZES = 'PROTOCOL: the three carriers; huaweicloud-elb-uoa README.md'

GOOD4, GOOD6 = option(CLIENT4), option(CLIENT6)


def broken_ipo(name, source, options, reason):
    """Still a datagram, and a readable one: only the mark is no good."""
    packet = ip4(LB4, SERVER4, UDP, udp(LB4, SERVER4, HELLO), options, **FROM_CLIENT4)
    return vector(name, source, 'ipo', 4, packet, payload=HELLO, outcome='invalid-mark', reason=reason)


def broken_opp(name, header, reason, source=OPP_HEADER, family=4, outcome='malformed'):
    """With a good length in it the header can be taken off, whatever the mark is; else there is no datagram."""
    if family == 4:
        body, ip = udp(LB4, SERVER4, HELLO, checked=False), FROM_CLIENT4
        packet = ip4(LB4, SERVER4, OPP, [header, *body], **ip)
        stripped = ip4(LB4, SERVER4, UDP, body, **ip)
    else:
        body, ip = udp(LB6, SERVER6, HELLO), FROM_CLIENT6
        packet = ip6(LB6, SERVER6, OPP, [header, *body], **ip)
        stripped = ip6(LB6, SERVER6, UDP, body, **ip)
    if outcome == 'malformed':
        return vector(name, source, 'opp', family, packet, outcome=outcome, reason=reason)
    return vector(name, source, 'opp', family, packet, stripped, payload=HELLO, outcome=outcome, reason=reason)


def broken_dstopt(name, source, header, reason, outcome='invalid-mark'):
    packet = ip6(LB6, SERVER6, DESTINATION_OPTIONS, [header, *udp(LB6, SERVER6, HELLO)], **FROM_CLIENT6)
    payload = HELLO if outcome == 'invalid-mark' else None
    return vector(name, source, 'dstopt', 6, packet, payload=payload, outcome=outcome, reason=reason)


def past_the_end(header_length):
    """The length that an opp header must not have: one byte more than there is behind the IP header."""
    return header_length + 8 + len(HELLO) + 1


broken = [
    broken_ipo('ipo, length 7', OPTION_SIZES, [b'\x1f\x07' + GOOD4[2:7], NOP], 'a client has 4 or 16 bytes'),
    broken_ipo('ipo, length 0', OPTION, [b'\x1f\x00' + GOOD4[2:]], 'a length counts itself: 2 at least'),
    broken_ipo('ipo, length 1', OPTION, [b'\x1f\x01' + GOOD4[2:]], 'a length counts itself: 2 at least'),
    broken_ipo(
        'ipo, length 20 in a header with room for 8', OPTION, [b'\x1f\x14' + GOOD4[2:]], 'it runs over the end'
    ),
    broken_ipo(
        'ipo, code in the last byte', OPTION, [NOP * 3, b'\x1f'], 'its length would be outside the header'
    ),
    broken_ipo(
        'ipo, behind an option of length 0', OPTION, [b'\x94\x00\x00\x00', GOOD4], 'no way past what is before'
    ),
    broken_opp(
        'opp, option length 7',
        opp(b'\x1f\x07' + GOOD4[2:7] + NOP, 1),
        'a client has 4 or 16 bytes',
        source=OPTION_SIZES,
        outcome='invalid-mark',
    ),
    broken_opp('opp, no option at all', opp(b'', 1), 'there is no mark in it', outcome='invalid-mark'),
    broken_opp(
        'opp, header length past the end', opp(GOOD4, 1, length=past_the_end(12)), 'UDP would be outside the packet'
    ),
    broken_opp(
        'opp, header length that leaves no room for UDP',
        opp(GOOD4, 1, length=12 + len(HELLO) + 1),
        'UDP would have 7 bytes',
    ),
    broken_opp('opp, header length 3', opp(GOOD4, 1, length=3), 'the header itself has 4 bytes'),
    broken_opp('opp, version 0', opp(GOOD4, 0), 'versions are 1 and 2'),
    broken_opp('opp, version 3', opp(GOOD4, 3), 'versions are 1 and 2'),
    broken_opp('opp, next protocol TCP', opp(GOOD4, 1, protocol=6), 'UDP alone is carried'),
    broken_opp(
        'opp in IPv6, header length past the end',
        opp(GOOD6, 2, length=past_the_end(24)),
        'UDP would be outside the packet',
        family=6,
    ),
    broken_opp('opp in IPv6, version 0', opp(GOOD6, 0), 'versions are 1 and 2', family=6),
    broken_opp('opp in IPv6, version 3', opp(GOOD6, 3), 'versions are 1 and 2', family=6),
    broken_opp('opp in IPv6, next protocol TCP', opp(GOOD6, 2, protocol=6), 'UDP alone is carried', family=6),
    broken_opp(
        'opp in IPv6, option length 19',
        opp(b'\x1f\x13' + GOOD6[2:19] + NOP, 2),
        'a client has 4 or 16 bytes',
        source=OPTION_SIZES,
        family=6,
        outcome='invalid-mark',
    ),
    broken_dstopt(
        'dstopt, data length 5',
        DSTOPT_SIZES,
        extension(UDP, b'\x1f\x05' + GOOD4[2:7] + padding(7)),
        'a client has 4 or 16 bytes',
    ),
    broken_dstopt(
        'dstopt, data length 20, as if it counted type and length',
        DSTOPT_SIZES,
        extension(UDP, b'\x1f\x14' + GOOD6[2:] + b'\0\0'),
        'a client has 4 or 16 bytes',
    ),
    broken_dstopt(
        'dstopt, data length 0',
        DSTOPT_SIZES,
        extension(UDP, b'\x1f\x00' + padding(4)),
        'a client has 4 or 16 bytes',
    ),
    broken_dstopt(
        'dstopt, the option runs past its header',
        RFC8200,
        extension(UDP, b'\x1f\x12' + GOOD4[2:] + padding(6)),
        '18 bytes of data where 12 are left',
    ),
    broken_dstopt(
        'dstopt, the type in the last byte of its header',
        RFC8200,
        extension(UDP, padding(5) + b'\x1f'),
        'its length would be outside the header',
    ),
    broken_dstopt(
        'dstopt, the header runs past the packet',
        'RFC 8200, section 4.6',
        bytes([UDP, 15]) + mark_header(CLIENT6)[2:],
        '128 bytes of header in a packet with less',
        outcome='malformed',
    ),
]

# ---- files -------------------------------------------------------------------------------------------------

FILES = {
    'dpvs': ('DPVS, https://github.com/iqiyi/dpvs', dpvs),
    'huawei-elb': ('Huawei Cloud ELB, https://github.com/huaweicloud/huaweicloud-elb-uoa', huawei_elb),
    'uoa-shim': ("uoa-shim's own load balancer: the project's protocol", uoa_shim),
    'rfc': ('What RFC 768, 791 and 8200 allow around a mark', rfc),
    'broken': ('Marks and headers that are no good', broken),
}


def write_json():
    for name, (origin, vectors) in FILES.items():
        names = [entry['name'] for entry in vectors]
        assert len(set(names)) == len(names)
        path = HERE / f'{name}.json'
        path.write_text(json.dumps({'origin': origin, 'vectors': vectors}, indent=2) + '\n')


def write_pcap(path):
    """Every packet, LINKTYPE_RAW; the time in seconds is the vector's number, and 0, 1, 2 of its µs which packet."""
    with open(path, 'wb') as file:
        file.write(struct.pack('=IHHiIII', 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        entries = [entry for _, vectors in FILES.values() for entry in vectors]
        for number, entry in enumerate(entries):
            for which, key in enumerate(('packet', 'stripped', 'ack')):
                if key in entry:
                    data = bytes.fromhex(entry[key])
                    file.write(struct.pack('=IIII', number, which, len(data), len(data)) + data)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--pcap']:
        write_pcap(sys.argv[2])
    else:
        write_json()
