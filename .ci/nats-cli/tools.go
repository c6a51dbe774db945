//go:build tools

// Package recipes pins the nats CLI with which docs/nats-cli.md is tested.
package recipes

import _ "github.com/nats-io/natscli/nats"
