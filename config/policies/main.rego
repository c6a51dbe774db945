# The one decision. Nothing is allowed unless authz says so and no policy, and no policy of the workspace, objects.
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
	count(denied) == 0
	count(asked) == 0
}

workspace_denied contains ground if {
	some name
	some ground in data.interlock.workspace[name].deny
}

workspace_asked contains ground if {
	some name
	some ground in data.interlock.workspace[name].needs_approval
}

denied := ((((((authz.deny | rates.deny) | audit_required.deny) | classification.deny) | egress.deny) | tools.deny) | models.deny) | workspace_denied

asked := ((((authz.needs_approval | hallucination.needs_approval) | classification.needs_approval) | (egress.needs_approval | tools.needs_approval)) | models.needs_approval) | workspace_asked

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
