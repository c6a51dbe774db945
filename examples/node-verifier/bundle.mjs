// Verifies a whole bundle with Node.js and its standard library alone, as docs/bundle-format.md tells it.
// Usage: node bundle.mjs [--root KEY]… BUNDLE.json.gz   Exit 0 valid, 1 not.
import { createHash, createPublicKey, verify as isSigned } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { authenticity, canonical, freshness, isSignedBy, route, shape, timeMs } from "./verify.mjs";
import { believedChain } from "./contract.mjs";
import { checkpointOf, checkLog } from "./log.mjs";
import { isGoodCopy } from "./redrive.mjs";
import { believedTrust, demand, holds, judge, roleOf, sha256 } from "./trust.mjs";

const MAX_BYTES = 256 << 20;
const HEADER = Buffer.from("1f8b08040000000002ff2400494c2000", "hex");
const SECTIONS = [
  "goal", "trust", "contract", "hops", "journal", "effects", "ledger", "deadLetters", "artefacts", "signatures", "config", "log",
];
// from, to, intent: what may be sent.
const AUTHORITY = {
  "gateway orchestrator plan": ["intake"],
  "orchestrator evaluator plan": ["plan_draft"],
  "evaluator orchestrator observe": ["plan_verdict", "verification"],
  "orchestrator executor act": ["task"],
  "executor evaluator observe": ["task_result"],
  "orchestrator auditor act": ["audit_request"],
  "auditor orchestrator observe": ["audit_report"],
  "orchestrator synthesizer act": ["knowledge_request"],
  "synthesizer orchestrator observe": ["knowledge_pack"],
  "orchestrator human escalate": ["escalation", "approval_request"],
  "auditor human escalate": ["escalation"],
  "orchestrator human complete": ["completion"],
  "human orchestrator observe": ["decision"],
};
for (const role of ["evaluator", "executor", "auditor", "synthesizer"]) AUTHORITY[`${role} orchestrator escalate`] = ["escalation"];
const BUNDLERS = ["auditor", "human"];
const INSIDE = ["bad_signature", "key_not_for_agent", "key_revoked"];

// Answers { valid, logged, check, detail }: the first check that failed, if one did. Never throws.
export function verifyBundle(data, roots = []) {
  try {
    const logged = checkAll(unpacked(data), roots);
    return { valid: true, logged, check: "", detail: logged ? "the audit log proves it" : "without a proof of the audit log" };
  } catch (error) {
    return { valid: false, logged: false, check: error.check ?? "form", detail: String(error.message).slice(0, 300) };
  }
}

function unpacked(data) {
  demand(data.length > HEADER.length + 40 && data.subarray(0, HEADER.length).equals(HEADER), "form", "not the header of bundles");
  const digest = data.subarray(HEADER.length, HEADER.length + 32), behind = data.subarray(HEADER.length + 32);
  demand(sha256(behind) === digest.toString("hex"), "form", "changed or cut");
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(gunzipSync(data, { maxOutputLength: MAX_BYTES }));
  const content = JSON.parse(text);
  demand(canonical(content) === text, "form", "not canonical JSON");
  demand(Object.keys(content).sort().join() === "manifest,sections,signature", "form", "not manifest, sections and signature");
  return content;
}

function checkAll({ manifest, sections, signature }, given) {
  demand(manifest.bundleVersion === 1, "version", "this reads version 1");
  checkSignature(manifest, signature);
  const names = [...SECTIONS].sort().join();
  demand(Object.keys(manifest.sections).sort().join() === names && Object.keys(sections).sort().join() === names, "sections", "not those of version 1");
  for (const name of SECTIONS) demand(sha256(canonical(sections[name])) === manifest.sections[name], "sections", `${name} differs from the manifest`);
  const roots = given.length ? given : sections.trust.roots;
  const trust = believedTrust(sections.trust.store, roots);
  const chain = believedChain(sections.contract, roots, trust);
  const named = chain.length > 0 && chain.at(-1).contract.kmsKeyRef === `${manifest.scheme}:${manifest.keyId}`;
  const signer = trust.keys.find((key) => key.keyId === manifest.keyId);
  demand(named || signer, "signer", "unknown_key: neither enrolled nor the contract's kmsKeyRef");
  demand(named || BUNDLERS.includes(roleOf(signer.agent)), "signer", `signer_not_allowed: ${signer?.agent} makes no bundles`);
  const judged = named ? "ok" : judge(trust, manifest.keyId, signer.agent, timeMs(manifest.madeAt), timeMs(manifest.madeAt));
  demand(judged === "ok", "signer", `${judged}: the key was not good when the bundle was made`);
  const hops = checkHops(sections, trust);
  checkMandate(hops, chain);
  checkAttestations(hops, trust);
  checkSignatureLog(sections, hops);
  const end = checkGoal(sections, hops);
  if (sections.log === null) return false;
  const messages = {
    HOPS: hops.map((hop) => [hop.sequence, hop.subject, hop.digest]),
    JOURNAL: sections.journal.map((entry) => [entry.sequence, entry.subject, sha256(entry.text)]),
  };
  const auditors = trust.keys.filter((key) => roleOf(key.agent) === "auditor").map((key) => key.keyId);
  const { workspace, goalId } = sections.goal;
  const problem = checkLog(sections.log, checkpointOf(sections.log.checkpoint, auditors, `interlock/${workspace}`), goalId, messages, end);
  demand(!problem, "log", problem);
  return true;
}

