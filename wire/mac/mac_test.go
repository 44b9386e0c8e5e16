package mac

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const classicalKey = "5542d13ed8c43498a9d9acf0c21dd0f07833957d7c5e598b416285d489e47bc6"

// Samples for P-mac-1 and P-mac-4: preimage and tag agree with upstream's. names is where items 1 to 4 end.
var macVectors = []struct {
	name, linkID, key string
	header            *pb.SLIMHeader
	preimage, tag     string
	names             int
}{
	{
		"both names whole, rest absent", "link-0001", classicalKey,
		&pb.SLIMHeader{Source: text("org", "ns", "bob", 0, 1), Destination: text("agntcy", "default", "a", wire.Null,
			wire.Null),
			Identity: "id", Fanout: 1, Ttl: 8, Version: "not covered"},
		"534c494d2d44502d4844522d763100090000006c696e6b2d30303031" +
			"01013b96ea7603583e87d190694c9a76f9eec473e57a431bae49010000000000000000010000000000000001030000006f7267020000006e7303000000626f62" +
			"0101c26b7db12ea89c1668963fc9c703932180524a508a00f53f01ffffffffffffffffffffffffffffffff010600000061676e7463790700000064656661756c740100000061" +
			"020000006964" + "01000000" + "00" + "00" + "00" + "08000000",
		"99b397482564b9d41ee5883d913569c9eb72feb08b350162c1733fa2d0f4d1c5", 28 + 64 + 70,
	},
	{
		"source without id and strings, destination absent, hop fields present", "L",
		"3031323334353637383930313233343536373839303132333435363738393031",
		&pb.SLIMHeader{Source: &pb.Name{Name: &pb.EncodedName{Component_0: 1, Component_1: 2, Component_2: 3}},
			Fanout: 2, Ttl: 8, RecvFrom: proto.Uint64(9), ForwardTo: proto.Uint64(10), Error: proto.Bool(false)},
		"534c494d2d44502d4844522d763100010000004c" + "010101000000000000000200000000000000030000000000000000" + "00" + "00" +
			"00000000" + "02000000" + "010900000000000000" + "010a00000000000000" + "0100" + "08000000",
		"7679c0c08b433b666a8753a7c7b498c07bba78b768498fdeafb9764ca91f4119", 20 + 28 + 1,
	},
}

func text(a, b, c string, hi, lo uint64) *pb.Name {
	n := wire.NewName(a, b, c)
	return &pb.Name{
		Name: &pb.EncodedName{Component_0: n.C[0], Component_1: n.C[1], Component_2: n.C[2], NameId: &pb.NameId{Id_0: hi,
			Id_1: lo}},
		StrName: &pb.StringName{StrComponent_0: a, StrComponent_1: b, StrComponent_2: c},
	}
}

// Rules: P-mac-4.
func TestMACVectors(t *testing.T) {
	for _, v := range macVectors {
		t.Run(v.name, func(t *testing.T) {
			pre, want := unhex(t, v.preimage), unhex(t, v.tag)
			for how, m := range macs(unhex(t, v.key), v.linkID) {
				var n Names
				m.Names(&n, pre[:v.names])
				for range 2 { // the state of the names serves again
					var got [32]byte
					m.Tag(&got, &n, pre[v.names:])
					if !bytes.Equal(got[:], want) {
						t.Fatalf("%s: tag %x, want %x", how, got, want)
					}
				}
				if !m.Verify(want, &n, pre[v.names:]) {
					t.Fatalf("%s: the tag is refused", how)
				}
			}
		})
	}
}

// macs are a MAC for each way of hashing that this CPU has.
func macs(key []byte, linkID string) map[string]*MAC {
	all := map[string]*MAC{"crypto/sha256": newMAC(key, linkID, newSoft())}
	if hasSHA {
		all["SHA instructions"] = newMAC(key, linkID, nil)
	}
	return all
}

