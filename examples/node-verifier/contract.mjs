// The chain of contract versions (docs/contract.md): who may sign one, which may follow which, what a freeze lets change.
import { canonical, isSignedBy, publicKey, timeMs } from "./verify.mjs";
import { demand, holds, judge, roleOf, sha256 } from "./trust.mjs";

const FOLLOWS = { draft: ["draft", "active", "retired"], active: ["active", "frozen", "retired"], frozen: ["frozen", "active", "retired"], retired: [] };

// A key by its bytes: the same one may be written as U…, A… and O….
const pointOf = (keyId) => publicKey(keyId).export({ format: "jwk" }).x;

export function believedChain(stored, roots, trust) {
  const chain = [];
  for (const text of stored) {
    const { contract, signatures } = JSON.parse(text), before = chain.at(-1), issued = timeMs(contract.issuedAt);
    demand(canonical({ contract, signatures }) === text, "contract", "not canonical");
    const names = signatures.map((entry) => entry.keyId);
    demand(canonical([...new Set(names)].sort()) === canonical(names), "contract", "signatures are not sorted, each key once");
    demand(contract.workspace === trust.workspace && contract.contractVersion === chain.length + 1, "contract", "not the next version");
    demand(contract.previousContractRef === (before ? before.ref : null), "contract", "the chain is broken");
    const signers = new Set();
    for (const { keyId, signature } of signatures) {
      demand(isSignedBy(keyId, "interlock-contract-v1", canonical(contract), signature), "contract", "a bad signature");
      demand(roots.includes(keyId) || isContractSigner(keyId, trust, issued), "contract", `${keyId} may not sign contracts`);
      signers.add(pointOf(keyId));
    }
    if (before) {
      demand(signers.size >= before.contract.signing.threshold, "contract", "too few signatures");
      const problem = following(before.contract, before.ref, contract, chain);
      demand(!problem, "contract", problem);
      if (contract.changeRequest) checkAsked(contract, signers, before.contract.signing.threshold, roots, trust, issued);
    } else {
      demand(roots.some((root) => signers.has(pointOf(root))), "contract", "version 1 is not signed by a root");
      demand(["draft", "active"].includes(contract.lifecycle), "contract", `bad_lifecycle: a first version cannot be ${contract.lifecycle}`);
      demand(!contract.changeRequest && contract.retiredRefs.length === 0, "contract", "change_mismatch: a first version changes nothing");
    }
    chain.push({ contract, ref: sha256(text) });
  }
  return chain;
}

function isContractSigner(keyId, trust, issued) {
  const key = trust.keys.find((entry) => entry.keyId === keyId);
  return Boolean(key) && roleOf(key.agent) === "human" && holds(key.capabilities, "contract:sign") && judge(trust, keyId, key.agent, issued, issued) === "ok";
}

// The classes of change that a freeze guards. What is not named here may always change.
function changesBetween(old, next) {
  const differ = (...pairs) => pairs.some(([one, other]) => canonical(one) !== canonical(other));
  const was = old.emergencyFlags, is = next.emergencyFlags;
  const found = {
    agents: differ([old.agents, next.agents]),
    plan_logic: differ([old.checksums.planLogic, next.checksums.planLogic]),
    compliance: differ([old.policyBundleChecksum, next.policyBundleChecksum], [old.checksums.compliance, next.checksums.compliance], [old.gates, next.gates]) ||
      (was.humanApprovalRequired && !is.humanApprovalRequired),
    economics: differ([old.quotas, next.quotas], [old.checksums.economics, next.checksums.economics], [was.budgetOverride, is.budgetOverride]),
    signatures: differ([old.signing, next.signing], [old.kmsKeyRef, next.kmsKeyRef]),
    determinism: differ([old.baselines, next.baselines]),
    evidence: differ([old.evidence, next.evidence]),
    lifecycle: (old.lifecycle === "frozen" && next.lifecycle === "active") || differ([old.retiredRefs, next.retiredRefs]),
  };
  return Object.keys(found).filter((name) => found[name]);
}

// Empty, or why `next` may not follow `old`.
function following(old, oldRef, next, chain) {
  if (timeMs(next.issuedAt) < timeMs(old.issuedAt)) return "from_past: issued before the version before it";
  if (!FOLLOWS[old.lifecycle].includes(next.lifecycle)) return `bad_lifecycle: ${next.lifecycle} after ${old.lifecycle}`;
  if (!old.retiredRefs.every((ref) => next.retiredRefs.includes(ref))) return "bad_lifecycle: a version once retired stays retired";
  if (old.origin === "proposed" && next.origin === "generated") return "bad_lifecycle: people have taken it over";
  const changes = changesBetween(old, next), request = next.changeRequest;
  if (old.lifecycle === "frozen" && changes.length) {
    if (!request) return `frozen: ${changes} without a change request`;
    if (changes.length > 1) return `batched: one change request for ${changes}`;
  }
  if (!request) return "";
  if (chain.some(({ contract }) => contract.changeRequest?.requestId === request.requestId)) return "change_reused: the request was already spent";
  if (request.base !== oldRef) return "change_mismatch: the request was made for another version";
  if (changes.length !== 1 || changes[0] !== request.change) return `change_mismatch: asked for ${request.change}, changes ${changes}`;
  const asked = canonical({ ...next, changeRequest: null, issuedAt: "1970-01-01T00:00:00.000Z" });
  if (request.changeDigest !== sha256(asked)) return "change_mismatch: the version is not what was asked for";
  return timeMs(request.requestedAt) > timeMs(next.issuedAt) ? "change_mismatch: asked for after it was issued" : "";
}

// Asked for by a key that is known and was good, and signed by enough others.
function checkAsked({ changeRequest: request }, signers, threshold, roots, trust, issued) {
  const { signature, ...body } = request, { keyId, requestedBy, requestedAt } = request;
  demand(isSignedBy(keyId, "interlock-change-v1", canonical(body), signature), "contract", "a change request's bad signature");
  const known = roots.includes(keyId) || judge(trust, keyId, requestedBy, timeMs(requestedAt), issued) === "ok";
  demand(known, "contract", "the asker's key is not good");
  const others = [...signers].filter((one) => one !== pointOf(keyId));
  demand(others.length >= threshold, "contract", `change_not_approved: ${others.length} approvals by others of ${threshold}`);
}
