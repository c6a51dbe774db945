// Verifies Interlock envelopes with Node.js and its standard library alone.
// Usage: node verify.mjs VECTOR.json…   Exit 0 if every verdict is the expected one.
import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { readFileSync } from "node:fs";

const MAX_BYTES = 256 * 1024, MAX_TTL_MS = 3_600_000, SKEW_MS = 5_000;
const DOMAIN = Buffer.concat([Buffer.from([0xff]), Buffer.from("interlock-envelope-v1")]);
const FIELDS = new Set(("attestations budget complianceTags confidenceScore costEstimate createdAt from goalId id intent keyId " +
  "parentDigest parentId payload policyContext riskTier sbomHash signature spanId specVersion subject thinkingBudget to traceId " +
  "ttlMs watermark workspace").split(" "));
const OPTIONAL = new Set(["parentDigest", "parentId", "sbomHash", "watermark"]);

// RFC 8785: JavaScript's own number and string forms, keys in UTF-16 order.
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

// NKey: base32 of prefix byte, 32 key bytes, CRC-16/XMODEM little-endian.
export function publicKey(keyId) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  let bits = 0, value = 0;
  const bytes = [];
  for (const letter of keyId) {
    value = (value << 5) | alphabet.indexOf(letter);
    bits += 5;
    if (bits >= 8) { bits -= 8; bytes.push((value >> bits) & 255); }
    value &= 0xfff;
  }
  const raw = Buffer.from(bytes), body = raw.subarray(0, 33);
  let crc = 0;
  for (const byte of body) {
    crc ^= byte << 8;
    for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  if (raw.length !== 35 || raw.readUInt16LE(33) !== crc) throw new Error("not an NKey");
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: body.subarray(1).toString("base64url") }, format: "jwk" });
}

function keyReason(keys, envelope, seenMs) {
  const key = keys.find((entry) => entry.keyId === envelope.keyId);
  if (!key) return "unknown_key";
  if (key.agent !== envelope.from && key.agent !== envelope.from.split(".")[0]) return "key_not_for_agent";
  if (key.revokedAt && seenMs >= Date.parse(key.revokedAt)) return "key_revoked";
  const created = Date.parse(envelope.createdAt);
  if (created < Date.parse(key.notBefore)) return "key_not_yet_valid";
  if (created >= Date.parse(key.notAfter) || seenMs >= Date.parse(key.notAfter)) return "key_expired";
  return "ok";
}

export function verify(vector) {
  const wire = vector.wire, bytes = Buffer.from(wire);
  if (bytes.length > MAX_BYTES) return "too_large";
  let envelope;
  try { envelope = JSON.parse(wire); } catch { return "malformed"; }
  if (envelope === null || typeof envelope !== "object" || Array.isArray(envelope)) return "malformed";
  if (typeof envelope.specVersion === "string" && envelope.specVersion !== "1.0") return "unknown_version";
  for (const name of Object.keys(envelope)) if (!FIELDS.has(name)) return "malformed";
  for (const name of FIELDS) if (!OPTIONAL.has(name) && !(name in envelope)) return "malformed";
  if (canonical(envelope) !== wire) return "not_canonical";

  if (envelope.workspace !== vector.workspace) return "wrong_workspace";
  const reason = keyReason(vector.keys, envelope, vector.nowMs);
  if (reason !== "ok") return reason;
  const { signature, ...rest } = envelope;
  const body = Buffer.from(canonical(rest));
  const message = Buffer.concat([DOMAIN, Buffer.from(` ${body.length} `), body]);
  const raw = Buffer.from(signature, "base64url");
  if (raw.toString("base64url") !== signature || raw.length !== 64) return "bad_signature";
  if (!verifySignature(null, message, publicKey(envelope.keyId), raw)) return "bad_signature";

  if (envelope.subject !== vector.subject) return "wrong_subject";
  const tokens = vector.subject.split(".");
  const expected = ["interlock", envelope.workspace, "role", tokens[3], envelope.goalId, envelope.intent].join(".");
  if (vector.subject !== expected) return "wrong_subject";
  const to = Array.isArray(envelope.to) ? envelope.to : [envelope.to];
  if (!to.some((agent) => agent.split(".")[0] === tokens[3])) return "wrong_recipient";
  const reader = vector.recipient;
  if (reader && !to.includes(reader) && !to.includes(reader.split(".")[0])) return "wrong_recipient";

  const created = Date.parse(envelope.createdAt);
  if (envelope.ttlMs > MAX_TTL_MS) return "ttl_too_long";
  if (created > vector.nowMs + SKEW_MS) return "from_future";
  if (vector.nowMs > created + envelope.ttlMs + SKEW_MS) return "expired";
  return "ok";
}

if (process.argv[1]?.endsWith("verify.mjs")) {
  let wrong = 0;
  for (const file of process.argv.slice(2)) {
    const vector = JSON.parse(readFileSync(file, "utf8"));
    const verdict = verify(vector);
    const digest = createHash("sha256").update(vector.wire).digest("hex").slice(0, 12);
    console.log(`${verdict === vector.expect ? "agree " : "DIFFER"} ${vector.name}: ${verdict} ${digest}`);
    wrong += verdict === vector.expect ? 0 : 1;
  }
  process.exit(wrong ? 1 : 0);
}