function checkSignature(manifest, signature) {
  const { scheme, keyId, publicKey: spki } = manifest, text = canonical(manifest);
  if (scheme === "ed25519-nkey") {
    demand(spki === "" && isSignedBy(keyId, "interlock-bundle-v1", text, signature), "signature", "the manifest is not signed");
    return;
  }
  demand(scheme === "ecdsa-p256-sha256", "signature", `scheme ${scheme} is not on the list`);
  const der = Buffer.from(spki, "base64"), body = Buffer.from(text), raw = Buffer.from(signature, "base64url");
  demand(der.toString("base64") === spki && keyId === `SHA256:${createHash("sha256").update(der).digest("base64url")}`, "signature", "keyId is not that of publicKey");
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  demand(key.asymmetricKeyDetails?.namedCurve === "prime256v1", "signature", "not a key on P-256");
  const message = Buffer.concat([Buffer.from([0xff]), Buffer.from(`interlock-bundle-v1 ${body.length} `), body]);
  demand(raw.toString("base64url") === signature && isSigned("sha256", message, key, raw), "signature", "the manifest is not signed");
}

function checkHops(sections, trust) {
  const { limits } = sections.goal, seen = {}, byId = {}, granted = {};
  const bounds = { maxBytes: limits.max_bytes, maxTtlMs: limits.max_ttl_ms, skewMs: limits.skew_ms };
  let last = 0;
  const hops = sections.hops.map((stored) => {
    demand(stored.sequence > last, "order", "hops out of order");
    last = stored.sequence;
    const bytes = Buffer.from(stored.wire, stored.encoding === "base64" ? "base64" : "utf8"), [formed, envelope] = stored.encoding === "utf-8" ? shape(stored.wire, bounds) : ["malformed"];
    const hop = { ...stored, envelope, digest: sha256(bytes), reason: formed, authentic: false };
    if (envelope) hop.reason = alone(hop, envelope, trust, bounds, seen);
    hop.redriven &&= hop.reason === "ok";
    if (hop.reason === "ok" && hop.redriven) {
      // A copy stands where the hop stands that it repeats, and takes nothing of its parent's budget again.
      if (byId[envelope.id]?.digest !== hop.digest) hop.reason = "bad_parent: the hop that it repeats is not before it";
    } else if (hop.reason === "ok") {
      hop.reason = placed(hop, envelope, byId, granted) || "ok";
      byId[envelope.id] = hop;
    }
    hop.verified = hop.reason === "ok";
    return hop;
  });
  const known = new Set(hops.filter((hop) => hop.verified).map((hop) => hop.digest));
  demand(known.size > 0, "hops", "none verified");
  const broken = hops.find((hop) => !hop.verified && (hop.authentic || INSIDE.includes(hop.reason)) && !known.has(hop.digest));
  demand(!broken, "hops", `sequence ${broken?.sequence}: ${broken?.reason}`);
  return hops;
}

function alone(hop, envelope, trust, bounds, seen) {
  const context = { workspace: trust.workspace, keys: trust.keys, nowMs: hop.storedMs, subject: hop.subject, recipient: "", seen, sequence: hop.sequence };
  const signed = authenticity(envelope, context);
  hop.authentic = signed === "ok";
  if (!hop.authentic) return signed;
  const routed = route(envelope, context);
  if (routed !== "ok") return routed;
  hop.redriven = hop.messageId !== envelope.id;
  if (hop.redriven && !hop.redrive) return "wrong_message_id";
  if (hop.redriven && !isGoodCopy(hop, trust)) return "replayed";
  if (envelope.spanId !== `${sha256(envelope.id).slice(0, 15)}1`) return "trace_mismatch";
  const allowed = [envelope.to].flat().every((to) => AUTHORITY[`${roleOf(envelope.from)} ${roleOf(to)} ${envelope.intent}`]?.includes(envelope.payload.type));
  if (!allowed) return "policy_denied";
  const fresh = freshness(envelope, hop.redriven ? { ...context, seen: {} } : context, bounds);
  if (fresh === "ok" && !hop.redriven) seen[envelope.id] = hop.sequence;
  return fresh;
}

const micro = (text) => { const [whole, part = ""] = text.split("."); return BigInt(whole) * 1_000_000n + BigInt(part.padEnd(6, "0") || 0); };
const amount = (budget) => [micro(budget.costUSD), ...["thinkingTokens", "wallMs", "actions"].map((name) => BigInt(budget[name]))];
const idTime = (id) => id.slice(0, 8) + id.slice(9, 13);

