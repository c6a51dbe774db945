"""Log lines that only look as if there were secrets or personal data in them."""

from __future__ import annotations

from tests.bus.telemetry.random_text import HEX, Maker

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
