package wire_test

import (
	"math"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Taken from Subscribe messages of upstream's native library.
var hashVectors = map[string]uint64{
	"":        0x95634172a60b7544,
	"a":       0x3ff5008a504a5280,
	"b":       0x096b9e40aae76a84,
	"org":     0x873e580376ea963b,
	"Org":     0x83070743fdac18b4,
	"ns":      0xeef9769a4c6990d1,
	"bob":     0x49ae1b437ae573c4,
	"agntcy":  0x169ca82eb17d6bc2,
	"default": 0x219303c7c93f9668,
	"Default": 0x1b2714f41681175b,
	"App":     0x35475d1c648e04df,
	"slim":    0x16e79a7d7d0dffec,
	"node-0":  0xe5fb8a9330fd7e89,
	"org/ns":  0x7f07749103a61fa5,
	"é":       0x5cba9507552b5626,
	"日本":      0xdf76dde760a24b36,
	"alice":   0x7b90bc8fa5b6b182,
}

// Rules: P-name-1.
func TestHashIsUpstreams(t *testing.T) {
	for s, want := range hashVectors {
		if got := wire.Hash(s); got != want {
			t.Errorf("Hash(%q) = %016x, want %016x", s, got, want)
		}
	}
}

func TestHashEndsInFFAtEveryLength(t *testing.T) {
	for n := range 300 {
		s := strings.Repeat("x", n)
		if got, want := wire.Hash(s), xxhash.Sum64String(s+"\xff"); got != want {
			t.Fatalf("Hash of %d bytes = %016x, want %016x", n, got, want)
		}
	}
}

// Rules: P-name-3.
func TestHashIDIsUpstreams(t *testing.T) {
	for _, c := range []struct {
		identity string
		hi, lo   uint64
	}{
		{"org/ns/bob_Wknu7SKN", 0x45a3143a5d0cf5aa, 0x036753f35deb7e6b},
		{"", 0x99aa06d3014798d8, 0x6001c324468d497f},
		{"a", 0xa96faf705af16834, 0xe6c632b61e964e1f},
	} {
		if hi, lo := wire.HashID(c.identity); hi != c.hi || lo != c.lo {
			t.Errorf("HashID(%q) = %016x%016x, want %016x%016x", c.identity, hi, lo, c.hi, c.lo)
		}
	}
}

// Rules: P-name-3.
func TestReservedIDsAreReduced(t *testing.T) {
	const max = math.MaxUint64
	for _, c := range []struct {
		name                   string
		hi, lo, wantHi, wantLo uint64
	}{
		{"null", max, max, 0, 50},
		{"first reserved", max, max - 50, 0, 0},
		{"last ordinary", max, max - 51, max, max - 51},
		{"large low half only", max - 1, max, max - 1, max},
		{"zero", 0, 0, 0, 0},
	} {
		if hi, lo := wire.Unreserved(c.hi, c.lo); hi != c.wantHi || lo != c.wantLo {
			t.Errorf("%s: %x %x, want %x %x", c.name, hi, lo, c.wantHi, c.wantLo)
		}
	}
}

// Rules: P-name-2.
func TestNullNeedsBothHalves(t *testing.T) {
	n := wire.NewName("org", "ns", "bob")
	if want := [3]uint64{hashVectors["org"], hashVectors["ns"], hashVectors["bob"]}; n.C != want {
		t.Errorf("components %x, want %x", n.C, want)
	}
	for _, c := range []struct {
		hi, lo uint64
		null   bool
	}{{wire.Null, wire.Null, true}, {wire.Null, 0, false}, {0, wire.Null, false}, {0, 0, false}} {
		if got := n.WithID(c.hi, c.lo).IsNull(); got != c.null {
			t.Errorf("IsNull of %x:%x = %v", c.hi, c.lo, got)
		}
	}
	if !n.IsNull() {
		t.Error("NewName does not have the null id")
	}
}

// Rules: P-name-7.
func TestTextForms(t *testing.T) {
	const hashes = "9745323415579563579/17219925055306830033/5309210987355009988/"
	bob := wire.Text("org", "ns", "bob")
	one := bob.WithID(0x0123456789abcdef, 0xfedcba9876543210)
	bare := one
	bare.NoStrings = true
	for _, c := range []struct{ rule, got, want string }{
		{"strings and null id", bob.String(), "org/ns/bob/NULL_COMPONENT"},
		{"strings and id", one.String(), "org/ns/bob/01234567-89ab-cdef-fedc-ba9876543210"},
		{"hashes and id", bare.String(), hashes + "01234567-89ab-cdef-fedc-ba9876543210"},
		{"hashes and null id", bob.Name.String(), hashes + "NULL_COMPONENT"},
		{"id zero", wire.FormatID(0, 0), "00000000-0000-0000-0000-000000000000"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.rule, c.got, c.want)
		}
	}
}

