"""Secrets and personal data out of free text (OPS-03): what a log line or a span says leaves the process without them.

Three kinds of rules: formats that are a secret wherever they stand; values that a name before them makes one; personal data
with a check of its own (Luhn, ISO 7064). Ids, digests, versions and times are none of these. Names of people cannot be
told from other words and are not found; IP addresses are left, an operator needs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MASK = "[redacted]"
MAX_CHARS = 64 * 1024
# Formats by which their issuers mark secrets, so that scanners find them. Each needs a hint, in lower case, to be tried.
_FORMATS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("akia", "asia", "abia", "acca", "a3t"), r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{30,255}"),
    (("github_pat_",), r"\bgithub_pat_\w{20,255}"),
    (("glpat-", "gldt-", "glrt-", "glft-", "glsoat-", "glcbt-", "glptt-", "glimt-", "glagent-", "gloas-"),
     r"\bgl(?:pat|dt|rt|ft|soat|cbt|ptt|imt|agent|oas)-[\w.-]{16,255}"),
    (("xox", "xapp-"), r"\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,255}"),
    (("hooks.slack.com",), r"\bhooks\.slack\.com/(?:services|workflows)/[\w/]{20,255}"),
    (("discord.com/api/webhooks", "discordapp.com/api/webhooks"), r"\bdiscord(?:app)?\.com/api/webhooks/[\w/-]{20,255}"),
    (("k_live_", "k_test_", "whsec_"), r"\b(?:[prs]k_(?:live|test)_|whsec_)[A-Za-z0-9+/=]{10,255}"),
    (("aiza",), r"\bAIza[\w-]{35}"),
    (("ya29.",), r"\bya29\.[\w-]{20,2048}"),
    (("gocspx-",), r"\bGOCSPX-[\w-]{20,64}"),
    (("sg.",), r"\bSG\.[\w-]{16,64}\.[\w-]{16,128}"),
    (("pypi-age",), r"\bpypi-AgE[\w-]{30,512}"),
    (("npm_",), r"\bnpm_[A-Za-z0-9]{30,64}"),
    (("hf_",), r"\bhf_[A-Za-z0-9]{30,64}"),
    (("sk-",), r"\bsk-(?:ant-|proj-|svcacct-|or-v1-)?[A-Za-z0-9][\w-]{18,255}"),
    (("hvs.", "hvb.", "hvr."), r"\bhv[sbr]\.[\w-]{20,255}"),
    (("dop_v1_", "doo_v1_", "dor_v1_"), r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    (("age-secret-key-",), r"\bAGE-SECRET-KEY-1[0-9A-Z]{50,70}"),
    (("s",), r"\bS[UAOCNX][A-Z2-7]{56}\b"),
    (("shpat_", "shpca_", "shppa_", "shpss_"), r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b"),
    (("dapi",), r"\bdapi[a-f0-9]{32}(?:-\d)?\b"),
    (("lin_api_",), r"\blin_api_[A-Za-z0-9]{30,64}"),
    (("atatt3",), r"\bATATT3[\w=-]{20,512}"),
    (("dp.",), r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9.]{30,80}"),
    (("nrak-", "nrii-", "nrjs-"), r"\bNR(?:AK|II|JS)-[\w-]{20,64}"),
    (("pmak-",), r"\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}\b"),
    (("sntrys_", "sntryu_"), r"\bsntry[su]_[\w+/=-]{20,512}"),
    (("glsa_", "glc_"), r"\bgl(?:sa|c)_[\w+/=]{20,512}"),
    (("sbp_", "pscale_"), r"\b(?:sbp_[a-f0-9]{40}|pscale_(?:tkn|pw|oauth)_[\w.=-]{20,64})"),
    (("rk_", "rnd_", "re_"), r"\b(?:rnd|re)_[A-Za-z0-9_]{24,64}\b"),
    (("sq0",), r"\bsq0[a-z]{3}-[\w-]{22,60}"),
    (("eaaa",), r"\bEAAA[\w-]{50,255}"),
    (("key-",), r"\bkey-[a-f0-9]{32}\b"),
    (("-us",), r"\b[a-f0-9]{32}-us\d{1,2}\b"),
    (("sk", "ac"), r"\bSK[a-f0-9]{32}\b"),
    ((":aa",), r"\b\d{8,10}:AA[\w-]{32,35}"),
    (("atlasv1.",), r"\b[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,80}"),
    (("eyj",), r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),
    (("accountkey=", "sharedaccesskey="), r"(?<=AccountKey=)[A-Za-z0-9+/=]{20,}|(?<=SharedAccessKey=)[A-Za-z0-9+/=]{20,}"),
    (
        ("private key",),
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]{0,8000}?"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
)  # fmt: skip
FORMATS = tuple((needs, re.compile(pattern)) for needs, pattern in _FORMATS)

# A name that makes the value after it a secret, with what may stand before it: `db_password`, `X-Api-Key`, `--token`.
_SECRET_NAME = (
    r"(?:passw(?:or)?d|passwort|passphrase|passcode|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|api[_-]?key|apikey|access[_-]?key"
    r"|private[_-]?key|signing[_-]?key|encryption[_-]?key|auth[_-]?key|license[_-]?key|token|credentials?|sessionid|session[_-]?id"
    r"|session[_-]?key|cookie|csrf|otp|one[_-]?time[_-]?code|signature|sig|jwt|bearer|seed|pin)"
)
_PERSONAL_NAME = (
    r"(?:e-?mail|phone|mobile|telephone|ssn|social[_-]?security(?:[_-]?number)?|date[_-]?of[_-]?birth|birth[_-]?date|dob"
    r"|passport(?:[_-]?(?:no|number))?|tax[_-]?id|iban|card[_-]?number|cvv|cvc|first[_-]?name|last[_-]?name|full[_-]?name"
    r"|surname|(?:street|home|postal|billing|shipping)[_-]?address|driver'?s?[_-]?licen[cs]e)"
)
_NAMED = re.compile(
    rf"(?P<name>(?<![A-Za-z0-9])(?:[A-Za-z0-9]+[_.-]){{0,4}}(?P<kind>{_SECRET_NAME}|{_PERSONAL_NAME})s?)"
    r"(?P<sep>\\?[\"']?\]?\s{0,3}(?:=>|:=|[:=])\s{0,3}|\\?[\"']\s{0,3},\s{0,3}(?=\\?[\"'])|\s+(?:is|was|of)\s+(?=\S*\d))"
    r"(?P<value>\\?\"(?:[^\"\\]|\\.){1,4096}?\\?\"|\\?'(?:[^'\\]|\\.){1,4096}?\\?'|[^\s,;&\"'\\<>)}\]]{1,4096})",
    re.IGNORECASE,
)
_FLAG = re.compile(
    rf"(?P<name>(?<!\w)--?(?:[a-z0-9]+-){{0,3}}(?:{_SECRET_NAME}))(?P<sep>\s+)(?P<value>[^\s-][^\s]{{2,}})",
    re.IGNORECASE,
)
_SCHEME = re.compile(
    r"\b(?P<name>Bearer|Basic|Digest|Token|ApiKey|Negotiate)(?P<sep>\s+)(?P<value>[A-Za-z0-9+/=_.~-]{12,4096})"
)
_HEADER = re.compile(
    r"\b(?P<name>(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token)(?P<sep>[\"']?\s*[:=]\s*[\"']?)(?P<value>[^\"'\r\n]{1,4096})",
    re.IGNORECASE,
)
_USERINFO = re.compile(
    r"(?P<name>\b[a-z][a-z0-9+.-]{1,20}://)(?P<value>[^\s/@:]{0,256}:[^\s/@]{1,256}|[^\s/@:]{16,256})(?P<sep>@)", re.I
)

# What everybody writes where a value belongs, and what is no secret though a name like one stands before it.
_PLAIN = re.compile(
    r"(?i:none|null|nil|true|false|yes|no|on|off|ok|required|missing|unset|set|empty|absent|present|invalid|valid|expired|revoked"
    r"|unknown|wrong|changed|rotated|redacted|masked|hidden|default|optional|file|env|vault|see|not|the|a|an|is|was|of|for|in|at|to"
    r"|bad_signature|mismatch|verified|ed25519|bearer|basic|limit|count|usage|budget|refused|denied|allowed|string|str|bytes|int"
    r"|number|type|field|header|key|value|length)|\[redacted\]|\*+|x+|\.{2,}|[<${%].*|(?:\.{0,2}/|~/|file:)[\w./-]*"
    r"|[\w./-]+\.(?:pem|key|nk|json|ya?ml|txt|py|toml|env)|(?:sha256|sha512|sha1):[0-9a-f]+|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
)
_COUNTABLE = re.compile(r"(?i:token|signature|seed|cookie|secret|session|credential|csrf|sig)s?$")
_SMALL = re.compile(r"\d{1,12}(?:\.\d+)?(?:ms|s|%|[kKmM])?$")

_EMAIL = re.compile(
    r"(?<![\w.+%-])(?!git@)[A-Za-z0-9][\w.+%'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,5}[A-Za-z]{2,18}(?![\w-])"
)
_PHONE = re.compile(
    r"(?<![\w+.:/-])(?:\+[1-9]\d{0,2}[ .-]?(?:\(0?\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,5}){1,4}"
    r"|\([2-9]\d{2}\) ?[2-9]\d{2}[-. ]\d{4}|[2-9]\d{2}([-.])[2-9]\d{2}\1\d{4})(?![\w-])"
)
_SSN = re.compile(r"(?<![\w.-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_CARD = re.compile(
    r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\w-])|(?<![\w.-])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?![\w-])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")


def redact(text: str) -> str:
    """The text with every secret and personal datum that is recognised masked. Longer texts than MAX_CHARS are cut."""
    if len(text) > MAX_CHARS:
        text = text[:MAX_CHARS] + "…"
    lower = text.lower()
    for needs, pattern in FORMATS:
        if any(need in lower for need in needs):
            text = pattern.sub(MASK, text)
    if "://" in text:
        text = _USERINFO.sub(lambda found: f"{found['name']}{MASK}{found['sep']}", text)
    text = _HEADER.sub(_masked, text)
    text = _SCHEME.sub(_if_opaque, text)
    if any(mark in text for mark in ":=,") or " is " in text or " was " in text or " of " in text:
        text = _NAMED.sub(_if_telling, text)
    if "-" in text:
        text = _FLAG.sub(_masked_value, text)
    if "@" in text:
        text = _EMAIL.sub(MASK, text)
    for pattern, holds in _NUMBERS:
        text = pattern.sub(lambda found, holds=holds: MASK if holds(found[0]) else found[0], text)  # type: ignore[misc]
    return text


def is_sensitive_name(name: str) -> bool:
    """Whether what a field of this name holds is not to be shown."""
    return _FIELD.fullmatch(name) is not None


_FIELD = re.compile(rf"(?:[A-Za-z0-9]+[_.-])*(?:{_SECRET_NAME}|{_PERSONAL_NAME}|authorization)", re.IGNORECASE)


def _masked(found: re.Match[str]) -> str:
    value = found["value"].strip()
    return found[0] if MASK in value or _PLAIN.fullmatch(value) else f"{found['name']}{found['sep']}{MASK}"


def _masked_value(found: re.Match[str]) -> str:
    return found[0] if _PLAIN.fullmatch(found["value"]) else f"{found['name']}{found['sep']}{MASK}"


def _if_opaque(found: re.Match[str]) -> str:
    """A word of a sentence follows as well: `Token authentication`."""
    value = found["value"]
    if value.isalpha() and (value.islower() or len(value) < 16):
        return found[0]
    return f"{found['name']}{found['sep']}{MASK}"


def _if_telling(found: re.Match[str]) -> str:
    value = found["value"].strip("\\\"'")
    if not value or value.startswith(MASK[:-1]) or _PLAIN.fullmatch(value):
        return found[0]
    if _COUNTABLE.search(found["kind"]) and _SMALL.fullmatch(value):
        return found[0]  # so many of them, not one
    return f"{found['name']}{found['sep']}{MASK}"


def _is_card(text: str) -> bool:
    """ISO/IEC 7812: 13 to 19 digits, the last of which checks the others (Luhn)."""
    digits = [int(char) for char in text if char.isdigit()]
    if not 13 <= len(digits) <= 19:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: at most 34 characters, the number modulo 97 is 1."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _is_phone(text: str) -> bool:
    """E.164: 7 to 15 digits."""
    return 7 <= sum(char.isdigit() for char in text) <= 15


_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (_CARD, _is_card),
    (_IBAN, _is_iban),
    (_SSN, lambda _: True),
    (_PHONE, _is_phone),
)
