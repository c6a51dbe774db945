import assert from "node:assert/strict";
import { test } from "node:test";

import { queueLabel } from "./label.js";

test("a queue has a label", () => {
  assert.equal(queueLabel("billing"), "Billing");
});
