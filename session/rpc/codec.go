package rpc

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Codec turns messages into the bytes of a frame and back. It is safe for all. Both ends need the same.
type Codec interface {
	Marshal(msg any) ([]byte, error)
	// Unmarshal reads into msg, which is a pointer, and may keep data.
	Unmarshal(data []byte, msg any) error
}

// Raw is a message that is sent as it is.
type Raw []byte

// Proto is the Codec where nothing else is said: protobuf messages in the binary format, and *Raw.
type Proto struct{}

// Marshal implements Codec.
func (Proto) Marshal(msg any) ([]byte, error) {
	switch m := msg.(type) {
	case proto.Message:
		return proto.Marshal(m)
	case *Raw:
		return *m, nil
	}
	return nil, fmt.Errorf("%T is neither a protobuf message nor a *rpc.Raw", msg)
}

// Unmarshal implements Codec.
func (Proto) Unmarshal(data []byte, msg any) error {
	switch m := msg.(type) {
	case proto.Message:
		return proto.Unmarshal(data, m)
	case *Raw:
		*m = data
		return nil
	}
	return fmt.Errorf("%T is neither a protobuf message nor a *rpc.Raw", msg)
}
