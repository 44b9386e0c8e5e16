//go:build !race

package message

import "testing"

// Data with a header that is known costs no memory, in either direction.
func TestAllocsOfData(t *testing.T) {
	var d Decoder
	var e Encoder
	for _, m := range []*Message{data(), {}} {
		if m.Type == 0 {
			m = data()
			m.Type, m.PayloadType, m.Blob = MsgAck, "", nil
		}
		b := m.Append(nil)
		out := make([]byte, 0, len(b))
		for name, f := range map[string]func(){
			"decoded": func() {
				if _, err := d.Decode(b); err != nil {
					t.Error(err)
				}
				d.Release()
			},
			"encoded": func() { out = e.Append(out[:0], m) },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%v %s: %v allocations", m.Type, name, n)
			}
		}
	}
}

// Metadata costs no memory to encode, and to decode that of the map: its keys are known, and what they say again.
func TestAllocsOfMetadata(t *testing.T) {
	var d Decoder
	var e Encoder
	m := data()
	m.Metadata = map[string]string{"method": "Add", "rpc-id": "one", "service": "acme.Calculator"}
	b := m.Append(nil)
	out := make([]byte, 0, len(b))
	if n := testing.AllocsPerRun(100, func() { out = e.Append(out[:0], m) }); n != 0 {
		t.Errorf("encoded: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Decode(b); err != nil {
			t.Error(err)
		}
		d.Release()
	}); n > 2 {
		t.Errorf("decoded: %v allocations, and a map has 2", n)
	}
}
