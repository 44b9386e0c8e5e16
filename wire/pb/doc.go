// Package pb holds the generated types of package dataplane.proto.v1 (proto/dataplane): the readable twin of package wire,
// for cold paths and tests.
package pb

//go:generate sh -c "cd ../../proto && go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate"
