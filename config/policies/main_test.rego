package interlock.main_test

import data.interlock.main
import data.interlock.samples_test
import rego.v1

task := samples_test.task

report := samples_test.report

high := samples_test.changed(task, samples_test.high)

approved := samples_test.changed(high, samples_test.approval)

release := samples_test.changed(task, {"task": {"operation": "task.release"}})

cases := {
	"an agent far below its rate": {
		"input": samples_test.changed(task, {"rates": {"agentPerMinute": 500000}}),
		"decision": "allow",
		"codes": [],
	},
	"an agent at its rate": {
		"input": samples_test.changed(task, {"rates": {"agentPerMinute": 600000}}),
		"decision": "deny",
		"codes": ["rate_limited"],
	},
	"a workspace at its rate": {
		"input": samples_test.changed(task, {"rates": {"workspacePerMinute": 2000000}}),
		"decision": "deny",
		"codes": ["rate_limited"],
	},
	"a rate too high for the tier": {
		"input": samples_test.changed(approved, {"hop": {"riskTier": "systemic"}, "rates": {"agentPerMinute": 600}}),
		"decision": "deny",
		"codes": ["rate_limited"],
	},
	"a rate high enough for the tier": {
		"input": samples_test.changed(approved, {"hop": {"riskTier": "systemic"}, "rates": {"agentPerMinute": 500}}),
		"decision": "allow",
		"codes": [],
	},
	"unsure": {
		"input": samples_test.changed(task, {"hop": {"confidence": 849}}),
		"decision": "needs_approval",
		"codes": ["low_confidence"],
	},
	"just sure enough": {
		"input": samples_test.changed(task, {"hop": {"confidence": 850}}),
		"decision": "allow",
		"codes": [],
	},
	"unsure but approved": {
		"input": samples_test.changed(samples_test.changed(task, samples_test.approval), {"hop": {"confidence": 0}}),
		"decision": "allow",
		"codes": [],
	},
	"unsure but verified": {
		"input": samples_test.changed(task, {"hop": {"confidence": 0, "tags": ["data:internal", "sources:verified"]}}),
		"decision": "allow",
		"codes": [],
	},
	"an unsure report": {
		"input": samples_test.changed(report, {"hop": {"confidence": 0}}),
		"decision": "allow",
		"codes": [],
	},
	"a release of confidential work without its audit": {
		"input": samples_test.changed(release, {"hop": {"tags": ["data:confidential"]}}),
		"decision": "deny",
		"codes": ["audit_required"],
	},
	"a release of restricted work without its audit": {
		"input": samples_test.changed(release, {"hop": {"tags": ["data:restricted"]}}),
		"decision": "deny",
		"codes": ["audit_required"],
	},
	"a release of costly work without its audit": {
		"input": samples_test.changed(release, {"budget": {"costUsdAtMost": 1000}}),
		"decision": "deny",
		"codes": ["audit_required"],
	},
	"a release of work for 100 USD": {
		"input": samples_test.changed(release, {"budget": {"costUsdAtMost": 100}}),
		"decision": "allow",
		"codes": [],
	},
	"a release at high risk without its audit": {
		"input": samples_test.changed(approved, {"task": {"operation": "task.release"}}),
		"decision": "deny",
		"codes": ["audit_required"],
	},
	"a release at high risk with its audit": {
		"input": samples_test.changed(approved, {"task": {"operation": "task.release", "audited": true}}),
		"decision": "allow",
		"codes": [],
	},
	"a release with its audit": {
		"input": samples_test.changed(release, {"hop": {"tags": ["data:confidential"]}, "task": {"audited": true}}),
		"decision": "allow",
		"codes": [],
	},
	"a release that needs none": {
		"input": samples_test.changed(release, {}),
		"decision": "allow",
		"codes": [],
	},
	"data of no class": {
		"input": samples_test.changed(task, {"hop": {"tags": []}}),
		"decision": "deny",
		"codes": ["data_unclassified"],
	},
	"data of an unknown class": {
		"input": samples_test.changed(task, {"hop": {"tags": ["data:secret"]}}),
		"decision": "deny",
		"codes": ["data_unclassified"],
	},
	"effects with restricted data": {
		"input": samples_test.changed(task, {"hop": {"tags": ["data:restricted"]}, "task": {"effects": "external"}}),
		"decision": "needs_approval",
		"codes": ["data_class"],
	},
	"effects with internal data": {
		"input": samples_test.changed(task, {"task": {"effects": "external"}}),
		"decision": "allow",
		"codes": [],
	},
	"the network": {
		"input": samples_test.changed(task, {"task": {"network": true}}),
		"decision": "allow",
		"codes": [],
	},
	"the network and confidential data": {
		"input": samples_test.changed(task, {"hop": {"tags": ["data:confidential"]}, "task": {"network": true}}),
		"decision": "needs_approval",
		"codes": ["egress_confidential"],
	},
	"the network and restricted data": {
		"input": samples_test.changed(task, {"hop": {"tags": ["data:restricted"]}, "task": {"network": true}}),
		"decision": "deny",
		"codes": ["egress_restricted"],
	},
	"the network and restricted data, approved": {
		"input": samples_test.changed(samples_test.changed(task, samples_test.approval), {"hop": {"tags": ["data:restricted"]}, "task": {"network": true}}),
		"decision": "deny",
		"codes": ["egress_restricted"],
	},
	"a recipient that is no role": {
		"input": samples_test.changed(report, {"hop": {"to": ["evaluator", "mallory"]}}),
		"decision": "deny",
		"codes": ["unknown_recipient"],
	},
	"a recipient that begins like a role": {
		"input": samples_test.changed(report, {"hop": {"to": ["evaluators"]}}),
		"decision": "deny",
		"codes": ["unknown_recipient"],
	},
	"a recipient that is an instance": {
		"input": samples_test.changed(report, {"hop": {"to": ["evaluator.two"]}}),
		"decision": "allow",
		"codes": [],
	},
	"a task that nobody describes": {
		"input": samples_test.changed(task, {"task": null}),
		"decision": "deny",
		"codes": ["capability_missing", "tool_unknown"],
	},
	"an unknown operation": {
		"input": samples_test.changed(task, {"task": {"operation": "task.rewind"}}),
		"decision": "deny",
		"codes": ["tool_unknown"],
	},
	"unknown effects": {
		"input": samples_test.changed(task, {"task": {"effects": "some"}}),
		"decision": "deny",
		"codes": ["tool_unknown"],
	},
	"a task for an auditor too": {
		"input": samples_test.changed(task, {"hop": {"to": ["executor", "auditor"]}}),
		"decision": "deny",
		"codes": ["tool_scope"],
	},
	"a task for one executor": {
		"input": samples_test.changed(task, {"hop": {"to": ["executor.one"]}}),
		"decision": "allow",
		"codes": [],
	},
	"effects at high risk": {
		"input": samples_test.changed(high, {"task": {"effects": "external"}}),
		"decision": "needs_approval",
		"codes": ["risk_tier", "tool_effects"],
	},
	"approved effects at high risk": {
		"input": samples_test.changed(approved, {"task": {"effects": "external"}}),
		"decision": "allow",
		"codes": [],
	},
	"a remote model": {
		"input": samples_test.changed(report, {"model": {"name": "m", "hosting": "remote"}}),
		"decision": "allow",
		"codes": [],
	},
	"a remote model for confidential data": {
		"input": samples_test.changed(report, {"model": {"name": "m", "hosting": "remote"}, "hop": {"tags": ["data:confidential"]}}),
		"decision": "deny",
		"codes": ["model_data"],
	},
	"a remote model at high risk": {
		"input": samples_test.changed(report, {"model": {"name": "m", "hosting": "remote"}, "hop": {"riskTier": "high"}}),
		"decision": "needs_approval",
		"codes": ["model_risk"],
	},
	"a remote model at systemic risk": {
		"input": samples_test.changed(report, {"model": {"name": "m", "hosting": "remote"}, "hop": {"riskTier": "systemic"}}),
		"decision": "deny",
		"codes": ["model_systemic"],
	},
	"a local model at systemic risk": {
		"input": samples_test.changed(report, {"model": {"name": "m", "hosting": "local"}, "hop": {"riskTier": "systemic"}}),
		"decision": "allow",
		"codes": [],
	},
	"a model somewhere": {
		"input": samples_test.changed(report, {"model": {"name": "m", "hosting": "somewhere"}}),
		"decision": "deny",
		"codes": ["model_unknown"],
	},
	"a denial outweighs a question": {
		"input": samples_test.changed(high, {"task": {"operation": "task.rewind"}}),
		"decision": "deny",
		"codes": ["risk_tier", "tool_unknown"],
	},
}

codes contains ground.code if some ground in main.denied

codes contains ground.code if some ground in main.asked

# A local name for the input: `with input as case.input` is not always what it says.
failing contains name if {
	some name, case in cases
	given := case.input
	got := main.decision.decision with input as given
	got != case.decision
}

failing contains name if {
	some name, case in cases
	given := case.input
	got := codes with input as given
	got != {code | some code in case.codes}
}

failing contains name if {
	some name, case in cases
	given := case.input
	got := main.allow with input as given
	got != {"allow": true, "deny": false, "needs_approval": false}[case.decision]
}

test_cases if count(failing) == 0
