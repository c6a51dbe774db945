package interlock.authz_test

import data.interlock.main
import data.interlock.samples_test
import rego.v1

task := samples_test.task

report := samples_test.report

high := samples_test.changed(task, samples_test.high)

approved := samples_test.changed(high, samples_test.approval)

decision := samples_test.changed(report, {
	"hop": {"from": "human.ada", "fromRole": "human", "payload": "decision", "to": ["orchestrator"]},
	"agent": {"capabilities": ["approve:*"], "trustLevel": 100},
})

audit := samples_test.changed(report, {
	"hop": {"from": "auditor", "fromRole": "auditor", "payload": "audit_report", "to": ["orchestrator"]},
	"agent": {"capabilities": ["audit:*"], "trustLevel": 80},
})

cases := {
	"an ordinary task": {
		"input": samples_test.changed(task, {}),
		"decision": "allow",
		"codes": [],
	},
	"a hop without work": {
		"input": samples_test.changed(report, {}),
		"decision": "allow",
		"codes": [],
	},
	"the goal does not hold the capability": {
		"input": samples_test.changed(task, {"goal": {"capabilities": ["skill:other", "approve:*"]}}),
		"decision": "deny",
		"codes": ["capability_missing"],
	},
	"the executor does not hold the capability": {
		"input": samples_test.changed(task, {"performer": {"capabilities": []}}),
		"decision": "deny",
		"codes": ["capability_missing"],
	},
	"held exactly": {
		"input": samples_test.changed(task, {"goal": {"capabilities": ["skill:resizing-images"]}}),
		"decision": "allow",
		"codes": [],
	},
	"held by family": {
		"input": samples_test.changed(task, {"goal": {"capabilities": ["skill:resizing-*"]}}),
		"decision": "allow",
		"codes": [],
	},
	"a beginning is not a family": {
		"input": samples_test.changed(task, {"goal": {"capabilities": ["skill:resizing"]}}),
		"decision": "deny",
		"codes": ["capability_missing"],
	},
	"more than is needed is not it": {
		"input": samples_test.changed(task, {"goal": {"capabilities": ["skill:resizing-images-fast"]}}),
		"decision": "deny",
		"codes": ["capability_missing"],
	},
	"a star in front is no family": {
		"input": samples_test.changed(task, {"goal": {"capabilities": ["*:resizing-images"]}}),
		"decision": "deny",
		"codes": ["capability_missing"],
	},
	"a decision by an approver": {
		"input": decision,
		"decision": "allow",
		"codes": [],
	},
	"a decision without the right to approve": {
		"input": samples_test.changed(decision, {"agent": {"capabilities": ["skill:*"]}}),
		"decision": "deny",
		"codes": ["capability_missing"],
	},
	"a decision by someone hardly trusted": {
		"input": samples_test.changed(decision, {"agent": {"trustLevel": 89}}),
		"decision": "deny",
		"codes": ["trust_too_low"],
	},
	"a decision by someone trusted just enough": {
		"input": samples_test.changed(decision, {"agent": {"trustLevel": 90}}),
		"decision": "allow",
		"codes": [],
	},
	"an audit report": {
		"input": audit,
		"decision": "allow",
		"codes": [],
	},
	"an audit report without the right to audit": {
		"input": samples_test.changed(audit, {"agent": {"capabilities": []}}),
		"decision": "deny",
		"codes": ["capability_missing"],
	},
	"an audit report by someone hardly trusted": {
		"input": samples_test.changed(audit, {"agent": {"trustLevel": 69}}),
		"decision": "deny",
		"codes": ["trust_too_low"],
	},
	"the sender is hardly trusted": {
		"input": samples_test.changed(task, {"agent": {"trustLevel": 49}}),
		"decision": "deny",
		"codes": ["trust_too_low"],
	},
	"the performer is hardly trusted": {
		"input": samples_test.changed(task, {"performer": {"trustLevel": 49}}),
		"decision": "deny",
		"codes": ["trust_too_low"],
	},
	"the sender is revoked": {
		"input": samples_test.changed(task, {"agent": {"revoked": true}}),
		"decision": "deny",
		"codes": ["agent_revoked"],
	},
	"the sender of a report is revoked": {
		"input": samples_test.changed(report, {"agent": {"revoked": true}}),
		"decision": "deny",
		"codes": ["agent_revoked"],
	},
	"the performer is revoked": {
		"input": samples_test.changed(task, {"performer": {"revoked": true}}),
		"decision": "deny",
		"codes": ["agent_revoked"],
	},
	"work above its grant": {
		"input": samples_test.changed(task, {"budget": {"withinGrant": false}}),
		"decision": "deny",
		"codes": ["over_grant"],
	},
	"a report of costs above its grant": {
		"input": samples_test.changed(report, {"budget": {"withinGrant": false}}),
		"decision": "allow",
		"codes": [],
	},
	"an unknown tier": {
		"input": samples_test.changed(task, {"hop": {"riskTier": "negligible"}}),
		"decision": "deny",
		"codes": ["unknown_risk_tier"],
	},
	"high risk without approval": {
		"input": high,
		"decision": "needs_approval",
		"codes": ["risk_tier"],
	},
	"high risk with all there must be": {
		"input": approved,
		"decision": "allow",
		"codes": [],
	},
	"high risk, a report": {
		"input": samples_test.changed(report, samples_test.high),
		"decision": "allow",
		"codes": [],
	},
	"approved, but the goal holds nothing": {
		"input": samples_test.changed(approved, {"goal": {"capabilities": []}}),
		"decision": "deny",
		"codes": ["capability_missing"],
	},
	"approved, but revoked": {
		"input": samples_test.changed(approved, {"agent": {"revoked": true}}),
		"decision": "deny",
		"codes": ["agent_revoked"],
	},
	"approved, but not trusted": {
		"input": samples_test.changed(approved, {"agent": {"trustLevel": 0}}),
		"decision": "deny",
		"codes": ["trust_too_low"],
	},
	"approved, but above the grant": {
		"input": samples_test.changed(approved, {"budget": {"withinGrant": false}}),
		"decision": "deny",
		"codes": ["over_grant"],
	},
	"approved an hour and a millisecond ago": {
		"input": samples_test.changed(approved, {"approval": {"ageMs": 3600001}}),
		"decision": "needs_approval",
		"codes": ["risk_tier"],
	},
	"approved in the future": {
		"input": samples_test.changed(approved, {"approval": {"ageMs": -1}}),
		"decision": "needs_approval",
		"codes": ["risk_tier"],
	},
	"something else was approved": {
		"input": samples_test.changed(approved, {"approval": {"digestMatches": false}}),
		"decision": "needs_approval",
		"codes": ["risk_tier"],
	},
	"approved by no human": {
		"input": samples_test.changed(approved, {"approval": {"by": "orchestrator"}}),
		"decision": "needs_approval",
		"codes": ["risk_tier"],
	},
	"approved by a name that begins like a human": {
		"input": samples_test.changed(approved, {"approval": {"by": "humanoid"}}),
		"decision": "needs_approval",
		"codes": ["risk_tier"],
	},
	"approved, but nobody oversees": {
		"input": samples_test.changed(approved, {"hop": {"tags": ["data:internal", "transparency:given"]}}),
		"decision": "deny",
		"codes": ["oversight_missing"],
	},
	"approved, but not transparent": {
		"input": samples_test.changed(approved, {"hop": {"tags": ["data:internal", "oversight:human"]}}),
		"decision": "deny",
		"codes": ["transparency_missing"],
	},
	"systemic risk without approval": {
		"input": samples_test.changed(task, samples_test.systemic),
		"decision": "needs_approval",
		"codes": ["risk_tier"],
	},
	"systemic risk with all there must be": {
		"input": samples_test.changed(approved, {"hop": {"riskTier": "systemic"}}),
		"decision": "allow",
		"codes": [],
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
