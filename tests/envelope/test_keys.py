"""Keys: RFC 8032, the NKey text form as nats-io writes it, and the points and signatures that must never pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add

from interlock.envelope.keys import (
    KeyFormatError,
    SigningKey,
    base64url,
    check_enrolment,
    decode_public,
    encode_public,
    from_base64url,
    is_signed_by,
)

# RFC 8032, section 7.1: seed, public key, message, signature.
RFC8032 = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    "TEST SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
}


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032.values(), ids=RFC8032)
def test_rfc8032_vectors(seed: str, public: str, message: str, signature: str) -> None:
    key, said, signed = SigningKey(bytes.fromhex(seed)), bytes.fromhex(message), bytes.fromhex(signature)
    assert decode_public(key.key_id).hex() == public
    assert key.sign(said) == signed
    assert is_signed_by(key.key_id, said, signed)
    assert not is_signed_by(key.key_id, said + b"x", signed)


# Written by nats-io's own `nkeys` for Python 0.2.1: seed text and public key. Users, then an operator and an account.
NKEYS = [
    ("SUAOFAJAKE2CEAIAT4DUVMUADX3PDLR45VCBOXVXQEDENS6LFOCF4BMWNQ", "UBXABQ2PIAJYRHGYBLX7FAWLGTHWT5SGZTE4D2SFYDXMU75NIKANCMDH"),
    ("SUADLMOL2YKYDDCLNSZMVI6OORI63GVBGHHVLESUP6ZWKI7EF34VDSWLUE", "UADHP5MUNIN3HVCEPJKP4IW2SCTI6T2ZAEV5FX2JS2GT52VVOZEJAS3W"),
    ("SUAKPIAV3OLMVA4CLAUV6OIMMH3OO4PXP3JMR4FIHFFCB3CCGXNNOYVOU4", "UD2ZL4NW5RDNYWM4DOVS63CU7FJXJOG2GDMMOT5DGG2ZD6AKZG6I34AF"),
    ("SUAAGAYDAMBQGAYDAMBQGAYDAMBQGAYDAMBQGAYDAMBQGAYDAMBQGA6BEM", "UDWUSKGGFDI4FRXK5EBTRECZSVQSSWJHHJOGH6JWG3AUMFFMQ435C2U4"),
    ("SOAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIATA", "OCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVYOCS"),
    ("SAAAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAUN5U", "ACATS5YOVB6ROX2WUNKGNQ2MP3GMXDMKSG2O4N5CLX3A6W4PZGZZIL2R"),
]  # fmt: skip
SERVER_SEED = "SNAAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBCAGU"
SERVER_PUBLIC = "NDFJHLAXAUMHA4OWPOB4P7YO72AQR2HMIUYFOXLXE2DZGM633K7HYIY6"


@pytest.mark.parametrize(("seed", "public"), NKEYS)
def test_keys_read_and_write_what_nkeys_does(seed: str, public: str) -> None:
    key = SigningKey.from_seed_text(seed)
    assert (key.key_id, key.seed_text(), key.kind) == (public, seed, public[0])
    assert encode_public(decode_public(public), public[0]) == public
    check_enrolment(public)


@given(st.binary(min_size=32, max_size=32), st.sampled_from("UAO"))
def test_the_text_form_is_the_key(seed: bytes, kind: str) -> None:
    key = SigningKey(seed, kind)
    again = SigningKey.from_seed_text(f"\n {key.seed_text()} \n")
    assert (again.key_id, again.kind, again.sign(b"m")) == (key.key_id, kind, key.sign(b"m"))
    assert key.key_id[0] == kind
    assert decode_public(key.key_id) == decode_public(SigningKey(seed).key_id)
    assert key.seed_text() not in repr(key)
    assert is_signed_by(key.key_id, b"m", key.sign(b"m"))


@pytest.mark.parametrize(("seed", "public"), [NKEYS[0], NKEYS[4], NKEYS[5]])
def test_every_typing_error_is_found(seed: str, public: str) -> None:
    for text, read in ((seed, SigningKey.from_seed_text), (public, decode_public)):
        for position, letter in enumerate(text):
            for other in "AB2a":
                if other != letter:
                    with pytest.raises(KeyFormatError) as caught:
                        read(text[:position] + other + text[position + 1 :])
                    assert text[5:40] not in str(caught.value), "a seed must not reach a log"


@pytest.mark.parametrize(
    "text",
    ["", "U", SERVER_PUBLIC, NKEYS[0][0], NKEYS[0][1] + "\n", NKEYS[0][1] + "=", NKEYS[0][1][:-1], NKEYS[0][1].lower(), "U" + "А" * 55, "U" + "\x00" * 55],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_public_key(text: str) -> None:
    with pytest.raises(KeyFormatError):
        decode_public(text)
    assert not is_signed_by(text, b"", b"\0" * 64)


@pytest.mark.parametrize(
    "text", ["", "SU", SERVER_SEED, NKEYS[0][1], NKEYS[0][0][:-1], NKEYS[0][0] + "A", NKEYS[0][0].lower()]
)
def test_what_is_no_seed(text: str) -> None:
    with pytest.raises(KeyFormatError):
        SigningKey.from_seed_text(text)


@given(st.text(max_size=60))
def test_no_text_does_anything_but_be_refused(text: str) -> None:
    with pytest.raises(KeyFormatError):
        decode_public(text)
    with pytest.raises(KeyFormatError):
        SigningKey.from_seed_text(text)


# The eight points of small order and the six other encodings of them that decoders take (Chalkias, Garillot, Nikolaenko:
# "Taming the many EdDSAs", 2020, table 1).
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]
PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_points_of_small_order_are_neither_enrolled_nor_believed(point: str) -> None:
    key_id = encode_public(bytes.fromhex(point))
    with pytest.raises(KeyFormatError, match="small order"):
        check_enrolment(key_id)
    for r in SMALL_ORDER:  # S = 0 and R of small order: what signs every message where nobody looks
        assert not is_signed_by(key_id, b"any message", bytes.fromhex(r) + bytes(32))


def test_encodings_beyond_the_prime_are_never_enrolled() -> None:
    for y in range(PRIME, 2**255):
        for sign in (0, 1 << 255):
            with pytest.raises(KeyFormatError):
                check_enrolment(encode_public((y | sign).to_bytes(32, "little")))


@pytest.mark.parametrize("torsion", SMALL_ORDER[1:8])
def test_points_of_mixed_order_are_never_enrolled(torsion: str) -> None:
    """An honest key with a point of small order added: on the curve, canonical, but not of the prime order."""
    honest = decode_public(NKEYS[0][1])
    mixed = crypto_core_ed25519_add(honest, bytes.fromhex(torsion))
    assert mixed != honest
    with pytest.raises(KeyFormatError):
        check_enrolment(encode_public(mixed))


def test_points_off_the_curve_are_never_enrolled() -> None:
    with pytest.raises(KeyFormatError):
        check_enrolment(encode_public((2).to_bytes(32, "little")))


@given(st.binary(max_size=40))
def test_a_signature_cannot_be_bent(message: bytes) -> None:
    key = SigningKey(b"k" * 32)
    signature = key.sign(message)
    s = int.from_bytes(signature[32:], "little")
    bent = [
        signature[:32] + (s + times * ORDER).to_bytes(32, "little")
        for times in range(1, 8)
        if s + times * ORDER < 2**256
    ]
    assert bent
    bent += [signature[:-1], signature + b"\0", signature[:-1] + message[:1] if message else b"", bytes(64), b""]
    bent += [bytes.fromhex(r) + signature[32:] for r in SMALL_ORDER]
    assert [one for one in bent if is_signed_by(key.key_id, message, one) and one != signature] == []
    assert is_signed_by(key.key_id, message, signature)


@given(st.binary(max_size=100))
def test_base64url_is_an_inverse(data: bytes) -> None:
    text = base64url(data)
    assert from_base64url(text) == data
    assert not set(text) & set("+/= \n")


@pytest.mark.parametrize("text", ["AA==", "AB", "A", "****", "AA\n", "A A", "+A", "/A", "é", "\ud800"], ids=ascii)
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_base64url(text)
