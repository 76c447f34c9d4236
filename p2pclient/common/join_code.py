"""The address of a server as a few letters that a person can read out and type.

A code is a row of five-bit symbols, written with Crockford's base 32 (no I, L, O or U; small letters and 0 for O and 1
for I or L are taken, too). The first three bits say what follows, so that the commonest addresses need the fewest::

    192.168.x.y, usual port    6 letters    00H-8T3
    172.16-31.x.y, usual port  7
    10.x.y.z, usual port       8
    192.168.x.y, any port      9
    any IPv4 address and port  13
    fe80::/64 (link-local), any port     19: the reader tries each of its own interfaces
    any IPv6 address and port  32: long, but it can be typed
    any IPv4 address and port, HTTPS     13

The last two symbols are checks over GF(32): with all symbols ``c`` at distinct places ``x``, the sums of ``c`` and of
``c * x`` are zero (a Reed-Solomon code of distance 3). So any one or two wrong letters, and any two that are swapped,
are noticed; of anything else, one in 1,024 passes.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.lobby_messages import DEFAULT_PORT

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ = {**{letter: value for value, letter in enumerate(ALPHABET)}, "I": 1, "L": 1, "O": 0}
_LINK_LOCAL = int(IPv6Address("fe80::"))

# kind: (fixed high bits of the address, how many low bits follow, whether a port follows, version of IP)
_KINDS: tuple[tuple[int, int, bool, int], ...] = (
    (int(IPv4Address("192.168.0.0")), 16, False, 4),
    (int(IPv4Address("172.16.0.0")), 20, False, 4),
    (int(IPv4Address("10.0.0.0")), 24, False, 4),
    (int(IPv4Address("192.168.0.0")), 16, True, 4),
    (0, 32, True, 4),
    (_LINK_LOCAL, 64, True, 6),
    (0, 128, True, 6),
    (0, 32, True, 4),
)
_SECURE = 7
"""The kind of a server that speaks HTTPS."""
_KIND_BITS, _PORT_BITS, _SYMBOL_BITS = 3, 16, 5


def encode_join_code(address: str, port: int, *, secure: bool = False) -> str:
    """Return the code of a server, in groups of at most four letters. One with HTTPS has a code for IPv4 only.

    Raises:
        ConfigurationError: no address of a machine (``0.0.0.0`` is none), or no port.
    """
    try:
        found = ip_address(address.split("%")[0])
    except ValueError:
        raise ConfigurationError("address", address, "an IPv4 or IPv6 address") from None
    if found.is_unspecified or found.is_multicast or not 1 <= port <= 65535:
        raise ConfigurationError("address", f"{address} port {port}", "an address of one machine and a port of it")
    if secure and found.version != 4:
        raise ConfigurationError("address", address, "an IPv4 address: there are no codes for HTTPS over IPv6")
    kind = _SECURE if secure else _kind_of(found, port)
    _, bits, with_port, _ = _KINDS[kind]
    value = kind << bits | int(found) & (1 << bits) - 1
    if with_port:
        value = value << _PORT_BITS | port
    data = _symbols(value << _padding(kind), _data_symbols(kind))
    return _grouped("".join(ALPHABET[symbol] for symbol in (*data, *_checks(data))))


def decode_join_code(text: str) -> tuple[str, int]:
    """Return ``(address, port)`` of a code, whether or not it is for HTTPS; see :func:`read_join_code`."""
    address, port, _ = read_join_code(text)
    return address, port


def read_join_code(text: str) -> tuple[str, int, bool]:
    """Return ``(address, port, secure)``; an address in ``fe80::/64`` is to be tried on each interface.

    Raises:
        ConfigurationError: it is no code, or a letter of it is wrong.
    """
    letters = [each for each in text.strip().upper() if each not in "- "]
    if not is_like_join_code(text):
        raise ConfigurationError("join code", text, "the letters and digits that the server shows, such as 00H-8T3")
    symbols = [_READ[each] for each in letters]
    data, checks = symbols[:-2], tuple(symbols[-2:])
    kind = data[0] >> _SYMBOL_BITS - _KIND_BITS
    wrong = ConfigurationError("join code", text, "as the server shows it; at least one letter of this one is wrong")
    if checks != _checks(data) or kind >= len(_KINDS) or _data_symbols(kind) != len(data):
        raise wrong
    value = 0
    for symbol in data:
        value = value << _SYMBOL_BITS | symbol
    base, bits, with_port, version = _KINDS[kind]
    value >>= _padding(kind)
    port = DEFAULT_PORT
    if with_port:
        port, value = value & (1 << _PORT_BITS) - 1, value >> _PORT_BITS
    whole = base | value & (1 << bits) - 1
    address = str(IPv4Address(whole) if version == 4 else IPv6Address(whole))
    try:
        again = encode_join_code(address, port, secure=kind == _SECURE)
    except ConfigurationError:
        raise wrong from None
    if again.replace("-", "") != "".join(ALPHABET[each] for each in symbols):
        raise wrong  # another way to write an address that has a shorter code, or padding that is not zero
    return address, port, kind == _SECURE


def is_like_join_code(text: str) -> bool:
    """True if this may be meant as a code: as many letters as one has, all of its alphabet. A host name may be, too."""
    letters = [each for each in text.strip().upper() if each not in "- "]
    lengths = {_data_symbols(kind) + 2 for kind in range(len(_KINDS))}
    return len(letters) in lengths and all(each in _READ for each in letters)


def _kind_of(address: IPv4Address | IPv6Address, port: int) -> int:
    """Return the shortest kind that can say this; the last of each version can say anything."""
    for kind, (base, bits, with_port, version) in enumerate(_KINDS[:_SECURE]):
        fits = version == address.version and int(address) >> bits == base >> bits
        if fits and (with_port or port == DEFAULT_PORT):
            return kind
    raise AssertionError


def _bits(kind: int) -> int:
    _, bits, with_port, _ = _KINDS[kind]
    return _KIND_BITS + bits + (_PORT_BITS if with_port else 0)


def _data_symbols(kind: int) -> int:
    return -(-_bits(kind) // _SYMBOL_BITS)


def _padding(kind: int) -> int:
    return _data_symbols(kind) * _SYMBOL_BITS - _bits(kind)


def _symbols(value: int, count: int) -> tuple[int, ...]:
    return tuple(value >> _SYMBOL_BITS * place & 31 for place in reversed(range(count)))


def _checks(data: tuple[int, ...] | list[int]) -> tuple[int, int]:
    """The checks stand at places 0 and 1, the data at 2 and on: 32 elements of the field are enough for the longest."""
    total = weighted = 0
    for place, symbol in enumerate(data, start=2):
        total ^= symbol
        weighted ^= _multiply(symbol, place)
    return total ^ weighted, weighted


def _multiply(a: int, b: int) -> int:
    """Product in GF(32), modulo x^5 + x^2 + 1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = a << 1, b >> 1
        if a & 32:
            a ^= 0b100101
    return product


def _grouped(letters: str) -> str:
    """Groups of three or four, as even as can be: 3-3, 4-4, 3-3-3, 4-3-3-3."""
    count = -(-len(letters) // 4)
    sizes = [len(letters) // count + (group < len(letters) % count) for group in range(count)]
    groups, start = [], 0
    for size in sizes:
        groups.append(letters[start : start + size])
        start += size
    return "-".join(groups)
