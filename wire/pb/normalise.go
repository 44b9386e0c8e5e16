// Package pb holds the generated types of package dataplane.proto.v1 (proto/dataplane): the readable twin of package wire,
// for cold paths and tests.
package pb

import "google.golang.org/protobuf/proto"

//go:generate sh -c "cd ../../proto && go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate"

// Normalise decodes an encoded Message and encodes it again, so that no field but a map's occurs twice and fields stand in
// ascending order with those of the oneof last: what wire.Scan and wire.ParseHeader call Odd is gone. Unknown fields stay.
// b is borrowed until return; the result is new memory. An error means that b does not decode.
func Normalise(b []byte) ([]byte, error) {
	var m Message
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(&m)
}
