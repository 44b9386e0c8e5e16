package wire

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

func delimited(num byte, parts ...[]byte) []byte {
	b := bytes.Join(parts, nil)
	return append(appendVarint([]byte{num<<3 | wireBytes}, uint64(len(b))), b...)
}

// Parts are counted wherever they lie; each case has exactly so many. Rules: P-lim-14.
func TestFewPartsCountsFieldsAtAllDepths(t *testing.T) {
	const n = 1000
	tiny := func(key byte, rest ...byte) []byte { return bytes.Repeat(append([]byte{key}, rest...), n) }
	for _, c := range []struct {
		name string
		b    []byte
		want int
	}{
		{"nothing", nil, 0},
		{"publishes", tiny(3<<3|2, 0), n},
		{"metadata", tiny(4<<3|2, 2, 0x0a, 0), 2 * n},
		{"unknown fields", tiny(15<<3, 1), n},
		{"fixed ones", append(tiny(15<<3|1, 1, 2, 3, 4, 5, 6, 7, 8), tiny(15<<3|5, 1, 2, 3, 4)...), 2 * n},
		{"headers", delimited(3, tiny(1<<3|2, 0)), 1 + n},
		{"header of a subscribe", delimited(1, delimited(1, tiny(6<<3, 1))), 2 + n},
		{"sources", delimited(3, delimited(1, tiny(1<<3|2, 2, 0x0a, 0))), 2 + 2*n},
		{"session", delimited(3, delimited(2, tiny(1<<3, 1))), 2 + n},
		{"participants", delimited(3, delimited(3, delimited(2, delimited(7, tiny(2<<3|2, 2, 0x0a, 0))))), 4 + 2*n},
		{"groups", append(tiny(15<<3|3), tiny(15<<3|4)...), 2 * n},
		{"inside of a group", append(append([]byte{15<<3 | 3}, tiny(1<<3|2, 2, 0x0a, 0)...), 15<<3|4), n + 2},
		{"not inside of bytes", delimited(3, delimited(3, delimited(1, delimited(2, tiny(1<<3, 1))))), 4},
		{"cut short", append(tiny(15<<3, 1), 0x0a, 100), n + 1},
	} {
		if FewParts(c.b, c.want-1) && c.want > 0 || !FewParts(c.b, c.want) {
			t.Errorf("%s: not %d parts", c.name, c.want)
		}
	}
}

// What honest members send passes: an update of a group of 10,000.
func TestFewPartsPassesALargeGroup(t *testing.T) {
	u := &pb.GroupUpdatePayload{}
	for i := range uint64(10_000) {
		u.Participants = append(u.Participants, &pb.Participant{Name: &pb.Name{
			Name:    &pb.EncodedName{Component_0: 1 << 60, Component_1: 2 << 60, Component_2: i + 1, NameId: &pb.NameId{Id_0: 1, Id_1: i + 1}},
			StrName: &pb.StringName{StrComponent_0: "org", StrComponent_1: "ns", StrComponent_2: "member"}}})
	}
	b, err := proto.Marshal(&pb.Message{MessageType: &pb.Message_Publish{Publish: &pb.Publish{Msg: &pb.Content{ContentType: &pb.Content_CommandPayload{
		CommandPayload: &pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_GroupUpdate{GroupUpdate: u}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if !FewParts(b, 1<<17) {
		t.Errorf("%d bytes have too many parts", len(b))
	}
}
