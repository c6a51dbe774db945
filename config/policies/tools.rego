# Tool scope: only executors run skills, only in the two ways there are, and at high risk no effect without approval.
package interlock.tools

import data.interlock.approval
import rego.v1

default applies := false

applies if {
	input.hop.payload == "task"
	fits == false
}

applies if input.task.effects == "external"

default fits := false

fits if {
	task_described
	for_executors
}

default task_described := false

task_described if {
	known_operation
	known_effects
	input.task.skill != ""
}

known_operation if {
	input.task.operation == "task.run"
} else if {
	input.task.operation == "task.release"
}

known_effects if {
	input.task.effects == "none"
} else if {
	input.task.effects == "external"
}

deny contains {
	"code": "tool_unknown",
	"rule": "tools.described",
	"message": "the task is not described, or is no known operation",
	"instead": "task.run, task.release",
} if {
	input.hop.payload == "task"
	task_described == false
}

default for_executors := false

for_executors if {
	every name in input.hop.to {
		split(name, ".")[0] == "executor"
	}
}

deny contains {
	"code": "tool_scope",
	"rule": "tools.performer",
	"message": "skills are run by executors only",
	"instead": "a task sent to an executor",
} if {
	input.hop.payload == "task"
	for_executors == false
}

needs_approval contains {
	"code": "tool_effects",
	"rule": "tools.effects",
	"message": sprintf("%s acts outside at the risk tier %s", [input.task.skill, input.hop.riskTier]),
	"instead": "a skill without effects, or an approval",
} if {
	input.task.effects == "external"
	input.hop.riskTier in ["high", "systemic"]
	approval.valid == false
}
