# Agent authorization: every one of these conditions, not any one of them.
package interlock.authz

import data.interlock.approval
import rego.v1

default allow := false

allow if {
	capability_held
	trust_sufficient
	not_revoked
	budget_respected
	risk_approved
	ai_act_met
}

default ordinary_tier := false

ordinary_tier if {
	input.hop.riskTier == "minimal"
} else if {
	input.hop.riskTier == "limited"
}

default risky_tier := false

risky_tier if {
	input.hop.riskTier == "high"
} else if {
	input.hop.riskTier == "systemic"
}

# What the sender must hold for what it says; payloads that are not listed need nothing beyond the authority table.
sender_needs := {"decision": "approve:", "audit_report": "audit:"}

min_trust := {"decision": 90, "audit_report": 70}

default_min_trust := 50

default starts_work := false

starts_work if input.hop.payload == "task"

# A capability, or a family of them that ends in a star.
covers(held, wanted) if held == wanted

covers(held, wanted) if {
	endswith(held, "*")
	startswith(wanted, trim_suffix(held, "*"))
}

default capability_held := false

capability_held if {
	starts_work
	goal_holds
	performer_holds
} else if {
	starts_work == false
	object.get(sender_needs, input.hop.payload, "") == ""
} else if {
	starts_work == false
	needed := sender_needs[input.hop.payload]
	some held in input.agent.capabilities
	startswith(held, needed)
}

goal_holds if {
	some held in input.goal.capabilities
	covers(held, input.task.capability)
}

performer_holds if {
	some held in input.performer.capabilities
	covers(held, input.task.capability)
}

needed_trust := object.get(min_trust, input.hop.payload, default_min_trust)

default trust_sufficient := false

trust_sufficient if {
	starts_work
	input.agent.trustLevel >= default_min_trust
	input.performer.trustLevel >= default_min_trust
} else if {
	starts_work == false
	input.agent.trustLevel >= needed_trust
}

default not_revoked := false

not_revoked if {
	input.agent.revoked == false
	input.performer.revoked == false
}

default budget_respected := false

# Results tell what they cost; only work that is yet to start is held to its grant.
budget_respected if starts_work == false

budget_respected if input.budget.withinGrant == true

# High risk: no work starts without an approval that is not older than an hour.
default risk_approved := false

risk_approved if {
	ordinary_tier
} else if {
	risky_tier
	starts_work == false
} else if {
	risky_tier
	approval.valid
}

# EU AI Act: high risk needs human oversight and transparency; systemic risk never goes without approval.
default ai_act_met := false

ai_act_met if {
	ordinary_tier
} else if {
	risky_tier
	starts_work == false
} else if {
	input.hop.riskTier == "high"
	overseen
	transparent
} else if {
	input.hop.riskTier == "systemic"
	overseen
	transparent
	approval.valid
}

default overseen := false

overseen if "oversight:human" in input.hop.tags

default transparent := false

transparent if "transparency:given" in input.hop.tags

deny contains {
	"code": "capability_missing",
	"rule": "authz.capability_held",
	"message": sprintf("%s does not hold what %s needs", [input.hop.from, input.hop.payload]),
	"instead": "a task whose capability both the goal and the executor hold; a decision by a key that may approve",
} if {
	capability_held == false
}

deny contains {
	"code": "trust_too_low",
	"rule": "authz.trust_sufficient",
	"message": sprintf("the trust level of sender or performer is below %d", [needed_trust]),
	"instead": sprintf("an agent whose trust level is at least %d", [needed_trust]),
} if {
	trust_sufficient == false
}

deny contains {
	"code": "agent_revoked",
	"rule": "authz.not_revoked",
	"message": "the sender's key is revoked, or the performer is not in the trust store",
	"instead": "an enrolled agent with a valid key",
} if {
	not_revoked == false
}

deny contains {
	"code": "over_grant",
	"rule": "authz.budget_respected",
	"message": "the estimate exceeds the grant",
	"instead": "an estimate within the envelope's own budget",
} if {
	budget_respected == false
}

deny contains {
	"code": "unknown_risk_tier",
	"rule": "authz.risk_approved",
	"message": "the risk tier is none of minimal, limited, high, systemic",
	"instead": "an assessed goal",
} if {
	known_tier == false
}

default known_tier := false

known_tier if ordinary_tier

known_tier if risky_tier

needs_approval contains {
	"code": "risk_tier",
	"rule": "authz.risk_approved",
	"message": "work of high or systemic risk needs a human's approval not older than an hour",
	"instead": "an approval of exactly this action by a person who may give it",
} if {
	risk_approved == false
	known_tier
}

deny contains {
	"code": "oversight_missing",
	"rule": "authz.ai_act_met",
	"message": "a goal of high or systemic risk names no human oversight (EU AI Act, Article 14)",
	"instead": "risk_hints: {human_oversight: true} once it is so",
} if {
	ai_act_met == false
	known_tier
	overseen == false
}

deny contains {
	"code": "transparency_missing",
	"rule": "authz.ai_act_met",
	"message": "a goal of high or systemic risk gives no transparency (EU AI Act, Article 13)",
	"instead": "risk_hints: {transparency: true} once it is so",
} if {
	ai_act_met == false
	known_tier
	transparent == false
}
