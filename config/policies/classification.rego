# Data classification: work knows the class of its data, and sensitive data does not leave.
package interlock.classification

import data.interlock.approval
import rego.v1

default applies := false

applies if {
	input.hop.payload == "task"
	classified == false
}

applies if input.task.effects == "external"

default classified := false

classified if {
	some tag in input.hop.tags
	tag in ["data:public", "data:internal", "data:confidential", "data:restricted"]
}

deny contains {
	"code": "data_unclassified",
	"rule": "classification.classified",
	"message": "the goal's data has no known class",
	"instead": "data_classification: public, internal, confidential or restricted",
} if {
	input.hop.payload == "task"
	classified == false
}

needs_approval contains {
	"code": "data_class",
	"rule": "classification.effects",
	"message": sprintf("%s acts outside with restricted data", [input.task.skill]),
	"instead": "a skill without effects, or an approval",
} if {
	input.task.effects == "external"
	"data:restricted" in input.hop.tags
	approval.valid == false
}