// Every length of names and rest up to four blocks: the padding made here is the standard library's.
func TestMACAgreesWithCryptoHMAC(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	head := append([]byte(macLabel), 2, 0, 0, 0, 'a', 'b')
	data := make([]byte, 600)
	for i := range data {
		data[i] = byte(i * 31)
	}
	h := hmac.New(sha256.New, key)
	all := macs(key, "ab")
	var got [32]byte
	for names := range 301 {
		pre := append(bytes.Clone(head), data[:names]...)
		kept := map[string]*Names{}
		for how, m := range all {
			kept[how] = new(Names)
			m.Names(kept[how], pre)
		}
		for rest := range 301 {
			h.Reset()
			h.Write(head)
			h.Write(data[:names+rest])
			want := h.Sum(nil)
			for how, m := range all {
				m.Tag(&got, kept[how], data[names:names+rest])
				if !bytes.Equal(got[:], want) {
					t.Fatalf("%s: %d bytes of names, %d of rest: %x, want %x", how, names, rest, got, want)
				}
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	m := New(key, "link")
	pre := preimageNames("link", "names")
	rest := []byte("rest of the header")
	var n Names
	m.Names(&n, pre)
	var tag [32]byte
	m.Tag(&tag, &n, rest)

	flipped := tag
	flipped[31] ^= 1
	other := New(key, "kink")
	var on Names
	other.Names(&on, preimageNames("kink", "names"))
	foreign := New(bytes.Repeat([]byte{8}, 32), "link")
	var fn Names
	foreign.Names(&fn, pre)
	var n2 Names
	m.Names(&n2, preimageNames("link", "nameS"))
	cases := []struct {
		name string
		m    *MAC
		n    *Names
		tag  []byte
		rest []byte
		want bool
	}{
		{"nothing: all is well", m, &n, tag[:], rest, true},
		{"one bit of the tag changed", m, &n, flipped[:], rest, false},
		{"tag absent", m, &n, nil, rest, false},
		{"tag cut to 31 bytes", m, &n, tag[:31], rest, false},
		{"tag of 33 bytes", m, &n, append(tag[:], 0), rest, false},
		{"one byte of the rest changed", m, &n, tag[:], []byte("rest of the heater"), false},
		{"rest cut", m, &n, tag[:], rest[:len(rest)-1], false},
		{"other names", m, &n2, tag[:], rest, false},
		{"other link_id", other, &on, tag[:], rest, false},
		{"other key", foreign, &fn, tag[:], rest, false},
	}
	for _, c := range cases {
		if got := c.m.Verify(c.tag, c.n, c.rest); got != c.want {
			t.Errorf("%s: verified %v, want %v", c.name, got, c.want)
		}
	}
}

func preimageNames(linkID, names string) []byte {
	b := append([]byte(macLabel), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(b[len(macLabel):], uint32(len(linkID)))
	return append(append(b, linkID...), names...)
}

func TestNewPanicsAtAnotherKeyLength(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a key of %d bytes is taken", n)
				}
			}()
			New(make([]byte, n), "link")
		}()
	}
}

func TestMACCloseWipes(t *testing.T) {
	for how, m := range macs(bytes.Repeat([]byte{7}, 32), "link") {
		var n Names
		m.Names(&n, preimageNames("link", "names"))
		var tag [32]byte
		m.Tag(&tag, &n, nil)
		work := m.work
		m.Close()
		if m.inner != (state{}) || m.outer != (state{}) || m.work != nil || work != nil && *work != [2]scratch{} {
			t.Errorf("%s: keyed state is left", how)
		}
		if m.soft != nil && (m.soft.work != [marshaledSize]byte{} || m.soft.buf != [maxPadding]byte{}) {
			t.Errorf("%s: scratch is left", how)
		}
	}
}

// A MAC without key or a Names of none would make tags that anybody can make.
func TestTagPanicsWithoutState(t *testing.T) {
	for how, m := range macs(bytes.Repeat([]byte{7}, 32), "link") {
		closed := macs(bytes.Repeat([]byte{7}, 32), "link")[how]
		var n, none Names
		m.Names(&n, preimageNames("link", "names"))
		closed.Close()
		var d0, d1 [32]byte
		for name, f := range map[string]func(){
			"Tag, zero Names":         func() { m.Tag(&d0, &none, nil) },
			"Tag, closed":             func() { closed.Tag(&d0, &n, nil) },
			"Verify, closed":          func() { closed.Verify(d0[:], &n, nil) },
			"Tag2, first Names zero":  func() { Tag2(&d0, m, &none, nil, &d1, m, &n, nil) },
			"Tag2, second Names zero": func() { Tag2(&d0, m, &n, nil, &d1, m, &none, nil) },
			"Tag2, first MAC closed":  func() { Tag2(&d0, closed, &n, nil, &d1, m, &n, nil) },
			"Tag2, second MAC closed": func() { Tag2(&d0, m, &n, nil, &d1, closed, &n, nil) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: %s: no panic", how, name)
					}
				}()
				f()
			}()
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	m := New(bytes.Repeat([]byte{0xab}, 32), "link")
	var n Names
	m.Names(&n, preimageNames("link", "names"))
	for name, v := range map[string]any{"MAC": *m, "*MAC": m, "Names": n, "*Names": &n} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			if got := fmt.Sprintf(verb, v); got != redacted {
				t.Errorf("%s prints with %s as %s", name, verb, got)
			}
		}
	}
}
