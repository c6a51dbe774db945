// Verifies Interlock envelopes with Node.js and its standard library alone. README.md says each step in words.
// Usage: node verify.mjs VECTOR.json…   Exit 0 if every verdict is the expected one.
import { createPublicKey, verify as isSigned } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const LIMITS = { maxBytes: 256 * 1024, maxTtlMs: 3_600_000, skewMs: 5_000 }, MAX_DEPTH = 32;
const SCHEMA = JSON.parse(readFileSync(new URL("../../tests/vectors/schema.json", import.meta.url), "utf8"));

// RFC 8785: JavaScript's own number and string forms, keys in UTF-16 order.
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

const TYPES = {
  null: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  string: (value) => typeof value === "string" && value.isWellFormed(),
  integer: Number.isSafeInteger,
  number: Number.isFinite,
  array: Array.isArray,
  object: (value) => value !== null && typeof value === "object" && !Array.isArray(value),
};

// The part of JSON Schema that the envelope's schema uses. A schema without keywords is free-form JSON without floats.
export function conforms(value, schema) {
  if (schema.$ref) return conforms(value, SCHEMA.$defs[schema.$ref.split("/").at(-1)]);
  if (schema.anyOf) return schema.anyOf.some((one) => conforms(value, one));
  if (schema.enum) return schema.enum.includes(value);
  if (!schema.type) return isPlain(value, 1);
  if (!TYPES[schema.type](value)) return false;
  if (schema.type === "string") {
    return [...value].length <= (schema.maxLength ?? Infinity) && (!schema.pattern || new RegExp(schema.pattern, "u").test(value));
  }
  if (schema.type === "integer" || schema.type === "number") {
    const above = value >= (schema.minimum ?? -Infinity) && value > (schema.exclusiveMinimum ?? -Infinity);
    return above && value <= (schema.maximum ?? Infinity);
  }
  if (schema.type === "array") {
    const many = value.length >= (schema.minItems ?? 0) && value.length <= (schema.maxItems ?? Infinity);
    return many && value.every((item) => conforms(item, schema.items));
  }
  if (schema.type !== "object") return true;
  const known = schema.properties ?? {}, others = schema.additionalProperties ?? {};
  return (schema.required ?? []).every((key) => Object.hasOwn(value, key)) &&
    Object.keys(value).every((key) => key.isWellFormed() &&
      (Object.hasOwn(known, key) ? conforms(value[key], known[key]) : others !== false && conforms(value[key], others)));
}

function isPlain(value, depth) {
  if (typeof value === "number") return Number.isSafeInteger(value);
  if (typeof value === "string") return value.isWellFormed();
  if (value === null || typeof value !== "object") return true;
  return depth < MAX_DEPTH && Object.entries(value).every(([key, item]) => key.isWellFormed() && isPlain(item, depth + 1));
}

// NKey: base32 of prefix byte, 32 key bytes, CRC-16/XMODEM little-endian.
export function publicKey(keyId) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  let bits = 0, value = 0;
  const bytes = [];
  for (const letter of keyId) {
    value = ((value << 5) | alphabet.indexOf(letter)) & 0xfff;
    bits += 5;
    if (bits >= 8) { bits -= 8; bytes.push((value >> bits) & 255); }
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

// The time in ms since 1970, or NaN: Date.parse takes the 30th of February for the 1st of March.
export function timeMs(text) {
  const time = Date.parse(text);
  return Number.isNaN(time) || new Date(time).toISOString() !== text ? NaN : time;
}

export function shape(wire, { maxBytes } = LIMITS) {
  if (Buffer.byteLength(wire) > maxBytes) return ["too_large"];
  let envelope;
  try { envelope = JSON.parse(wire); } catch { return ["malformed"]; }
  if (!TYPES.object(envelope)) return ["malformed"];
  if (typeof envelope.specVersion === "string" && envelope.specVersion !== "1.0") return ["unknown_version"];
  const complete = { signature: "A".repeat(86), ...envelope }; // one without is well-formed, but not signed
  if (!conforms(complete, SCHEMA) || Number.isNaN(timeMs(envelope.createdAt))) return ["malformed"];
  if (canonical(envelope) !== wire) return ["not_canonical"];
  return ["ok", envelope];
}

export function authenticity(envelope, { workspace, keys, nowMs }) {
  if (envelope.workspace !== workspace) return "wrong_workspace";
  if (!envelope.signature) return "bad_signature";
  const key = keys.find((entry) => entry.keyId === envelope.keyId);
  if (!key) return "unknown_key";
  if (key.agent !== envelope.from && key.agent !== envelope.from.split(".")[0]) return "key_not_for_agent";
  if (key.revokedAt && nowMs >= timeMs(key.revokedAt)) return "key_revoked";
  const created = timeMs(envelope.createdAt);
  if (created < timeMs(key.notBefore)) return "key_not_yet_valid";
  if (created >= timeMs(key.notAfter) || nowMs >= timeMs(key.notAfter)) return "key_expired";

  const { signature, ...rest } = envelope;
  return isSignedBy(envelope.keyId, "interlock-envelope-v1", canonical(rest), signature) ? "ok" : "bad_signature";
}

// Whether the key signed the text in this domain: Ed25519 over the pre-authentication encoding, base64url of one spelling.
export function isSignedBy(keyId, domain, text, signature) {
  const body = Buffer.from(text), raw = Buffer.from(signature, "base64url");
  const message = Buffer.concat([Buffer.from([0xff]), Buffer.from(`${domain} ${body.length} `), body]);
  return raw.toString("base64url") === signature && isSigned(null, message, publicKey(keyId), raw);
}

export function route(envelope, { subject, recipient }) {
  if (envelope.subject !== subject) return "wrong_subject";
  const role = subject.split(".")[3];
  if (subject !== ["interlock", envelope.workspace, "role", role, envelope.goalId, envelope.intent].join(".")) return "wrong_subject";
  const to = [envelope.to].flat();
  if (!to.some((agent) => agent.split(".")[0] === role)) return "wrong_recipient";
  return !recipient || to.includes(recipient) || to.includes(recipient.split(".")[0]) ? "ok" : "wrong_recipient";
}

export function freshness(envelope, { nowMs, seen, sequence }, { maxTtlMs, skewMs } = LIMITS) {
  const created = timeMs(envelope.createdAt);
  if (envelope.ttlMs > maxTtlMs) return "ttl_too_long";
  if (created > nowMs + skewMs) return "from_future";
  if (nowMs > created + envelope.ttlMs + skewMs) return "expired";
  return Object.hasOwn(seen, envelope.id) && seen[envelope.id] !== sequence ? "replayed" : "ok";
}

// A vector is what a receiver has: wire text, subject it came on, place in the stream, clock, keys, ids seen before.
export function verify(vector) {
  const [formed, envelope] = shape(vector.wire);
  if (formed !== "ok") return formed;
  for (const check of [authenticity, route, freshness]) {
    const reason = check(envelope, vector);
    if (reason !== "ok") return reason;
  }
  return "ok";
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const vectors = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, "utf8")));
  const verdicts = vectors.map((vector) => [vector, verify(vector)]);
  for (const [vector, verdict] of verdicts) {
    console.log(verdict === vector.expect ? `agree  ${vector.name}: ${verdict}` : `DIFFER ${vector.name}: ${verdict}, expected ${vector.expect}`);
  }
  const agree = vectors.length > 0 && verdicts.every(([vector, verdict]) => verdict === vector.expect);
  process.exitCode = agree ? 0 : 1;
}
