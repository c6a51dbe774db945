# Inputs that tests change: an ordinary task on its way to an executor, and an approval of it.
package interlock.samples_test

import rego.v1

task := {
	"hop": {
		"from": "orchestrator",
		"fromRole": "orchestrator",
		"to": ["executor"],
		"intent": "act",
		"payload": "task",
		"riskTier": "minimal",
		"tags": ["data:internal"],
		"confidence": 1000,
	},
	"agent": {"capabilities": [], "trustLevel": 50, "revoked": false},
	"performer": {"capabilities": ["skill:*"], "trustLevel": 50, "revoked": false},
	"budget": {"withinGrant": true, "costUsdAtMost": 1},
	"goal": {"capabilities": ["skill:*"]},
	"rates": {"agentPerMinute": 0, "workspacePerMinute": 0},
	"task": {
		"skill": "resizing-images",
		"capability": "skill:resizing-images",
		"effects": "none",
		"network": false,
		"operation": "task.run",
		"target": "",
		"audited": false,
	},
	"approval": null,
	"model": null,
}

approval := {"approval": {"by": "human.ada", "ageMs": 3600000, "digestMatches": true}}

high := {"hop": {"riskTier": "high", "tags": ["data:internal", "oversight:human", "transparency:given"]}}

systemic := {"hop": {"riskTier": "systemic", "tags": ["data:internal", "oversight:human", "transparency:given"]}}

# A hop that starts no work.
report := changed(task, {
	"hop": {"from": "executor", "fromRole": "executor", "to": ["evaluator"], "intent": "observe", "payload": "task_result"},
	"task": null,
})

# An input with some fields of some sections changed.
changed(whole, change) := {key: section | some key, value in whole; section := merged(value, key, change)}

merged(value, key, change) := value if {
	object.get(change, key, "unchanged") == "unchanged"
}

merged(value, key, change) := object.union(value, change[key]) if {
	is_object(value)
	is_object(change[key])
}

merged(value, key, change) := change[key] if {
	is_null(value)
	is_object(change[key])
}

merged(_, key, change) := change[key] if {
	is_null(change[key])
}
