# The one decision. Nothing is allowed unless authz says so and no policy, and no policy of the workspace, objects. A
# policy's rules are looked at where its `applies` holds: most of them do not concern most hops.
package interlock.main

import data.interlock.audit_required
import data.interlock.authz
import data.interlock.classification
import data.interlock.egress
import data.interlock.hallucination
import data.interlock.models
import data.interlock.rates
import data.interlock.tools
import rego.v1

default allow := false

allow if {
	authz.allow
	concerned == false
} else if {
	authz.allow
	count(denied) == 0
	count(asked) == 0
}

# Whether any policy beyond authz has to be looked at.
default concerned := false

concerned if rates.applies

concerned if audit_required.applies

concerned if classification.applies

concerned if egress.applies

concerned if hallucination.applies

concerned if tools.applies

concerned if models.applies

concerned if some _ in workspace_denied

concerned if some _ in workspace_asked

workspace_denied contains ground if {
	some name
	some ground in data.interlock.workspace[name].deny
}

workspace_asked contains ground if {
	some name
	some ground in data.interlock.workspace[name].needs_approval
}

# Lists: a set would compare each ground with all before it, which costs as much as judging (docs/policies.md).
denied := [ground | some part in denying; some ground in part]

denying := [
	[a | authz.allow == false; some a in authz.deny],
	[b | rates.applies; some b in rates.deny],
	[c | audit_required.applies; some c in audit_required.deny],
	[d | classification.applies; some d in classification.deny],
	[e | egress.applies; some e in egress.deny],
	[f | tools.applies; some f in tools.deny],
	[g | models.applies; some g in models.deny],
	workspace_denied,
]

asked := [ground | some part in asking; some ground in part]

asking := [
	[a | authz.allow == false; some a in authz.needs_approval],
	[b | hallucination.applies; some b in hallucination.needs_approval],
	[c | classification.applies; some c in classification.needs_approval],
	[d | egress.applies; some d in egress.needs_approval],
	[e | tools.applies; some e in tools.needs_approval],
	[f | models.applies; some f in models.needs_approval],
	workspace_asked,
]

default verdict := "deny"

verdict := "allow" if allow

verdict := "needs_approval" if {
	count(denied) == 0
	count(asked) > 0
}

# What stands against it: the engine asks for this where `allow` is not true, and draws the verdict itself.
grounds := {"denied": denied, "asked": asked}

# The same drawn here, for people and other tools.
decision := {
	"decision": verdict,
	"denied": denied,
	"asked": asked,
	"audit": audit_required.required,
}
