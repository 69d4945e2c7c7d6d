#!/usr/bin/env python3
"""Writes envelope.json: a second, plain implementation of the envelope, so that the vectors do not come from the code
that they test. Needs nothing beside Python. Run: python3 envelope.py > envelope.json"""
import base64, hashlib, hmac, json, struct

MASK = 0xFFFFFFFF


def quarter(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & MASK
        s[z] ^= s[x]
        s[z] = ((s[z] << n) | (s[z] >> (32 - n))) & MASK


def rounds(state):
    s = list(state)
    for _ in range(10):
        for q in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                  (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(s, *q)
    return s


CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


def chacha_block(key, counter, nonce12):
    state = [*CONSTANTS, *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce12)]
    return struct.pack("<16I", *((a + b) & MASK for a, b in zip(rounds(state), state)))


def hchacha(key, nonce16):
    s = rounds([*CONSTANTS, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce16)])
    return struct.pack("<8I", *s[:4], *s[12:])


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    acc = 0
    for i in range(0, len(message), 16):
        acc = (acc + int.from_bytes(message[i:i + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return ((acc + int.from_bytes(key[16:], "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def pad(data):
    return data + bytes(-len(data) % 16)


def xchacha20_poly1305(key, nonce, aad, text):
    subkey, nonce12 = hchacha(key, nonce[:16]), bytes(4) + nonce[16:]
    stream = b"".join(chacha_block(subkey, 1 + i, nonce12) for i in range(len(text) // 64 + 1))
    ciphertext = bytes(a ^ b for a, b in zip(text, stream))
    lengths = struct.pack("<QQ", len(aad), len(ciphertext))
    return ciphertext + poly1305(chacha_block(subkey, 0, nonce12)[:32], pad(aad) + pad(ciphertext) + lengths)


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def envelope(key_id, master, nonce, context, text, algorithm=1):
    extracted = mac(b"gr1", master)
    seal, commit = (mac(extracted, label + b"\1") for label in (b"gr1 seal", b"gr1 commit"))
    aad = b"gr1" + bytes([algorithm]) + struct.pack(">QQ", context["epoch"], context["generation"])
    for part in (key_id, context["purpose"], context["integration"], context["subject"]):
        aad += struct.pack(">I", len(part.encode())) + part.encode()
    head = b"gr1" + bytes([algorithm, len(key_id)]) + key_id.encode() + nonce
    return head + mac(commit, bytes([algorithm]) + nonce) + xchacha20_poly1305(seal, nonce, aad, text)


def sha(text):
    return hashlib.sha256(text.encode()).digest()


KEYS = {"k2": sha("grantry test key 2"), "old_key-1": sha("grantry test key 1")}
TOKENS = dict(purpose="tokens", integration="int_a", subject="con_a", epoch=1, generation=7)
EMPTY = dict(purpose="cursor", integration="", subject="", epoch=0, generation=0)
WIDE = dict(purpose="client-secret", integration="i" * 128, subject="s" * 128,
            epoch=2**64 - 1, generation=2**64 - 1)


def good():
    cases = [
        ("token set", "k2", TOKENS, b'{"access_token":"00D...","refresh_token":"5Aep..."}'),
        ("empty plaintext, empty context", "k2", EMPTY, b""),
        ("older key, longest context", "old_key-1", WIDE, b"x"),
        ("one block and a byte", "k2", TOKENS, bytes(range(65))),
        ("binary, several blocks", "old_key-1", TOKENS, bytes(range(256)) * 3),
    ]
    for name, key, context, text in cases:
        nonce = sha("nonce of " + name)[:24]
        blob = envelope(key, KEYS[key], nonce, context, text)
        yield dict(name=name, key=key, nonce=nonce.hex(), context=context, plaintext=text.hex(), blob=blob.hex())


def bad():
    nonce, text = sha("bad")[:24], b"never to be seen"
    blob = envelope("k2", KEYS["k2"], nonce, TOKENS, text)
    at = 5 + 2  # where the nonce begins

    def flip(position):
        return blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1:]

    yield "nothing", TOKENS, b"", "tampered"
    yield "only the magic", TOKENS, b"gr1", "tampered"
    yield "the header without a tag", TOKENS, blob[:at + 24 + 32], "tampered"
    yield "last byte missing", TOKENS, blob[:-1], "tampered"
    yield "a byte more", TOKENS, blob + b"\0", "tampered"
    yield "nonce changed", TOKENS, flip(at), "tampered"
    yield "commitment changed", TOKENS, flip(at + 24), "tampered"
    yield "ciphertext changed", TOKENS, flip(at + 24 + 32), "tampered"
    yield "tag changed", TOKENS, flip(len(blob) - 1), "tampered"
    yield "key id of no length", TOKENS, blob[:4] + b"\0" + blob[5:], "tampered"
    yield "key id longer than the blob", TOKENS, blob[:4] + b"\xff" + blob[5:], "tampered"
    yield "key id is not text", TOKENS, blob[:5] + b"\xff\xfe" + blob[7:], "tampered"
    yield "sealed by another key under this id", TOKENS, envelope("k2", KEYS["old_key-1"], nonce, TOKENS, text), "tampered"
    yield "key that was not given", TOKENS, envelope("k9", KEYS["k2"], nonce, TOKENS, text), "unknown_key"
    yield "other magic", TOKENS, b"ob1" + blob[3:], "unknown_envelope"
    yield "other algorithm", TOKENS, envelope("k2", KEYS["k2"], nonce, TOKENS, text, algorithm=2), "unknown_envelope"
    yield "plaintext", TOKENS, b'{"access_token":"x"}', "unknown_envelope"
    for field, value in dict(purpose="pending", integration="int_b", subject="con_b", epoch=2, generation=8).items():
        yield f"other {field}", {**TOKENS, field: value}, blob, "tampered"
    yield "fields run together", {**TOKENS, "integration": "int_acon_a", "subject": ""}, blob, "tampered"


print(json.dumps({
    "about": "Vectors of the sealing envelope; envelope.py made them. Bytes are hexadecimal.",
    "keyring": ",".join(f"{i}:{base64.b64encode(k).decode()}" for i, k in KEYS.items()),
    "good": list(good()),
    "bad": [dict(name=n, context=c, blob=b.hex(), error=e) for n, c, b, e in bad()],
}, indent=1))
