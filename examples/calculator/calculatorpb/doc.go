// Package calculatorpb is generated from calculator.proto.
package calculatorpb

//go:generate sh -c "go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate --template buf.gen.yaml"
