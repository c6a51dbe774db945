// Copies that a human put back from the dead letters (docs/dead-letters.md): good only under a signed order.
import { canonical, isSignedBy, timeMs } from "./verify.mjs";
import { holds, judge, roleOf } from "./trust.mjs";

const FIELDS = "at,by,digest,keyId,number,sequence,signature,stream,why,workspace";
const MAX_TEXT = 4096, SKEW_MS = 60_000;

// Whether the order in the hop's header is for these bytes, this message id and an earlier place, by somebody who may.
export function isGoodCopy({ redrive, digest, messageId, sequence, storedMs }, trust) {
  const order = orderOf(redrive);
  if (!order || order.digest !== digest || messageId !== `redrive-${order.digest}-${order.number}`) return false;
  if (order.stream !== "HOPS" || order.sequence >= sequence || order.workspace !== trust.workspace) return false;
  const { signature, ...rest } = order, at = timeMs(order.at), key = trust.keys.find((entry) => entry.keyId === order.keyId);
  if (judge(trust, order.keyId, order.by, at, storedMs) !== "ok" || at > storedMs + SKEW_MS) return false;
  const may = roleOf(order.by) === "human" || holds(key.capabilities, "dead:redrive");
  return may && isSignedBy(order.keyId, "interlock-redrive-v1", canonical({ ...rest, signature: null }), signature);
}

function orderOf(text) {
  if (text.length > MAX_TEXT) return null;
  try {
    const data = Buffer.from(text, "base64url"), order = JSON.parse(data);
    const whole = data.toString("base64url") === text && canonical(order) === data.toString();
    const fits = Object.keys(order).sort().join() === FIELDS && Number.isSafeInteger(order.sequence) && order.sequence >= 0 &&
      Number.isSafeInteger(order.number) && order.number >= 1 && order.number <= 1_000 && [...order.why].length <= 500 && !Number.isNaN(timeMs(order.at));
    return whole && fits ? order : null;
  } catch { return null; }
}
