package wire_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

func header(t *testing.T, h []byte) wire.Header {
	t.Helper()
	var hd wire.Header
	if err := wire.ParseHeader(h, &hd); err != nil {
		t.Fatalf("ParseHeader(%x): %v", h, err)
	}
	return hd
}

// Rules: P-mac-2.
func TestNamesKeepPresenceApartFromValue(t *testing.T) {
	strs := field(2, field(1, []byte("o")), field(3, []byte("é")))
	for _, c := range []struct {
		rule string
		name []byte // the field
		want wire.NameRef
	}{
		{"absent", nil, wire.NameRef{Name: wire.Name{Hi: wire.Null, Lo: wire.Null}}},
		{"empty", field(1), wire.NameRef{Name: wire.Name{Hi: wire.Null, Lo: wire.Null}, Present: true}},
		{
			"encoded name without id", field(1, field(1, number(2, 7))),
			wire.NameRef{
				Name: wire.Name{C: [3]uint64{0, 7, 0}, Hi: wire.Null, Lo: wire.Null}, Present: true, HasName: true,
			},
		},
		{"empty id is zero", field(1, field(1, field(4))), wire.NameRef{Present: true, HasName: true, HasID: true}},
		{
			"half an id", field(1, field(1, field(4, number(2, 1)))),
			wire.NameRef{Name: wire.Name{Lo: 1}, Present: true, HasName: true, HasID: true},
		},
		{
			"strings only", field(1, strs),
			wire.NameRef{
				Name: wire.Name{Hi: wire.Null, Lo: wire.Null}, Present: true, HasStr: true,
				Str: [3]wire.Span{{Off: 6, End: 7}, {}, {Off: 9, End: 11}},
			},
		},
		{
			"repeated parts merge", field(1, field(1, number(1, 1), field(4, number(1, 2))), field(1, number(1, 3), field(4,
				number(2, 4)))),
			wire.NameRef{Name: wire.Name{C: [3]uint64{3}, Hi: 2, Lo: 4}, Present: true, HasName: true, HasID: true},
		},
	} {
		if got := header(t, c.name).Source; got != c.want {
			t.Errorf("%s: %+v, want %+v", c.rule, got, c.want)
		}
	}
}

// The straight-line reader of usual names must not see usual names where there are none.
func TestNamesThatLookUsual(t *testing.T) {
	const a, b, c, hi, lo = 1<<63 | 1, 1 << 62, 1<<63 | 3, 1<<63 | 4, 1 << 56
	id := field(4, number(1, hi), number(2, lo))
	enc := field(1, number(1, a), number(2, b), number(3, c), id)
	strs := field(2, field(1, []byte("org")), field(2, []byte("ns")), field(3, []byte("bob")))
	want := header(t, field(1, enc, strs)).Source
	if want.Name != (wire.Name{C: [3]uint64{a, b, c}, Hi: hi, Lo: lo}) || !want.HasStr || !want.HasID {
		t.Fatalf("usual name: %+v", want)
	}
	for rule, name := range map[string][]byte{
		"components in another order": join(field(1, number(3, c), number(2, b), number(1, a), id), strs),
		"id first":                    join(field(1, id, number(1, a), number(2, b), number(3, c)), strs),
		"a component twice":           join(field(1, number(1, b), number(1, a), number(2, b), number(3, c), id), strs),
		"unknown number after":        join(field(1, number(1, a), number(2, b), number(3, c), id, number(5, a)), strs),
		"unknown number in the id": join(field(1, number(1, a), number(2, b), number(3, c), field(4, number(1, hi),
			number(2, lo), number(3, 1))), strs),
		"id in two pieces": join(field(1, number(1, a), number(2, b), number(3, c), field(4, number(1, hi)),
			field(4, number(2, lo))), strs),
		"strings first":         join(strs, enc),
		"unknown field between": join(enc, field(3), strs),
		"strings in another order": join(enc, field(2, field(3, []byte("bob")), field(1, []byte("org")), field(2,
			[]byte("ns")))),
		"a string twice": join(enc, field(2, field(1, []byte("x")), field(1, []byte("org")), field(2,
			[]byte("ns")), field(3, []byte("bob")))),
		"ten bytes where nine do": join(field(1, number(1, a), []byte{0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
			0x80, 0xc0, 0x00}, number(3, c), id), strs),
	} {
		h := field(1, name)
		got := header(t, h).Source
		if got.Name != want.Name || got.HasID != want.HasID || got.Strings(h) != [3]string{"org", "ns", "bob"} {
			t.Errorf("%s: %+v, %q; want %+v", rule, got, got.Strings(h), want)
		}
	}
	// A last number that runs over the end of its message into bytes that would suit it.
	short := join(number(1, a), number(2, b), number(3, c), field(4, number(1, hi), []byte{0x10, 0x80, 0x80}))
	over := field(1, field(1, short), field(15, bytes.Repeat([]byte{0x80}, 20)))
	if err := wire.ParseHeader(over, new(wire.Header)); !errors.Is(err, wire.ErrTruncated) {
		t.Errorf("number over the end: %v", err)
	}
}