func TestParsedNamesPrintLikeTheirTexts(t *testing.T) {
	bare := wire.Text("a", "b", "slim")
	bare.NoStrings = true
	b := wire.AppendSubscribe(nil, &wire.PublishHeader{Source: wire.Text("org", "ns", "bob").WithID(0, 1), Dest: bare}, 0)
	_, h, hd := parse(t, b)
	if got, want := hd.Source.Text(h), "org/ns/bob/00000000-0000-0000-0000-000000000001"; got != want {
		t.Errorf("source %q, want %q", got, want)
	}
	if got, want := hd.Dest.Text(h), bare.String(); got != want {
		t.Errorf("destination %q, want %q", got, want)
	}
	if got := new(wire.NameRef).Text(nil); got != "<empty>" {
		t.Errorf("missing name %q", got)
	}
}

func TestParseName(t *testing.T) {
	for _, c := range []struct {
		in   string
		want [3]string
		ok   bool
	}{
		{"org/ns/bob", [3]string{"org", "ns", "bob"}, true},
		{" org /\tns/ bob\n", [3]string{"org", "ns", "bob"}, true},
		{"日本/é/x y", [3]string{"日本", "é", "x y"}, true},
		{"org/ns", [3]string{}, false},
		{"org/ns/bob/1", [3]string{}, false},
		{"org//bob", [3]string{}, false},
		{"org/ /bob", [3]string{}, false},
		{"", [3]string{}, false},
	} {
		got, err := wire.ParseName(c.in)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("ParseName(%q) = %q, %v", c.in, got, err)
		}
	}
}

func TestParseID(t *testing.T) {
	const hi, lo = 0x0123456789abcdef, 0xfedcba9876543210
	for _, s := range []string{
		"01234567-89ab-cdef-fedc-ba9876543210", "0123456789abcdeffedcba9876543210",
		"01234567-89AB-CDEF-FEDC-BA9876543210", "{01234567-89ab-cdef-fedc-ba9876543210}",
		"urn:uuid:01234567-89ab-cdef-fedc-ba9876543210",
	} {
		if h, l, err := wire.ParseID(s); h != hi || l != lo || err != nil {
			t.Errorf("ParseID(%q) = %x, %x, %v", s, h, l, err)
		}
	}
	if h, l, err := wire.ParseID("NULL_COMPONENT"); h != wire.Null || l != wire.Null || err != nil {
		t.Errorf("ParseID of the null id = %x, %x, %v", h, l, err)
	}
	for _, s := range []string{
		"", "null_component", "1", "0123456789abcdeffedcba987654321", "g1234567-89ab-cdef-fedc-ba9876543210",
		"012345678-9ab-cdef-fedc-ba9876543210", "{0123456789abcdeffedcba9876543210}",
		"01234567-89ab-cdef-fedcba-9876543210", "01234567-89ab-cdef-fedc-ba9876543210 ",
	} {
		if _, _, err := wire.ParseID(s); err == nil {
			t.Errorf("ParseID(%q) succeeds", s)
		}
	}
}

func TestHashesMatch(t *testing.T) {
	right := wire.Text("org", "ns", strings.Repeat("bob", 60))
	wrong := right
	wrong.Str[1] = "ms"
	bare := right
	bare.NoStrings = true
	for _, c := range []struct {
		rule string
		name wire.NameText
		want bool
	}{
		{"strings hash to the components", right, true},
		{"the id does not matter", right.WithID(1, 2), true},
		{"one string differs", wrong, false},
		{"no strings", bare, false},
	} {
		b := wire.AppendSubscribe(nil, &wire.PublishHeader{Source: right, Dest: c.name}, 0)
		_, h, hd := parse(t, b)
		if got := wire.HashesMatch(h, &hd.Dest); got != c.want {
			t.Errorf("%s: %v", c.rule, got)
		}
	}
	// Strings alone are not a name.
	_, h, hd := parse(t, field(1, field(1, field(2, field(2, field(1, []byte("org")))))))
	if wire.HashesMatch(h, &hd.Dest) {
		t.Error("matches without components")
	}
}
