# SPDX-License-Identifier: Apache-2.0
"""The Internet checksum (RFC 1071) of headers that tests make by hand: fold(add(part) + add(part) + ...)."""
import struct


def add(data):
    return sum(struct.unpack("!%dH" % (len(data) // 2), data))


def fold(t):
    while t >> 16:
        t = (t & 0xffff) + (t >> 16)
    return ~t & 0xffff
