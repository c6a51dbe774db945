// The trust store, and the small words that every part of the verifier uses.
import { createHash } from "node:crypto";
import { canonical, isSignedBy, publicKey, timeMs } from "./verify.mjs";

export const sha256 = (data) => createHash("sha256").update(data).digest("hex");
export const roleOf = (agent) => agent.split(".")[0];
export const holds = (held, wanted) => held.some((one) => one === wanted || (one.endsWith("*") && wanted.startsWith(one.slice(0, -1))));

export class Broken extends Error {
  constructor(check, detail) { super(detail); this.check = check; }
}
export function demand(truth, check, detail) { if (!truth) throw new Broken(check, detail); }

export function believedTrust(text, roots) {
  const { store, signatures } = JSON.parse(text);
  demand(canonical({ store, signatures }) === text, "trust", "not canonical");
  const good = signatures.some((one) => roots.includes(one.keyId) && isSignedBy(one.keyId, "interlock-trust-v1", canonical(store), one.signature));
  demand(good, "trust", "not signed by a root that is trusted");
  const keys = store.agents.flatMap((record) => record.keys.map((key) => ({ ...key, agent: record.agent, capabilities: record.capabilities })));
  const points = keys.map((key) => publicKey(key.keyId).export({ format: "jwk" }).x);
  demand(new Set(points).size === points.length, "trust", "a key is enrolled twice");
  return { workspace: store.workspace, keys };
}

// As authenticity in verify.mjs, for what is no envelope.
export function judge(trust, keyId, agent, createdMs, seenMs) {
  const key = trust.keys.find((entry) => entry.keyId === keyId);
  if (!key) return "unknown_key";
  if (key.agent !== agent && key.agent !== roleOf(agent)) return "key_not_for_agent";
  if (key.revokedAt && seenMs >= timeMs(key.revokedAt)) return "key_revoked";
  if (createdMs < timeMs(key.notBefore)) return "key_not_yet_valid";
  return Math.max(createdMs, seenMs) < timeMs(key.notAfter) ? "ok" : "key_expired";
}