// The place in the graph: empty, or what is wrong with it.
function placed(hop, child, byId, granted) {
  if (child.parentId === undefined) {
    if (roleOf(child.from) !== "gateway" || child.payload.type !== "intake" || child.parentDigest !== undefined) return "bad_parent: no root";
    return child.id === derivedId(child.workspace, child.goalId, child.from, "intake") ? "" : "bad_parent: its id is not derived from its goal's";
  }
  const parent = byId[child.parentId], above = parent?.envelope;
  if (!above || child.parentDigest !== parent.digest) return "bad_parent: not there, or other bytes";
  for (const name of ["goalId", "workspace", "traceId"]) if (child[name] !== above[name]) return `bad_parent: another ${name}`;
  if (canonical(child.policyContext) !== canonical(above.policyContext)) return "bad_parent: another policyContext";
  if (idTime(child.id) !== idTime(above.id)) return "bad_parent: its id is not derived from its parent's";
  if (timeMs(child.createdAt) + child.ttlMs > timeMs(above.createdAt) + above.ttlMs) return "bad_parent: it outlives its parent";
  const before = granted[above.id] ?? [0n, 0n, 0n, 0n], total = amount(child.budget).map((part, index) => part + before[index]);
  if (amount(above.budget).some((part, index) => total[index] > part)) return "bad_parent: its parent's budget is exceeded";
  granted[above.id] = total;
  return "";
}

function derivedId(workspace, parentId, sender, step) {
  const random = createHash("sha256").update(`${workspace}\n${parentId}\n${sender}\n${step}`).digest().subarray(0, 10);
  random[0] = (random[0] & 0x0f) | 0x70;
  random[2] = (random[2] & 0x3f) | 0x80;
  const hex = idTime(parentId) + random.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function checkMandate(hops, chain) {
  for (const { verified, envelope } of hops) {
    if (!verified) continue;
    const { contractRef, policyBundle, capabilities } = envelope.policyContext, version = chain.find((one) => one.ref === contractRef);
    demand(version || (!contractRef && chain.length === 0), "mandate", "contractRef is not in the chain");
    if (!version) continue;
    const { agents, policyBundleChecksum } = version.contract, names = agents.map((entry) => entry.agent);
    demand(policyBundle === policyBundleChecksum, "mandate", "policyBundle is not the contract's");
    demand(names.includes(envelope.from) || names.includes(roleOf(envelope.from)), "mandate", `${envelope.from} is no agent of the contract`);
    const held = agents.find((entry) => entry.agent === "executor")?.capabilities ?? [];
    demand(capabilities.every((one) => holds(held, one)), "mandate", "capabilities beyond the contract's");
  }
}

function checkAttestations(hops, trust) {
  for (const { statement, keyId, signature } of hops.filter((hop) => hop.verified).flatMap((hop) => hop.envelope.attestations)) {
    const known = trust.keys.some((key) => key.keyId === keyId);
    demand(known && isSignedBy(keyId, "interlock-statement-v1", canonical(statement), signature), "attestations", "not signed by a key that is trusted");
  }
}

function checkSignatureLog({ signatures: written, goal }, hops) {
  if (written === null) return;
  const { operations, summary } = written, good = operations.filter((one) => one.verified).length;
  demand(written.workspace === goal.workspace && written.goalId === goal.goalId, "signature log", "of another goal");
  demand(summary.totalOperations === operations.length && summary.signaturesVerified === good, "signature log", "its sums are wrong");
  operations.forEach((said, index) => {
    const { sequence, subject, verified, digest, envelope, redriven } = hops[index] ?? {};
    const same = said.sequence === sequence && Boolean(said.redriven) === Boolean(redriven) && said.subject === subject?.slice(0, 256) && said.verified === verified && (!verified || said.digest === digest);
    demand(same && (!verified || said.signature === envelope.signature), "signature log", `step ${said.step} is not as verified here`);
  });
}

function checkGoal({ goal }, hops) {
  const verified = hops.filter((hop) => hop.verified);
  demand(verified.every(({ envelope }) => envelope.goalId === goal.goalId && envelope.workspace === goal.workspace), "goal", "hops of another goal");
  const ends = verified.filter(({ envelope }) => envelope.payload.type === "completion");
  demand(ends.length === 1 && ends[0].envelope.payload.outcome === goal.status.outcome, "completion", "not one completion that agrees with the status");
  return ends[0].sequence;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const roots = [], files = [];
  for (let rest = process.argv.slice(2); rest.length; ) {
    const [first, second, ...others] = rest;
    if (first === "--root") { roots.push(second); rest = others; } else { files.push(first); rest = rest.slice(1); }
  }
  const read = (file) => {
    try {
      if (!statSync(file).isFile()) return { valid: false, check: "unreadable", detail: "not a regular file" };
      return verifyBundle(readFileSync(file), roots);
    } catch (error) {
      return { valid: false, check: "unreadable", detail: error.message };
    }
  };
  const verdicts = files.map((file) => [file, read(file)]);
  if (!files.length) console.error("usage: node bundle.mjs [--root KEY]… BUNDLE.json.gz");
  for (const [file, { valid, check, detail }] of verdicts) console.log(valid ? `valid   ${file}: ${detail}` : `INVALID ${file}: ${check}: ${detail}`);
  process.exitCode = files.length > 0 && verdicts.every(([, { valid }]) => valid) ? 0 : 1;
}
