# Model choice by risk: sensitive data stays with models hosted here; at high risk a remote model asks for a human.
package interlock.models

import data.interlock.approval
import rego.v1

default applies := false

applies if input.model != null

hostings := ["local", "remote"]

default known_hosting := false

known_hosting if input.model.hosting in hostings

deny contains {
	"code": "model_unknown",
	"rule": "models.hosting",
	"message": "where the model runs is not known",
	"instead": concat(", ", [name | some name in hostings]),
} if {
	input.model.name != ""
	known_hosting == false
}

deny contains {
	"code": "model_data",
	"rule": "models.data",
	"message": sprintf("%s is remote, and the data is confidential or restricted", [input.model.name]),
	"instead": "a model hosted here",
} if {
	input.model.hosting == "remote"
	some tag in input.hop.tags
	tag in ["data:confidential", "data:restricted"]
}

deny contains {
	"code": "model_systemic",
	"rule": "models.risk",
	"message": sprintf("%s is remote, and the risk is systemic", [input.model.name]),
	"instead": "a model hosted here",
} if {
	input.model.hosting == "remote"
	input.hop.riskTier == "systemic"
}

needs_approval contains {
	"code": "model_risk",
	"rule": "models.risk",
	"message": sprintf("%s is remote, and the risk is high", [input.model.name]),
	"instead": "a model hosted here, or an approval",
} if {
	input.model.hosting == "remote"
	input.hop.riskTier == "high"
	approval.valid == false
}
