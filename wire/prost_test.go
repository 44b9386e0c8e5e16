package wire_test

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// prost tells why upstream's decoder (prost 0.14) refuses b as a message of type d, which lies depth messages deep: its
// rules once more, read from the descriptor, without cunning. In one thing it is stricter than prost, which does not
// look at the wire type of a map's entries.
func prost(b []byte, d protoreflect.MessageDescriptor, depth int) error {
	for len(b) > 0 {
		num, wt, n, err := prostKey(b)
		if err != nil {
			return err
		}
		b = b[n:]
		f := d.Fields().ByNumber(num)
		if f == nil {
			if n, err = prostSkip(b, num, wt, depth); err != nil {
				return err
			}
			b = b[n:]
			continue
		}
		want := protowire.BytesType
		switch f.Kind() {
		case protoreflect.BoolKind, protoreflect.EnumKind, protoreflect.Uint32Kind, protoreflect.Uint64Kind:
			want = protowire.VarintType
		}
		if wt != want {
			return errors.New("wire type of a declared field")
		}
		if want == protowire.VarintType {
			_, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		switch f.Kind() {
		case protoreflect.MessageKind:
			if err := prost(v, f.Message(), depth+1); err != nil {
				return err
			}
		case protoreflect.StringKind:
			if !utf8.Valid(v) {
				return errors.New("not UTF-8")
			}
		}
	}
	return nil
}

// prostKey reads a key of at most 32 bits.
func prostKey(b []byte) (num protowire.Number, wt protowire.Type, n int, err error) {
	key, n := protowire.ConsumeVarint(b)
	switch {
	case n < 0:
		return 0, 0, 0, protowire.ParseError(n)
	case key > 1<<32-1 || key>>3 == 0 || key&7 > 5:
		return 0, 0, 0, errors.New("key")
	}
	return protowire.Number(key >> 3), protowire.Type(key & 7), n, nil
}

// prostSkip returns the length of an unknown field after its key.
func prostSkip(b []byte, num protowire.Number, wt protowire.Type, depth int) (n int, err error) {
	if depth == 100 {
		return 0, errors.New("recursion limit")
	}
	switch wt {
	case protowire.VarintType:
		_, n = protowire.ConsumeVarint(b)
	case protowire.Fixed32Type:
		_, n = protowire.ConsumeFixed32(b)
	case protowire.Fixed64Type:
		_, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		_, n = protowire.ConsumeBytes(b)
	case protowire.StartGroupType:
		for {
			inner, wt, k, err := prostKey(b[n:])
			if err != nil {
				return 0, err
			}
			if n += k; wt == protowire.EndGroupType {
				if inner != num {
					return 0, errors.New("end of another group")
				}
				return n, nil
			}
			if k, err = prostSkip(b[n:], inner, wt, depth+1); err != nil {
				return 0, err
			}
			n += k
		}
	default:
		return 0, errors.New("end of no group")
	}
	if n < 0 {
		return 0, protowire.ParseError(n)
	}
	return n, nil
}
