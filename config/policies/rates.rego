# How many hops a minute one agent and one workspace may send, by risk tier. Limits have one significant digit, because
# the counts come rounded down to one, and as 0 below 100: against such numbers they are exact.
package interlock.rates

import rego.v1

# Counts below a hundred come as 0, and no limit is that low.
default applies := false

applies if input.rates.agentPerMinute > 0

applies if input.rates.workspacePerMinute > 0

agent_limit := {"minimal": 600000, "limited": 600000, "high": 6000, "systemic": 600}

workspace_limit := {"minimal": 2000000, "limited": 2000000, "high": 20000, "systemic": 2000}

deny contains {
	"code": "rate_limited",
	"rule": "rates.agent",
	"message": sprintf("%s sent at least %d hops in the last minute", [input.hop.from, input.rates.agentPerMinute]),
	"instead": sprintf("less than %d a minute", [agent_limit[input.hop.riskTier]]),
} if {
	input.rates.agentPerMinute >= agent_limit[input.hop.riskTier]
}

deny contains {
	"code": "rate_limited",
	"rule": "rates.workspace",
	"message": sprintf("the workspace sent at least %d hops in the last minute", [input.rates.workspacePerMinute]),
	"instead": sprintf("less than %d a minute", [workspace_limit[input.hop.riskTier]]),
} if {
	input.rates.workspacePerMinute >= workspace_limit[input.hop.riskTier]
}
