package netloop

import (
	"bytes"
	"net"
	"testing"
)

// A connection without a descriptor is one of the loop all the same, in both directions and at its end.
func TestJoinWithoutADescriptor(t *testing.T) {
	r := rig(t, Options{Loops: 1})
	ours, theirs := net.Pipe()
	h := &tape{}
	if err := r.e.Join(ours, func(*Loop) Handler { return h }); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Write([]byte("in")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is read", func() bool {
		var got []byte
		r.do(func() { got = bytes.Clone(h.got.Bytes()) })
		return string(got) == "in"
	})
	r.do(func() {
		h.stage([]byte("out"))
		h.k.Flush()
	})
	b := make([]byte, 3)
	if _, err := theirs.Read(b); err != nil || string(b) != "out" {
		t.Fatalf("read %q, %v", b, err)
	}
	_ = theirs.Close()
	eventually(t, "its end is heard of", func() bool { return h.has("closed") })
}

// What is carried ends with the engine, whoever reads.
func TestStopEndsWhatIsCarried(t *testing.T) {
	r := rig(t, Options{Loops: 1})
	ours, theirs := net.Pipe() // nobody reads
	h := &tape{}
	if err := r.e.Join(ours, func(*Loop) Handler { return h }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is a socket", func() bool { return h.has("opened") })
	r.do(func() {
		h.stage(make([]byte, OutboxSize))
		h.k.Flush()
	})
	r.e.Stop()
	if _, err := theirs.Read(make([]byte, 1<<20)); err == nil {
		if _, err = theirs.Read(make([]byte, 1<<20)); err == nil {
			t.Error("the connection outlives the engine")
		}
	}
	if err := r.e.Join(theirs, func(*Loop) Handler { return h }); err == nil {
		t.Error("a stopped engine takes a connection")
	}
}
