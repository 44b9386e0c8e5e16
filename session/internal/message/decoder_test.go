package message

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
)

// Whatever came or went before, a Decoder and an Encoder make of a message what those make of it who remember nothing.
func TestHeadersAreRemembered(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var d Decoder
	var e Encoder
	var heads []*Message // of more members than are remembered
	for range 2 * mostHeaders {
		m := random(r)
		m.Source.Str[0], m.Dest.Str[0], m.Source.NoStrings, m.Dest.NoStrings = "org", "org", false, false
		heads = append(heads, m)
	}
	known, rounds := 0, 5000
	if os.Getenv("SLIMGO_TEST_LONG") != "" {
		rounds = 20_000
	}
	for range rounds {
		head := heads[r.IntN(1+r.IntN(len(heads)))]
		switch r.IntN(300) {
		case 0:
			head.Identity = text(r) // a new token
		case 1:
			head.Version, head.TTL = text(r), r.Uint32N(10)
		case 2:
			head.Source, head.Dest = head.Dest, head.Source
		case 3:
			head.Fanout = r.Uint32N(300)
		case 4:
			head.Source.Str[2] = text(r) // spelled otherwise
		case 5:
			head.Failed = !head.Failed
		}
		m := random(r)
		m.Source, m.Dest, m.Identity, m.Version, m.Fanout = head.Source, head.Dest, head.Identity, head.Version, head.Fanout
		m.TTL, m.Failed, m.Signature = head.TTL, head.Failed, head.Signature
		want := m.Append([]byte("before"))
		b := e.Append([]byte("before"), m)
		if !bytes.Equal(b, want) {
			t.Fatalf("encoded to\n%x, want\n%x", b, want)
		}
		b = b[len("before"):]
		if r.IntN(50) == 0 {
			b[r.IntN(len(b))]++
		}
		twin, twinErr := decodeTwin(b)
		for _, k := range d.headers.list {
			if bytes.Contains(b, k.raw) {
				known++
			}
		}
		got, err := d.Decode(b)
		if !reflect.DeepEqual(got, twin) || (err == nil) != (twinErr == nil) || err != nil && err.Error() != twinErr.Error() {
			t.Fatalf("got  %+v, %v\nwant %+v, %v", got, err, twin, twinErr)
		}
	}
	if known < rounds/4 {
		t.Errorf("%d headers were known: the test is of little", known)
	}
	size := 0
	for _, k := range d.headers.list {
		size += len(k.raw)
	}
	if size != d.headers.bytes || size > mostHeaderBytes {
		t.Errorf("%d bytes are remembered, and %d are counted", size, d.headers.bytes)
	}
	if len(d.headers.list) > mostHeaders || len(e.list) > mostHeaders {
		t.Errorf("%d and %d headers are remembered", len(d.headers.list), len(e.list))
	}
}

// A message of control stays what it was, and a Decoder that has let go holds nothing of what came.
func TestWhatADecoderLends(t *testing.T) {
	var d Decoder
	control, err := d.Decode(discovery().Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	was := *control
	if _, err := d.Decode(data().Append(nil)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*control, was) {
		t.Error("a message of control has changed")
	}
	d.Release()
	if !reflect.DeepEqual(d.data, Message{}) || d.headers.raw != nil || !reflect.DeepEqual(d.walk.fields, [mostDepth]fields{}) {
		t.Error("the message that came last is held")
	}
}

// A Decoder remembers few keys of metadata, and short ones, whatever it is sent.
func TestKeysThatAreRemembered(t *testing.T) {
	var d Decoder
	for n := range 2 * mostKeys {
		m := data()
		long := strings.Repeat("k", mostKeySize+1)
		m.Metadata = map[string]string{fmt.Sprint("key ", n): "v", long: "w"}
		for range 2 {
			got, err := d.Decode(m.Append(nil))
			if err != nil || !maps.Equal(got.Metadata, m.Metadata) {
				t.Fatalf("%v, %v", got, err)
			}
		}
		if _, known := d.headers.keys[long]; known || len(d.headers.keys) > mostKeys {
			t.Fatalf("%d keys are remembered, the long one: %v", len(d.headers.keys), known)
		}
	}
}
