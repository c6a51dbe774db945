# Which work may not be released without an audit report: high or systemic risk, above 100 USD, sensitive data.
package interlock.audit_required

import rego.v1

default applies := false

applies if input.task.operation == "task.release"

cost_limit_usd := 100

reasons contains "risk" if input.hop.riskTier in ["high", "systemic"]

reasons contains "cost" if input.budget.costUsdAtMost > cost_limit_usd

reasons contains "data" if "data:confidential" in input.hop.tags

reasons contains "data" if "data:restricted" in input.hop.tags

default required := false

required if count(reasons) > 0

deny contains {
	"code": "audit_required",
	"rule": "audit_required.required",
	"message": concat(" ", ["may not be released without an audit report, because of its", concat(" and ", [reason | some reason in reasons])]),
	"instead": "a release that carries the auditor's report",
} if {
	required
	input.task.operation == "task.release"
	input.task.audited == false
}
