# What may leave: envelopes go to the roles there are, and sensitive data does not go out over the network.
package interlock.egress

import data.interlock.approval
import rego.v1

default applies := false

applies if some _ in unknown

applies if input.task.network == true

roles := ["executor", "orchestrator", "gateway", "evaluator", "auditor", "synthesizer", "human"]

unknown contains name if {
	some name in input.hop.to
	not split(name, ".")[0] in roles
}

deny contains {
	"code": "unknown_recipient",
	"rule": "egress.recipients",
	"message": sprintf("%s is none of the roles", [name]),
	"instead": concat(", ", [known | some known in roles]),
} if {
	some name in unknown
}

deny contains {
	"code": "egress_restricted",
	"rule": "egress.network",
	"message": sprintf("%s has the network, and the goal's data is restricted", [input.task.skill]),
	"instead": "a skill without network",
} if {
	input.task.network == true
	"data:restricted" in input.hop.tags
}

needs_approval contains {
	"code": "egress_confidential",
	"rule": "egress.network",
	"message": sprintf("%s has the network, and the goal's data is confidential", [input.task.skill]),
	"instead": "a skill without network, or an approval",
} if {
	input.task.network == true
	"data:confidential" in input.hop.tags
	approval.valid == false
}
