package message

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// Whatever was said before, a Decoder reads of metadata what Decode does, and what it has lent before stays as it was.
func TestDecoderRemembersMetadata(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 6))
	var d Decoder
	type lent struct{ got, want map[string]string }
	var all []lent
	for n := range 2000 {
		m := data()
		if n%7 == 0 {
			m.Type = MsgAck
		}
		m.Metadata = map[string]string{}
		for range r.IntN(4) {
			m.Metadata[fmt.Sprint("key ", r.IntN(3))] = fmt.Sprint(r.IntN(2))
		}
		if n%50 == 0 { // more than are remembered
			for i := range 20 {
				m.Metadata[fmt.Sprint("many ", i)] = "v"
			}
		}
		b := m.Append(nil)
		if n%11 == 0 { // twice the same key: the last one counts
			b = appendMetadata(b, map[string]string{"key 0": "last"})
		}
		want, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got.Metadata, want.Metadata) {
			t.Fatalf("message %d says %v, and was read as %v", n, want.Metadata, got.Metadata)
		}
		all = append(all, lent{got.Metadata, want.Metadata})
		d.Release()
		if n%13 == 0 {
			if _, err := d.Decode(b[:len(b)-1]); err == nil && len(m.Metadata) > 0 {
				t.Fatal("a message that is cut was read")
			}
		}
	}
	for n, x := range all {
		if !maps.Equal(x.got, x.want) {
			t.Fatalf("message %d has said %v, and that has become %v", n, x.want, x.got)
		}
	}
}

// A message that says what the one before it has said costs nothing.
func TestAllocsOfMetadataAgain(t *testing.T) {
	var d Decoder
	m := data()
	m.Type = Msg
	m.Metadata = map[string]string{"rpc-id": "one", "slimrpc-dir": "req"}
	b := m.Append(nil)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Decode(b); err != nil {
			t.Error(err)
		}
		d.Release()
	}); n != 0 {
		t.Errorf("decoded: %v allocations", n)
	}
}
