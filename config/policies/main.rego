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
	count(applying) == 0
	count(workspace_denied) == 0
	count(workspace_asked) == 0
}

allow if {
	authz.allow
	count(applying) > 0
	count(denied) == 0
	count(asked) == 0
}

applying contains "rates" if rates.applies

applying contains "audit_required" if audit_required.applies

applying contains "classification" if classification.applies

applying contains "egress" if egress.applies

applying contains "hallucination" if hallucination.applies

applying contains "tools" if tools.applies

applying contains "models" if models.applies

workspace_denied contains ground if {
	some name
	some ground in data.interlock.workspace[name].deny
}

workspace_asked contains ground if {
	some name
	some ground in data.interlock.workspace[name].needs_approval
}

denied contains ground if {
	authz.allow == false
	some ground in authz.deny
}

denied contains ground if {
	rates.applies
	some ground in rates.deny
}

denied contains ground if {
	audit_required.applies
	some ground in audit_required.deny
}

denied contains ground if {
	classification.applies
	some ground in classification.deny
}

denied contains ground if {
	egress.applies
	some ground in egress.deny
}

denied contains ground if {
	tools.applies
	some ground in tools.deny
}

denied contains ground if {
	models.applies
	some ground in models.deny
}

denied contains ground if some ground in workspace_denied

asked contains ground if {
	authz.allow == false
	some ground in authz.needs_approval
}

asked contains ground if {
	hallucination.applies
	some ground in hallucination.needs_approval
}

asked contains ground if {
	classification.applies
	some ground in classification.needs_approval
}

asked contains ground if {
	egress.applies
	some ground in egress.needs_approval
}

asked contains ground if {
	tools.applies
	some ground in tools.needs_approval
}

asked contains ground if {
	models.applies
	some ground in models.needs_approval
}

asked contains ground if some ground in workspace_asked

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
