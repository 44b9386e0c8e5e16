// Package a2av1 is generated from a2av1.proto: the messages of A2A 1.0, which a2a-go v0.3.3 does not have.
package a2av1

//go:generate sh -c "go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate --template buf.gen.yaml"
