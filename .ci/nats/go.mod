module recipes

go 1.24

require github.com/nats-io/natscli v0.1.6
