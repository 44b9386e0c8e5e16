package wire_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// Two headers whose tags interoperate with upstream's native library.
var macVectors = []struct {
	name, linkID  string
	key           string
	message       func() []byte
	preimage, tag string
}{
	{
		name: "names with ids and strings", linkID: "link-0001",
		key: "5542d13ed8c43498a9d9acf0c21dd0f07833957d7c5e598b416285d489e47bc6",
		message: func() []byte {
			return wire.AppendPublish(nil, &wire.PublishHeader{
				Source: wire.Text("org", "ns", "bob").WithID(0, 1), Dest: wire.Text("agntcy", "default", "a"),
				Identity: "id", Fanout: 1, TTL: 8, Version: "not covered",
			}, []byte{}, nil)
		},
		preimage: "534c494d2d44502d4844522d763100090000006c696e6b2d3030303101013b96ea7603583e87d190694c9a76f9eec473e57a431bae490100" +
			"00000000000000010000000000000001030000006f7267020000006e7303000000626f620101c26b7db12ea89c1668963fc9c703932180524a508a00" +
			"f53f01ffffffffffffffffffffffffffffffff010600000061676e7463790700000064656661756c7401000000610200000069640100000000000008000000",
		tag: "99b397482564b9d41ee5883d913569c9eb72feb08b350162c1733fa2d0f4d1c5",
	},
	{
		name: "absent parts and local fields", linkID: "L",
		key: "3031323334353637383930313233343536373839303132333435363738393031",
		message: func() []byte {
			source := field(1, field(1, number(1, 1), number(2, 2), number(3, 3)))
			return field(3, field(1, source, number(4, 2), number(6, 8), number(7, 9), number(8, 10), number(10, 0)))
		},
		preimage: "534c494d2d44502d4844522d763100010000004c01010100000000000000020000000000000003000000000000000000000000000002000000" +
			"010900000000000000010a00000000000000010008000000",
		tag: "7679c0c08b433b666a8753a7c7b498c07bba78b768498fdeafb9764ca91f4119",
	},
}

// Rules: P-mac-1.
func TestMACPreimageIsUpstreams(t *testing.T) {
	for _, v := range macVectors {
		t.Run(v.name, func(t *testing.T) {
			_, h, hd := parse(t, v.message())
			got := mac.AppendRest(mac.AppendNames(nil, v.linkID, h, &hd), h, &hd, hd.TTL, false)
			if want := unhex(t, v.preimage); !bytes.Equal(got, want) {
				t.Fatalf("preimage\n%x, want\n%x", got, want)
			}
			sum := hmac.New(sha256.New, unhex(t, v.key))
			sum.Write(got)
			if tag := sum.Sum(nil); !bytes.Equal(tag, unhex(t, v.tag)) {
				t.Errorf("tag %x, want %s", tag, v.tag)
			}
		})
	}
}

// What is signed for the next hop must be what the next node computes from the bytes it gets. Rules: P-mac-3, P-mac-5.
func TestEgressPreimageIsThatOfTheRewrittenHeader(t *testing.T) {
	for _, v := range macVectors {
		_, h, hd := parse(t, v.message())
		signed := mac.AppendRest(mac.AppendNames(nil, "next", h, &hd), h, &hd, hd.TTL-1, true)
		out := wire.AppendHeader(nil, h, &hd, hd.TTL-1, make([]byte, wire.MACSize))
		var next wire.Header
		if err := wire.ParseHeader(out, &next); err != nil {
			t.Fatal(err)
		}
		checked := mac.AppendRest(mac.AppendNames(nil, "next", out, &next), out, &next, next.TTL, false)
		if !bytes.Equal(signed, checked) {
			t.Errorf("%s: signed\n%x, checked\n%x", v.name, signed, checked)
		}
	}
}

// Rules: P-mac-2.
func TestMACTellsAbsentNullAndZeroIDsApart(t *testing.T) {
	null := uvarint([]byte{0x08}, wire.Null)
	null = append(null, uvarint([]byte{0x10}, wire.Null)...)
	seen := map[string]string{}
	for rule, name := range map[string][]byte{
		"name absent":         {},
		"name empty":          field(1),
		"encoded name empty":  field(1, field(1)),
		"id empty":            field(1, field(1, field(4))),
		"id null":             field(1, field(1, field(4, null))),
		"strings empty":       field(1, field(2)),
		"both empty":          field(1, field(1), field(2)),
		"both empty, with id": field(1, field(1, field(4)), field(2)),
	} {
		_, h, hd := parse(t, field(3, field(1, name)))
		p := string(mac.AppendNames(nil, "", h, &hd))
		if other, ok := seen[p]; ok {
			t.Errorf("%s and %s have the same preimage", rule, other)
		}
		seen[p] = rule
	}
}