// A name after another field is read step by step, a leading one at a stretch if it looks usual. Both must agree on
// all that a usual name turns into when bytes of it change or go missing.
func TestUsualNamesAreReadLikeAnyOther(t *testing.T) {
	usual := join(
		field(1, number(1, 1<<63|1), number(2, 1<<62), number(3, 1<<63|3), field(4, number(1, 1<<56), number(2, 1<<63|5))),
		field(2, field(1, []byte("org")), field(2, []byte("ns")), field(3, []byte("bob"))))
	first := number(6, 8)
	check := func(name []byte) {
		t.Helper()
		var fast, slow wire.Header
		fastErr := wire.ParseHeader(join(field(1, name), field(2)), &fast)
		slowErr := wire.ParseHeader(join(first, field(1, name), field(2)), &slow)
		for i, s := range fast.Source.Str {
			if s != (wire.Span{}) {
				shift := uint32(len(first))
				fast.Source.Str[i] = wire.Span{Off: s.Off + shift, End: s.End + shift}
			}
		}
		var last wire.Header // the header ends with the name
		if err := wire.ParseHeader(join(field(1), field(2, name)), &last); !errors.Is(err, slowErr) ||
			err == nil && last.Dest.Name != slow.Source.Name {
			t.Fatalf("name %x as destination:\n%+v, %v, want\n%+v, %v", name, last.Dest, err, slow.Source, slowErr)
		}
		if !errors.Is(fastErr, slowErr) || fastErr == nil && fast.Source != slow.Source {
			t.Fatalf("name %x:\n%+v, %v, want\n%+v, %v", name, fast.Source, fastErr, slow.Source, slowErr)
		}
	}
	for i := range usual {
		check(usual[:i])
		for c := range 256 {
			name := bytes.Clone(usual)
			name[i] = byte(c)
			check(name)
		}
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 50000 {
		name := bytes.Clone(usual)
		for range 2 + rnd.IntN(2) {
			name[rnd.IntN(len(name))] += byte(rnd.IntN(9)) - 4
		}
		check(name)
	}
}

func TestHeaderValues(t *testing.T) {
	h := join(someHeader, field(3, []byte("tökn")), number(4, 1<<32|256), field(5, []byte("2.3.0")), number(6, 8),
		number(7, 0),
		number(8, 1<<63), number(9, 3), number(10, 2), field(11, []byte("mac")), field(12, []byte{0xff}))
	hd := header(t, h)
	if got := string(hd.Identity.Of(h)); got != "tökn" {
		t.Errorf("identity %q", got)
	}
	if got := string(hd.MAC.Of(h)); got != "mac" || !hd.HasMAC {
		t.Errorf("mac %q, %v", got, hd.HasMAC)
	}
	if hd.Fanout != 256 || hd.TTL != 8 {
		t.Errorf("fanout %d, ttl %d", hd.Fanout, hd.TTL)
	}
	if !hd.HasRecvFrom || hd.RecvFrom != 0 || !hd.HasForwardTo || hd.ForwardTo != 1<<63 {
		t.Errorf("recv_from %v %d, forward_to %v %d", hd.HasRecvFrom, hd.RecvFrom, hd.HasForwardTo, hd.ForwardTo)
	}
	if hd.Error != wire.ErrorTrue || hd.Odd || int(hd.Names) != len(someHeader) {
		t.Errorf("error %d, odd %v, names %d", hd.Error, hd.Odd, hd.Names)
	}
	if hd := header(t, number(10, 0)); hd.Error != wire.ErrorFalse {
		t.Errorf("error false: %d", hd.Error)
	}
	// Everything is overwritten by the next header.
	if err := wire.ParseHeader(nil, &hd); err != nil {
		t.Fatal(err)
	}
	if hd.Identity.Len() != 0 || hd.HasMAC || hd.HasRecvFrom || hd.HasForwardTo || hd.Error != wire.ErrorAbsent ||
		hd.Fanout != 0 || hd.TTL != 0 || hd.Names != 0 || hd.NKeep != 0 || hd.Source.Present || !hd.Dest.Name.IsNull() {
		t.Errorf("leftovers: %+v", hd)
	}
}

func TestNamesIsTheLengthOfALeadingPair(t *testing.T) {
	source, dest := field(1, someName), field(2, someName)
	for _, c := range []struct {
		rule string
		h    []byte
		want int
	}{
		{"source, destination", join(source, dest), len(source) + len(dest)},
		{"followed by others", join(source, dest, number(6, 8)), len(source) + len(dest)},
		{"empty names", join(field(1), field(2)), 4},
		{"destination first", join(dest, source), 0},
		{"a field before", join(number(6, 8), source, dest), 0},
		{"a field between", join(source, number(6, 8), dest), 0},
		{"source only", source, 0},
		{"source twice", join(source, source, dest), 0},
		{"long key", join([]byte{0x8a, 0x00}, source[1:], dest), 0},
		{"nothing", nil, 0},
	} {
		if got := header(t, c.h); int(got.Names) != c.want {
			t.Errorf("%s: %d, want %d", c.rule, got.Names, c.want)
		}
	}
}

func TestParseRestEqualsParseHeader(t *testing.T) {
	base := join(field(1, someName), field(2, field(1, number(3, 1)), field(2, field(1, []byte("x")))))
	rest := header(t, join(base, field(3, []byte("old")), number(7, 1), number(8, 1), number(10, 1), field(11,
		[]byte("m"))))
	for _, tail := range [][]byte{
		nil,
		join(field(3, []byte("id")), number(4, 1), number(6, 8), field(11, make([]byte, 32))),
		join(number(6, 8), field(20), number(6, 7)), // odd
		join(field(1), number(6, 8)),                // odd: source again
		number(8, 5),
	} {
		h := join(base, tail)
		want := header(t, h)
		got := rest
		if err := wire.ParseRest(h, &got); err != nil {
			t.Fatal(err)
		}
		forgetStale(&got)
		forgetStale(&want)
		if got != want {
			t.Errorf("tail %x:\n%+v, want\n%+v", tail, got, want)
		}
	}
	if err := wire.ParseRest(base[:len(base)-1], &rest); err == nil {
		t.Error("a header shorter than its names is accepted")
	}
}

// forgetStale clears the part of Keep that NKeep excludes.
func forgetStale(hd *wire.Header) { clear(hd.Keep[hd.NKeep:]) }

// Rules: P-msg-5, P-msg-8.
func TestKeepLeavesOutTheHopsOwnFields(t *testing.T) {
	ttl, kept := number(6, 8), field(14, []byte("kept"))
	for _, c := range []struct {
		rule  string
		h     []byte
		nkeep int
		odd   bool
	}{
		{"all kept", join(someHeader, kept), 1, false},
		{"hop fields first", join(ttl, number(7, 1), number(8, 1), number(9, 1), field(11), someHeader), 1, false},
		{"hop fields between", join(someHeader, ttl, kept, number(9, 1), kept), 3, false},
		{"nothing kept", ttl, 0, false},
		{"unknown groups are kept", join(someHeader, []byte{0x7b, 0x7c}, ttl), 1, false},
		{"six runs", join(kept, ttl, kept, number(7, 1), kept, number(8, 1), kept, number(9, 1), kept, field(11), kept), 6,
			false},
		{"seven runs need a field twice", join(kept, ttl, kept, number(7, 1), kept, number(8, 1), kept, number(9, 1), kept,
			field(11), kept, ttl, kept), 6, true},
		{"a field twice", join(someHeader, ttl, ttl), 1, true},
		{"identity twice", join(someHeader, field(3), field(3)), 1, true},
	} {
		hd := header(t, c.h)
		if int(hd.NKeep) != c.nkeep || hd.Odd != c.odd {
			t.Errorf("%s: %d runs, odd %v; want %d, %v", c.rule, hd.NKeep, hd.Odd, c.nkeep, c.odd)
		}
		if hd.Odd {
			continue
		}
		got := wire.AppendHeader(nil, c.h, &hd, 0, nil)
		want := bytes.ReplaceAll(c.h, ttl, nil)
		for _, hop := range [][]byte{number(7, 1), number(8, 1), number(9, 1), field(11)} {
			want = bytes.ReplaceAll(want, hop, nil)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: goes on as %x, want %x", c.rule, got, want)
		}
	}
}

func TestParseHeaderRefusesWhatDoesNotDecode(t *testing.T) {
	for _, c := range badFields {
		for where, h := range map[string][]byte{
			"in the header": c.b, "after the names": join(someHeader, c.b), "in a name": field(1, c.b),
			"in an encoded name": field(2, field(1, c.b)), "in an id": field(1, field(1, field(4, c.b))),
			"in strings": join(field(1), field(2, field(2, c.b))),
		} {
			if err := wire.ParseHeader(h, new(wire.Header)); !errors.Is(err, c.err) {
				t.Errorf("%s %s: %v, want %v", c.rule, where, err, c.err)
			}
		}
	}
}

func TestParseHeaderRefusesKnownFieldsOfAnotherType(t *testing.T) {
	isText := map[int]bool{1: true, 2: true, 3: true, 5: true, 11: true, 12: true}
	for num := 1; num <= 12; num++ {
		bad := field(num)
		if isText[num] {
			bad = number(num, 1)
		}
		if err := wire.ParseHeader(join(someHeader, bad), new(wire.Header)); !errors.Is(err, wire.ErrWireType) {
			t.Errorf("field %d: %v", num, err)
		}
	}
}

// Rules: P-msg-7.
func TestStringsAreUTF8(t *testing.T) {
	bad := append(bytes.Repeat([]byte("x"), 40), 0xc3)
	for rule, h := range map[string][]byte{
		"identity": field(3, bad), "version": field(5, bad), "first string": field(1, field(2, field(1, bad))),
		"last string": field(2, field(2, field(3, []byte{0x80}))), "identity, later repeated": join(field(3, bad), field(3)),
	} {
		if err := wire.ParseHeader(h, new(wire.Header)); !errors.Is(err, wire.ErrUTF8) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	for rule, h := range map[string][]byte{"mac": field(11, bad), "signature": field(12, bad), "unknown": field(13, bad)} {
		if err := wire.ParseHeader(h, new(wire.Header)); err != nil {
			t.Errorf("%s is bytes: %v", rule, err)
		}
	}
}
