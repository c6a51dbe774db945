"""Log lines with secrets and personal data in them. Every secret is made here, from a seed:
none was ever anybody's, and no scanner finds one in this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.bus.telemetry.random_text import ALNUM, BASE32, DIGITS, HEX, LOWER, UPPER, Maker


def tokens(make: Maker) -> dict[str, str]:
    """What issuers mark by its form: a secret wherever it stands."""
    return {
        "aws key id": "AKIA" + make.of(BASE32, 16),
        "aws temporary key id": "ASIA" + make.of(BASE32, 16),
        "github": "ghp_" + make.of(ALNUM, 36),
        "github app": "ghs_" + make.of(ALNUM, 36),
        "github fine-grained": "github_pat_" + make.of(ALNUM, 22) + "_" + make.of(ALNUM, 59),
        "gitlab": "glpat-" + make.of(ALNUM, 20),
        "gitlab runner": "glrt-" + make.of(ALNUM, 20),
        "slack bot": "xoxb-" + make.of(DIGITS, 12) + "-" + make.of(ALNUM, 24),
        "slack app": "xapp-1-A" + make.of(UPPER, 10) + "-" + make.of(HEX, 40),
        "slack hook": "hooks.slack.com/services/T"
        + make.of(UPPER, 8)
        + "/B"
        + make.of(UPPER, 8)
        + "/"
        + make.of(ALNUM, 24),
        "stripe": "sk_live_" + make.of(ALNUM, 24),
        "stripe restricted": "rk_live_" + make.of(ALNUM, 24),
        "stripe hook": "whsec_" + make.of(ALNUM, 32),
        "google api": "AIza" + make.of(ALNUM, 35),
        "google oauth": "ya29." + make.of(ALNUM, 60),
        "google client": "GOCSPX-" + make.of(ALNUM, 28),
        "sendgrid": "SG." + make.of(ALNUM, 22) + "." + make.of(ALNUM, 43),
        "pypi": "pypi-AgEIcHlwaS5vcmc" + make.of(ALNUM, 80),
        "npm": "npm_" + make.of(ALNUM, 36),
        "hugging face": "hf_" + make.of(LOWER + UPPER, 34),
        "anthropic": "sk-ant-" + "api03-" + make.of(ALNUM, 60),
        "openai": "sk-" + make.of(ALNUM, 48),
        "openai project": "sk-proj-" + make.of(ALNUM, 48),
        "vault": "hvs." + make.of(ALNUM, 60),
        "digitalocean": "dop_v1_" + make.of(HEX, 64),
        "age": "AGE-SECRET-KEY-1" + make.of(UPPER + DIGITS, 58),
        "nats user seed": "SU" + make.of(BASE32, 56),
        "nats account seed": "SA" + make.of(BASE32, 56),
        "nats operator seed": "SO" + make.of(BASE32, 56),
        "shopify": "shpat_" + make.of(HEX, 32),
        "databricks": "dapi" + make.of(HEX, 32),
        "linear": "lin_api_" + make.of(ALNUM, 40),
        "atlassian": "ATATT3xFfGF0" + make.of(ALNUM, 60),
        "new relic": "NRAK-" + make.of(UPPER + DIGITS, 27),
        "postman": "PMAK-" + make.of(HEX, 24) + "-" + make.of(HEX, 34),
        "sentry": "sntrys_" + make.of(ALNUM, 60),
        "grafana": "glsa_" + make.of(ALNUM, 32) + "_" + make.of(HEX, 8),
        "supabase": "sbp_" + make.of(HEX, 40),
        "telegram": make.of("123456789", 9) + ":AA" + make.of(ALNUM, 33),
        "terraform": make.of(ALNUM, 14) + ".atlasv1." + make.of(ALNUM, 60),
        "mailgun": "key-" + make.of(HEX, 32),
        "mailchimp": make.of(HEX, 32) + "-us12",
        "twilio": "SK" + make.of(HEX, 32),
        "square": "sq0csp-" + make.of(ALNUM, 43),
        "jwt": ".".join(("eyJ" + make.of(ALNUM, 30), "eyJ" + make.of(ALNUM, 80), make.of(ALNUM, 43))),
    }


TOKEN_LINES = (
    "retrying with {0} after 401",
    'request failed: {{"error": "bad credential", "given": "{0}"}}',
    "GET /v1/things?key_hint={0}&page=2 took 31 ms",
    "ValueError: could not parse '{0}' as an integer",
)


def named(make: Maker) -> Iterator[tuple[str, str]]:
    """(value, line) where only the name before it says that it is one."""
    lines = (
        "connecting with password={0} to db-1",
        "env: DB_PASSWORD={0}",
        '{{"user": "svc-build", "password": "{0}"}}',
        "config: {{'client_secret': '{0}', 'tenant': 7}}",
        "api_key: {0}",
        "X-Api-Key: {0}",
        "running: curl --token {0} https://host/x",
        "argv: ['deploy', '--password', '{0}']",
        "Authorization: Bearer {0}",
        'headers={{"authorization": "Basic {0}"}}',
        "Cookie: sid={0}; theme=dark",
        "Set-Cookie: session={0}; HttpOnly",
        "GET /callback?code=1&access_token={0}&state=z",
        "callback https://host/files?sig={0}&se=2026",
        "postgres://app:{0}@db.internal:5432/app refused",
        "amqp://guest:{0}@mq:5672/%2f closed",
        "redis://:{0}@cache:6379/0 timed out",
        "nats://{0}@127.0.0.1:4222 authorization violation",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={0};EndpointSuffix=core",
        "aws_secret_access_key = {0}",
        "secretKey:{0}",
        "passphrase is {0}",
        "private_key=>{0}",
        'yaml: signing-key: "{0}"',
        "smtp: AUTH PLAIN, credentials={0}",
        'log: \\"api_token\\": \\"{0}\\"',
        "Bearer {0} was refused",
        "session_id={0} expired",
        "refresh-token := {0}",
        "encryption_key='{0}'",
        "pwd={0};uid=sa",
        "user.passwd: {0}",
        "jwt={0}",
        "ssh_passphrase={0}",
    )
    for line in lines:
        for length in (16, 24):
            value = make.base64(30) if "Basic" in line or "AccountKey" in line else make.mixed(length)
            yield value, line.format(value)
    for pin in ("493817", "20881"):
        yield pin, f"pin={pin}"
        yield pin, f'{{"otp": "{pin}"}}'


def personal(make: Maker) -> Iterator[tuple[str, str]]:
    """(datum, line)"""
    mails = (
        "ada.lovelace@example.com",
        "grace@navy.example.org",
        "j.o'neill+alerts@sub.example.co.uk",
        "m_m@example.museum",
    )
    for mail in mails:
        yield mail, f"notified {mail} of approval 3"
        yield mail, f'{{"to":"{mail}","status":"sent"}}'
        yield mail, f"<{mail}> bounced"
    phones = (
        "+49 170 1234567",
        "+1-202-555-0143",
        "+44 20 7946 0958",
        "+33 1 42 68 53 00",
        "(202) 555-0143",
        "202-555-0187",
    )
    for phone in phones:
        yield phone, f"could not reach {phone}, trying the next on call"
        yield phone, f"sms to {phone} queued"
    for prefix in ("4556", "5105", "2720", "6011"):
        plain = with_luhn(prefix + make.of(DIGITS, 11))
        spaced = " ".join(plain[at : at + 4] for at in range(0, 16, 4))
        yield plain, f"charge of {plain} declined"
        yield spaced, f"card {spaced} expired"
    amex = with_luhn("37" + make.of(DIGITS, 12))
    yield amex, f"amex {amex} declined"
    for country, bank in (
        ("DE", make.of(DIGITS, 18)),
        ("NL", "ABNA" + make.of(DIGITS, 10)),
        ("FR", make.of(DIGITS, 23)),
    ):
        iban = with_iban(country, bank)
        spaced = " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))
        yield iban, f"payout to {iban} failed"
        yield spaced, f"payout to {spaced} failed"
    for number in ("078-05-1120", "219-09-9999", "457-55-5462"):
        yield number, f"applicant {number} found"
        yield number, f"ssn={number}"
    for name, datum in (
        ("first_name", "Marguerite"),
        ("lastName", "Lovelace"),
        ("date_of_birth", "1815-12-10"),
        ("dob", "10.12.1815"),
        ("passport_no", "C01X00T47"),
        ("phone", "0170 1234567".replace(" ", "")),
        ("home_address", '"12 St James Square, London"'),
        ("full_name", '"Ada King"'),
        ("cvv", "737"),
    ):
        yield datum.strip('"'), f"record: {name}={datum}"
        yield datum.strip('"'), json.dumps({"id": 7, name: datum.strip('"')})


def with_luhn(digits: str) -> str:
    total = sum(sum(divmod(int(digit) * (2 if at % 2 == 0 else 1), 10)) for at, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def with_iban(country: str, bank: str) -> str:
    number = int("".join(str(int(char, 36)) for char in bank + country + "00"))
    return f"{country}{98 - number % 97:02d}{bank}"


def sensitive() -> list[tuple[str, str]]:
    """(what must not be seen, a line with it)"""
    make = Maker(11)
    found = [
        (token, TOKEN_LINES[(at + turn) % len(TOKEN_LINES)].format(token))
        for turn in range(2)
        for at, token in enumerate(tokens(Maker(turn)).values())
    ]
    kinds = ("RSA ", "EC ", "", "OPENSSH ")
    for kind in kinds:
        body = make.base64(120)
        begin, end = f"-----BEGIN {kind}PRIVATE" + " KEY-----", f"-----END {kind}PRIVATE" + " KEY-----"
        found.append((body, f"loaded {begin}\n{body}\n{end}"))
        found.append((body, f"loaded {begin}\\n{body}"))
    return [*found, *named(make), *personal(make)]
