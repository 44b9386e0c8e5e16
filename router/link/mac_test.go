package link

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
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

// The samples of dataplane.md section 4.5: preimage and tag agree with upstream's. names is where items 1 to 4 end.
var macVectors = []struct {
	name, linkID, key, preimage, tag string
	names                            int
}{
	{"both names whole, rest absent", "link-0001", classicalKey,
		"534c494d2d44502d4844522d763100090000006c696e6b2d30303031" +
			"01013b96ea7603583e87d190694c9a76f9eec473e57a431bae49010000000000000000010000000000000001030000006f7267020000006e7303000000626f62" +
			"0101c26b7db12ea89c1668963fc9c703932180524a508a00f53f01ffffffffffffffffffffffffffffffff010600000061676e7463790700000064656661756c740100000061" +
			"020000006964" + "01000000" + "00" + "00" + "00" + "08000000",
		"99b397482564b9d41ee5883d913569c9eb72feb08b350162c1733fa2d0f4d1c5", 28 + 64 + 70},
	{"source without id and strings, destination absent, hop fields present", "L",
		"3031323334353637383930313233343536373839303132333435363738393031",
		"534c494d2d44502d4844522d763100010000004c" + "010101000000000000000200000000000000030000000000000000" + "00" + "00" +
			"00000000" + "02000000" + "010900000000000000" + "010a00000000000000" + "0100" + "08000000",
		"7679c0c08b433b666a8753a7c7b498c07bba78b768498fdeafb9764ca91f4119", 20 + 28 + 1},
}

func TestMACVectors(t *testing.T) {
	for _, v := range macVectors {
		t.Run(v.name, func(t *testing.T) {
			pre, want := unhex(t, v.preimage), unhex(t, v.tag)
			m := NewMAC(unhex(t, v.key), v.linkID)
			var n Names
			m.Names(&n, pre[:v.names])
			for range 2 { // the state of the names serves again
				var got [32]byte
				m.Tag(&got, &n, pre[v.names:])
				if !bytes.Equal(got[:], want) {
					t.Fatalf("tag %x, want %x", got, want)
				}
			}
			if !m.Verify(want, &n, pre[v.names:]) {
				t.Fatal("the tag is refused")
			}
		})
	}
}

// Every length of names and rest around two blocks: the padding made here is the standard library's.
func TestMACAgreesWithCryptoHMAC(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	m := NewMAC(key, "ab")
	head := append([]byte(macLabel), 2, 0, 0, 0, 'a', 'b')
	data := make([]byte, 300)
	for i := range data {
		data[i] = byte(i * 31)
	}
	h := hmac.New(sha256.New, key)
	var got [32]byte
	for names := range 140 {
		pre := append(bytes.Clone(head), data[:names]...)
		var n Names
		m.Names(&n, pre)
		for rest := range 140 {
			m.Tag(&got, &n, data[names:names+rest])
			h.Reset()
			h.Write(head)
			h.Write(data[:names+rest])
			if want := h.Sum(nil); !bytes.Equal(got[:], want) {
				t.Fatalf("%d bytes of names, %d of rest: %x, want %x", names, rest, got, want)
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	m := NewMAC(key, "link")
	pre := preimageNames("link", "names")
	rest := []byte("rest of the header")
	var n Names
	m.Names(&n, pre)
	var tag [32]byte
	m.Tag(&tag, &n, rest)

	flipped := tag
	flipped[31] ^= 1
	other := NewMAC(key, "kink")
	var on Names
	other.Names(&on, preimageNames("kink", "names"))
	foreign := NewMAC(bytes.Repeat([]byte{8}, 32), "link")
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

func TestNewMACPanicsAtAnotherKeyLength(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a key of %d bytes is taken", n)
				}
			}()
			NewMAC(make([]byte, n), "link")
		}()
	}
}

func TestMACCloseWipes(t *testing.T) {
	m := NewMAC(bytes.Repeat([]byte{7}, 32), "link")
	var n Names
	m.Names(&n, preimageNames("link", "names"))
	var tag [32]byte
	m.Tag(&tag, &n, nil)
	m.Close()
	if m.inner != (state{}) || m.outer != (state{}) || m.work != (state{}) || m.buf != [maxPadding]byte{} {
		t.Error("keyed state is left")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	key := Key(bytes.Repeat([]byte{0xab}, 32))
	m := NewMAC(key, "link")
	var n Names
	m.Names(&n, preimageNames("link", "names"))
	machine := New(&Config{Role: Dialer, LinkID: "l", Version: "1.0.0"})
	if _, err := machine.Start(nil); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"Key": key, "Result": Result{Key: key}, "*Result": &Result{Key: key}, "MAC": *m,
		"*MAC": m, "Names": n, "*Names": &n, "*Machine": machine, "Machine": *machine} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			got := fmt.Sprintf(verb, v)
			if !strings.Contains(got, redacted) && !strings.Contains(got, hex.EncodeToString([]byte(redacted))) {
				t.Errorf("%s prints with %s as %s", name, verb, got)
			}
			for _, leak := range []string{"abab", "ABAB", "0xab", "171 171", "171, 171"} {
				if strings.Contains(got, leak) {
					t.Errorf("%s prints its secret with %s: %s", name, verb, got)
				}
			}
		}
	}
	if text, err := key.MarshalText(); err != nil || string(text) != redacted {
		t.Errorf("MarshalText gives %q, %v", text, err)
	}
}

// The header of a message whose identity is a shared-secret token: 172 bytes.
func benchPreimage() (names, rest []byte) {
	return preimageNames("0a53c3a8-6f7e-4c53-9d4e-7f3d5f7c9b11", strings.Repeat("n", 134)), make([]byte, 4+172+4+3+4)
}

func BenchmarkTagKeptNames(b *testing.B) {
	pre, rest := benchPreimage()
	m := NewMAC(make([]byte, 32), "0a53c3a8-6f7e-4c53-9d4e-7f3d5f7c9b11")
	var n Names
	m.Names(&n, pre)
	var tag [32]byte
	b.ReportAllocs()
	for b.Loop() {
		m.Tag(&tag, &n, rest)
	}
}

func BenchmarkTagFreshNames(b *testing.B) {
	pre, rest := benchPreimage()
	m := NewMAC(make([]byte, 32), "0a53c3a8-6f7e-4c53-9d4e-7f3d5f7c9b11")
	var n Names
	var tag [32]byte
	b.ReportAllocs()
	for b.Loop() {
		m.Names(&n, pre)
		m.Tag(&tag, &n, rest)
	}
}

// What the standard library's HMAC costs for the same header, its best way: one hash, reset.
func BenchmarkTagCryptoHMAC(b *testing.B) {
	pre, rest := benchPreimage()
	h := hmac.New(sha256.New, make([]byte, 32))
	h.Reset()
	tag := make([]byte, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		h.Reset()
		h.Write(pre)
		h.Write(rest)
		tag = h.Sum(tag[:0])
	}
}
