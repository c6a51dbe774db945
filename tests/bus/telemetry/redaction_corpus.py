"""Log lines with secrets and personal data in them, and lines that only look so. Every secret is made here, from a seed:
none was ever anybody's, and no scanner finds one in this file.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator

LOWER, UPPER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
ALNUM, HEX, BASE32 = UPPER + LOWER + DIGITS, "0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Maker:
    """Random text from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def of(self, letters: str, length: int) -> str:
        return "".join(self._random.choices(letters, k=length))

    def mixed(self, length: int) -> str:
        """With at least a letter and a digit."""
        return self.of(LOWER, 1) + self.of(ALNUM, length - 2) + self.of(DIGITS, 1)

    def base64(self, size: int) -> str:
        return base64.b64encode(self._random.randbytes(size)).decode()

    def base64url(self, size: int) -> str:
        return base64.urlsafe_b64encode(self._random.randbytes(size)).decode().rstrip("=")

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


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


HARMLESS = """\
goal 01a1fd22-f39d-7fc3-88a8-d2ea2d34d7e1 released after 4 gates
hop 18231 not answered: the broker did not acknowledge in time
commit 9fceb02d0ae598e95dc970b74767f19372d61af8 checked out
sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 stored
digest e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
traceparent 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
nats-server 2.15.1 listens on 127.0.0.1:4222
connected to nats://127.0.0.1:4222 as executor
https://example.com/docs/tokens?page=2#secrets
git@github.com:example/repository.git cloned
playbook release-readiness@1.0.0 chosen
npm install left-pad@1.3.0
pip install 'anyio>=4.6'
image registry.example.com/team/app@sha256:4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a
@app.command registered
token budget 120000 of 500000 used
tokens=5321 cost=0.0123
token_count: 812
max_tokens=4096 temperature=0
thinking_tokens: 0
tokens: 18
session: 3 of 12
secrets: 0 found in 812 files
password required
password: required
the password was changed by its owner
password=********
password=$DB_PASSWORD
password: ${DB_PASSWORD}
password=<redacted>
token: null
token=None
secret is missing
api_key: not set
api key rotation is due in 3 days
secret_file: /etc/interlock/webhook.key
key_file=keys/executor.nk
token_file: ./run/token.txt
credentials: file
credentials=vault
private_key=keys/root.pem
signature: valid
signature=invalid
signature bad_signature refused at gate signature
bad_signature: the signature does not verify
signatures: 17 verified, 0 refused
seed=42
seed: 7
random seed is 1234
Random seed = 20261121
cookie: none
cookies: 2
pin: none
otp: expired
bearer token missing
Authorization header missing
Bearer authentication is required
Basic authentication refused
Token authentication failed
Digest mismatch in artefact report.json
deviation signature_failure opened for role:executor
approval 01a1fd22-f39d-7fc3-88a8-d2ea2d34d7e1 of plan.start timed out
email notifications are off
email: none
phone: not given
notified 3 humans by webhook
stakeholder Ada was told
started at 2026-11-21T10:44:44.123Z
2026-11-21 10:44:44,123 INFO interlock.process ready
at 1795259753823086022 ns
stored_ms=1795259753823
sequence 4556737586899855 is not there
sequence=1234567890123456
pid 123456 ended with status -9
port 65535 is taken
uid=1000 gid=1000
rss 52588544 bytes, 18 descriptors
took 0.38 ms p50, 12.7 ms p99
5,000 hops a second
cost 12.345678 USD of 500.000000
usd_micro=1234567
retry in 30000 ms
version 0.1.0 of interlock, Python 3.11.9
CVE-2024-3094 found in xz 5.6.1
RFC 9162 section 2.1.3
ISO-8601 time expected, got 21.11.2026
CPU 250m, memory 512Mi
replicas 3 of 5 ready
pod orchestrator-7d9f8b6c5-x2x4z restarted 3 times
deployment default/api scaled from 2 to 4
10.0.12.7:8080 refused the connection
fe80::1ff:fe23:4567:890a is unreachable
00:1A:2B:3C:4D:5E joined
$JS.API.CONSUMER.INFO.HOPS.executor-default answered 404
interlock.default.role.executor.01a1fd22-f39d-7fc3-88a8-d2ea2d34d7e1.act
_INBOX_human.Hx7Gq2.1 heard nothing
stream HOPS has 123456 messages, 98765432 bytes
consumer executor-default: 512 pending, 12 ack pending, 3 redelivered
gate G4 failed: lowest_confidence = 640
rule data.interlock.authority/deny-4 refused it
policy_denied: skill:appending-line is not held
key_revoked: the key was revoked at 2026-11-20T00:00:00Z
wrong_subject: interlock.w.role.auditor.x.act
Traceback (most recent call last):
  File "/srv/interlock/agents/process.py", line 214, in serve
KeyError: 'token'
ValueError: invalid literal for int() with base 10: 'abc'
TypeError: sign() missing 1 required positional argument: 'key'
AttributeError: 'NoneType' object has no attribute 'password'
keyword argument 'secret' is not known
def verify(signature: bytes, key: bytes) -> bool
class TokenBucket(Struct, frozen=True)
import secrets
secrets.token_hex is not used
log_level=debug
isolation=strict concurrency=4
environment=production region=eu-central-1
lease_ms=900 poll_ms=250
wrote build/bench.json
opened /var/lib/interlock/store/jetstream
rm -rf build dist
curl --fail --silent http://127.0.0.1:9464/ready
docker run --rm -p 4222:4222 nats:2.15
kubectl -n monitoring get secret
kubectl create secret generic webhook --from-file=key
secret/webhook created
configmap/tokens unchanged
helm upgrade interlock ./chart --version 1.2.3
certificate expires in 12 days
TLS handshake with CN=nats.example.com done
public key UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4
key id UA6KOMQ67XOE3FHE37W4OXADVXVYISBNLTBUT2LSY5VFKAIJ7CRDR2RZ signed it
agent executor.2 presents key UBQ5OGWOUEDQTKGZTPJ4DMVUEKE4VMVQ3F5F3S5LXQ6HSDRQMJUKI3DN
etag "33a64df551425fcc55e4d42a148795d9f25f89d4"
md5 d41d8cd98f00b204e9800998ecf8427e
base64 of 30 bytes
order 4111-2222 shipped
ticket INC-2026-00412 opened
issue #4821 closed by pull request 4822
build 20261121.4 passed
serial 00-14-22-01-23-45
isbn 978-3-16-148410-0
part 202-555 is out of stock
room 415, floor 2
range 1000-2000 read
line 123-45 of plan.yaml
row 12-34-56 skipped
version 1.22.333.4444
score +12.5 points, was -3
offset +0100 used
utc+02:00 assumed
+15% cpu, -3% memory
delta +1234567 bytes
latitude 52.520008, longitude 13.404954
hash seed PYTHONHASHSEED=0
exit status 78
signal 15 received
fsync every 120 s
batch 128 of 512
window 7d, step 5m
ratio 0.9931
checksum crc32c 0x1a2b3c4d ok
0xdeadbeefcafebabe0123456789abcdef
#a1b2c3 is the colour
U+200B stripped
x-request-id: 7f3c2b1a-6d5e-4f3a-8b2c-1d0e9f8a7b6c
content-type: application/json; charset=utf-8
user-agent: nats-cli/0.2
if-none-match: "abc123"
accept: text/plain;version=0.0.4
retry-after: 30
x-ratelimit-remaining: 42
model gpt-4o-mini answered 200 in 812 ms
sk-learn 1.5 imported
pk=42 loaded
key=42 value=7
key: goals/default
primary_key=id
foreign key constraint failed
sort key: started_at
dedupe key dead-w-executor-HOPS-12
cache key default.01a1fd22
keyboard shortcut k
monkey patched
turkey, hockey, passkey support
compass: north
bypass=true
passed=9 failed=0
passing 41 of 41
pass
secretary@ is no address
user@localhost
me@ and @you
a@b
3 @ 4
foo@bar_baz
email subject: goal released
author = Ada Lovelace
name: scanning-secrets
names: 12
first name of the list
address already in use
bind address 0.0.0.0:9464
card 3 of 5 drawn
dob is not a field
phone book empty
iban check skipped
license Apache-2.0
tax 19 %
mobile layout chosen
expected DE or NL
AB12 CDEF is a wing
GB-LON office
NL 12
"""


def harmless() -> list[str]:
    make = Maker(23)
    lines = HARMLESS.splitlines()
    for _ in range(6):
        lines.append(f"trace {make.of(HEX, 32)} span {make.of(HEX, 16)}")
        lines.append(f"artefact {make.of(HEX, 64)} stored, {make.number(1, 10**9)} bytes")
        lines.append(
            f"goal {make.of(HEX, 8)}-{make.of(HEX, 4)}-7{make.of(HEX, 3)}-8{make.of(HEX, 3)}-{make.of(HEX, 12)} ended"
        )
        lines.append(
            f"sequence {make.number(10**12, 2 * 10**12)} at {make.number(1_795_000_000_000, 1_796_000_000_000)}"
        )
    return lines
