#!/usr/bin/env python3
"""png.py FILE [TEXT]: decodes a PNG as the specification says, and prints "WIDTH HEIGHT COLOURS"; fails if it is none.

With TEXT it also fails unless that can be read: on a screen of cells of 8 by 16 pixels, whatever its font, as a row of cells
that are equal where TEXT's letters are, differ where they do, and are blank where TEXT is.
"""
import struct
import sys
import zlib

data = open(sys.argv[1], "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG's signature"
at, pixels, names = 8, b"", []
while at < len(data):
    length, name = struct.unpack(">I4s", data[at : at + 8])
    body = data[at + 8 : at + 8 + length]
    (crc,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
    assert crc == zlib.crc32(name + body), f"the checksum of {name}"
    if name == b"IHDR":
        width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", body)
    elif name == b"IDAT":
        pixels += body
    names.append(name)
    at += 12 + length
assert names[0] == b"IHDR" and names[-1] == b"IEND", names
assert depth == 8 and kind in (2, 6) and not interlaced, (depth, kind, interlaced)
size = 3 if kind == 2 else 4
rows, stride, colours, above = zlib.decompress(pixels), width * size, set(), bytearray(width * size)
lines = []
assert len(rows) == height * (stride + 1), "it is not whole"


def paeth(left, up, corner):
    by_left, by_up, by_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if by_left <= by_up and by_left <= by_corner:
        return left
    return up if by_up <= by_corner else corner


def unfiltered(kind, row, above):
    if kind == 0:
        return row
    if kind == 2:
        return bytearray(a + b & 255 for a, b in zip(row, above))
    for x in range(stride):
        left, corner = (row[x - size], above[x - size]) if x >= size else (0, 0)
        guess = left if kind == 1 else (left + above[x]) // 2 if kind == 3 else paeth(left, above[x], corner)
        row[x] = row[x] + guess & 255
    return row


for y in range(height):
    at = y * (stride + 1)
    above = unfiltered(rows[at], bytearray(rows[at + 1 : at + 1 + stride]), above)
    lines.append(bytes(above))
    colours.update(zip(*(above[x::size] for x in range(3))))


def reads(text, cells):
    pairs = set(zip(text, cells))
    one_to_one = len(pairs) == len(set(text)) == len({cell for _, cell in pairs})
    return one_to_one and all((letter == " ") == (cell == cell[:size] * (8 * 16)) for letter, cell in pairs)


def is_there(text):
    for y in range(0, height - 15, 16):
        cells = [b"".join(line[x : x + 8 * size] for line in lines[y : y + 16]) for x in range(0, stride, 8 * size)]
        if any(reads(text, cells[x : x + len(text)]) for x in range(len(cells) - len(text) + 1)):
            return True
    return False


assert len(sys.argv) < 3 or is_there(sys.argv[2]), f"'{sys.argv[2]}' cannot be read there"
print(width, height, len(colours))
