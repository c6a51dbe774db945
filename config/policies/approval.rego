# When a human's approval counts: of exactly this action, by a human key, not older than an hour (governance.md).
package interlock.approval

import rego.v1

max_age_ms := 3600000

default valid := false

valid if {
	input.approval.digestMatches == true
	split(input.approval.by, ".")[0] == "human"
	input.approval.ageMs >= 0
	input.approval.ageMs <= max_age_ms
}
