// The audit log in a bundle: checkpoint (C2SP tlog-checkpoint), inclusion proofs (RFC 9162), records against messages.
import { createHash, verify as isSigned } from "node:crypto";
import { canonical, publicKey } from "./verify.mjs";

const hash = (...parts) => parts.reduce((sum, part) => sum.update(part), createHash("sha256")).digest();
const leafHash = (line) => hash(Buffer.from([0]), line);
const nodeHash = (left, right) => hash(Buffer.from([1]), left, right);

// { size, root } of a note that one of the keys signed; the name of a key is its own text. Throws.
export function checkpointOf(note, keys, origin) {
  const cut = note.lastIndexOf("\n\n"), text = note.slice(0, cut + 1), [said, size, root, ...rest] = text.split("\n");
  const fail = (detail) => { throw Object.assign(new Error(detail), { check: "log" }); };
  if (cut < 0 || !note.endsWith("\n") || rest.join() !== "") fail("no checkpoint");
  if (said !== origin || !/^(0|[1-9][0-9]{0,15})$/.test(size) || Buffer.from(root, "base64").toString("base64") !== root) fail("no checkpoint of this log");
  let good = 0;
  for (const line of note.slice(cut + 2, -1).split("\n")) {
    const [dash, name, blob, more] = line.split(" "), raw = Buffer.from(blob ?? "", "base64");
    if (dash !== "—" || more !== undefined || raw.toString("base64") !== blob || raw.length < 5) fail("a signature line that is none");
    if (!keys.includes(name)) continue;
    const key = publicKey(name), point = Buffer.from(key.export({ format: "jwk" }).x, "base64url");
    if (!hash(Buffer.from(`${name}\n\x01`), point).subarray(0, 4).equals(raw.subarray(0, 4))) continue;
    if (!isSigned(null, Buffer.from(text), key, raw.subarray(4))) fail(`the signature of ${name} is not its own`);
    good += 1;
  }
  if (!good) fail("no signature of a key that is trusted");
  return { size: Number(size), root: Buffer.from(root, "base64") };
}

// RFC 9162, 2.1.3.2.
function isIncluded(leaf, index, size, root, path) {
  if (!(index >= 0 && index < size)) return false;
  let first = index, last = size - 1, found = leaf;
  for (const step of path) {
    if (last === 0 || step.length !== 32) return false;
    if (first % 2 === 1 || first === last) {
      found = nodeHash(step, found);
      while (first % 2 === 0 && first !== 0) { first = Math.floor(first / 2); last = Math.floor(last / 2); }
    } else found = nodeHash(found, step);
    first = Math.floor(first / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && found.equals(root);
}

// Empty, or the first thing that does not fit. messages: by stream, [sequence, subject, digest]; end: of the completion.
export function checkLog(section, checkpoint, goalId, messages, end) {
  if (Object.keys(section).sort().join() !== "checkpoint,hashes,records,size" || section.size !== checkpoint.size) return "not of this checkpoint";
  const hashes = section.hashes.map((text) => Buffer.from(text, "base64"));
  if (hashes.some((one, index) => one.toString("base64") !== section.hashes[index])) return "a hash is not base64";
  const recorded = new Map(), newest = {};
  let before = -1;
  for (const { line, path } of section.records) {
    const record = JSON.parse(line), steps = path.map((place) => hashes[place]);
    if (canonical(record) !== line) return "a record is not canonical";
    if (record.number <= before) return `record ${record.number} comes after record ${before}`;
    before = record.number;
    if (steps.includes(undefined)) return `record ${record.number}: its path leaves the table`;
    if (!isIncluded(leafHash(line), record.number, checkpoint.size, checkpoint.root, steps)) return `record ${record.number} is not in the log`;
    if (record.kind !== "stored" || !record.subject.split(".").includes(goalId)) return `record ${record.number} is not about this goal`;
    const place = `${record.stream} ${record.sequence}`;
    if (recorded.has(place)) return `${place} is recorded twice`;
    recorded.set(place, record);
    newest[record.stream] = Math.max(record.sequence, newest[record.stream] ?? 0);
  }
  for (const [stream, entries] of Object.entries(messages)) {
    const until = Math.max(newest[stream] ?? 0, stream === "HOPS" ? end : 0);
    for (const [sequence, subject, digest] of entries) {
      const place = `${stream} ${sequence}`, record = recorded.get(place);
      recorded.delete(place);
      if (!record && sequence <= until) return `${place} was never recorded`;
      if (record && (record.digest !== digest || record.subject !== subject.slice(0, 512))) return `${place} is not what was recorded`;
    }
  }
  return recorded.size ? `${[...recorded.keys()][0]} was recorded, but is not here` : "";
}
