# Confidence below 0.85 that no retrieved source has verified asks for a human (ROL-11).
package interlock.hallucination

import data.interlock.approval
import rego.v1

threshold_per_mille := 850

default applies := false

applies if input.hop.confidence < threshold_per_mille

default verified := false

verified if "sources:verified" in input.hop.tags

needs_approval contains {
	"code": "low_confidence",
	"rule": "hallucination.confidence",
	"message": sprintf("the confidence is %d per mille, below %d", [input.hop.confidence, threshold_per_mille]),
	"instead": "verification against retrieved sources, or an approval",
} if {
	input.hop.payload == "task"
	input.hop.confidence < threshold_per_mille
	verified == false
	approval.valid == false
}
