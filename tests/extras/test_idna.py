"""Hosts against the idna package, which has the table of UTS 46: pip install idna."""

import sys
import unicodedata

from idna.core import uts46_remap

import contactapi

# What the table refuses, up to Unicode 15 or still, and we let through: capitals whose
# small letter came later, signs that describe characters, low lines, old errors.
LENIENT = {
    *(0x4C0, *range(0x10A0, 0x10C6), 0x1806, 0x180E, 0x2132, 0x2183),
    *(*range(0x2FF0, 0x2FFC), 0xFE33, 0xFE34, *range(0xFE4D, 0xFE50), 0xFF3F),
    *(0x2F868, 0x2F874, 0x2F91F, 0x2F95F, 0x2F9BF),
}
# What the table leaves out since Unicode 16, and we refuse: nobody can see it.
STRICT = {
    *(0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x2061, 0x2064), *range(0x206A, 0x2070)),
    *(0x3164, 0xFFA0, *range(0x1D173, 0x1D17B)),
}


def by_table(label):
    try:
        return uts46_remap(label, std3_rules=True, transitional=False)
    except UnicodeError:
        return None


def by_us(label):
    label = contactapi.even_label(label)
    return label if all(map(contactapi.may_be_in_label, label)) else None


def known_letters():
    for place in range(0x80, sys.maxunicode + 1):
        if unicodedata.category(chr(place)) not in ("Cn", "Cs"):
            yield place


def test_each_character_becomes_in_a_label_what_the_table_of_uts_46_says():
    for place in known_letters():
        label = f"a{chr(place)}b"
        if place not in LENIENT | STRICT and not contactapi.DOTS.search(label):
            assert by_us(label) == by_table(label), hex(place)
