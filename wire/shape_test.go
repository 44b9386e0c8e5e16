package wire

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// The tables say what the .proto says, at every depth.
func TestShapesAreTheProtos(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	for typ, s := range map[protoreflect.MessageDescriptor]*shape{
		(*pb.SLIMHeader)(nil).ProtoReflect().Descriptor():                                    headerShape,
		(*pb.SessionHeader)(nil).ProtoReflect().Descriptor():                                 sessionShape,
		(*pb.Content)(nil).ProtoReflect().Descriptor():                                       contentShape,
		(*pb.LinkNegotiationPayload)(nil).ProtoReflect().Descriptor():                        negotiationShape,
		(*pb.Message)(nil).ProtoReflect().Descriptor().Fields().ByName("metadata").Message(): metadataShape,
	} {
		compareShape(t, typ, s, seen)
	}
	scanned := map[protoreflect.Name]bool{"Message": true, "Subscribe": true, "Unsubscribe": true, "Publish": true,
		"Link":            true,
		"SubscriptionAck": true, "HeaderIntegrityAad": true} // walked by Scan; the last is never sent
	all := pb.File_dataplane_proto_v1_data_plane_proto.Messages()
	for i := range all.Len() {
		if d := all.Get(i); !seen[d.FullName()] && !scanned[d.Name()] {
			t.Errorf("%s is checked by nobody", d.Name())
		}
	}
}

func compareShape(t *testing.T, d protoreflect.MessageDescriptor, s *shape, seen map[protoreflect.FullName]bool) {
	t.Helper()
	if seen[d.FullName()] {
		return
	}
	seen[d.FullName()] = true
	fs := d.Fields()
	if int(s.last) != fs.Len() {
		t.Fatalf("%s has %d fields, its shape %d", d.Name(), fs.Len(), s.last)
	}
	declared := map[int]form{}
	for i := range fs.Len() {
		f := fs.Get(i)
		if f.IsList() && f.Kind() != protoreflect.MessageKind {
			t.Fatalf("%s: lists of numbers may be packed, which a shape does not know", f.FullName())
		}
		want, wt := number, wireVarint
		switch f.Kind() {
		case protoreflect.StringKind:
			want, wt = text, wireBytes
		case protoreflect.BytesKind:
			want, wt = blob, wireBytes
		case protoreflect.MessageKind:
			want, wt = nested, wireBytes
			compareShape(t, f.Message(), s.inner[f.Number()], seen)
		case protoreflect.BoolKind, protoreflect.EnumKind, protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		default:
			t.Fatalf("%s is a %v, which a shape does not know", f.FullName(), f.Kind())
		}
		declared[int(f.Number())<<3|wt] = want
	}
	for num := fs.Len() + 1; num <= highestNumber; num++ {
		declared[num<<3|wireVarint], declared[num<<3|wireBytes] = number, blob
	}
	for key, is := range s.forms {
		if is != declared[key] {
			t.Errorf("%s: key %d is of form %d, want %d", d.Name(), key, is, declared[key])
		}
	}
}
