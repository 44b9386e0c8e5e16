package h2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// decodeAll decodes one block on c's table, cut where cut says.
func decodeAll(c *Conn, b []byte, cut func(left int) int) (fields []hpack.HeaderField, ok bool) {
	k := blocks.Get().(*block)
	defer k.release()
	for len(b) > 0 {
		n := cut(len(b))
		if c.decode(k, b[:n]) != decodeDone {
			return nil, false
		}
		b = b[n:]
	}
	for _, f := range k.fields {
		fields = append(fields, hpack.HeaderField{Name: string(f.name), Value: string(f.value)})
	}
	return fields, len(k.rest) == 0
}

// oracle is x/net's decoder; fields come without the mark of secrets.
func oracle(d *hpack.Decoder, b []byte) ([]hpack.HeaderField, error) {
	got, err := d.DecodeFull(b)
	for i := range got {
		got[i].Sensitive = false
	}
	return got, err
}

func TestDecoderAgainstOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 2))
	text := func() string {
		b := make([]byte, rnd.IntN(1+rnd.IntN(900)))
		for i := range b {
			b[i] = byte(rnd.IntN(256))
		}
		return string(b)
	}
	for range 70 {
		var c Conn
		c.Init(Server, &Settings{MaxHeaderList: 1 << 20})
		want := hpack.NewDecoder(4096, nil)
		var buf bytes.Buffer
		enc := hpack.NewEncoder(&buf)
		names := []string{"x", "accept", ":path", "cookie", "y-long-name-" + text()}
		for range 30 {
			buf.Reset()
			if rnd.IntN(4) == 0 {
				enc.SetMaxDynamicTableSize(uint32(rnd.IntN(4097)))
			}
			for range 1 + rnd.IntN(20) {
				f := hpack.HeaderField{Name: names[rnd.IntN(len(names))], Value: text(), Sensitive: rnd.IntN(5) == 0}
				if rnd.IntN(2) == 0 {
					f.Value = "again"
				}
				_ = enc.WriteField(f)
			}
			w, err := oracle(want, buf.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			got, ok := decodeAll(&c, buf.Bytes(), func(left int) int { return min(left, 1+rnd.IntN(300)) })
			if !ok || !slices.Equal(got, w) {
				t.Fatalf("%v\n got %.300q\nwant %.300q", ok, got, w)
			}
			if len(c.table.bytes) > 2*maxTable || cap(c.table.entries) > 512 {
				t.Fatalf("table of %d bytes and %d entries", len(c.table.bytes), cap(c.table.entries))
			}
		}
	}
}

func TestDecoderRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		block []byte
		ok    bool
	}{
		{"6.1 index 0", []byte{0x80}, false},
		{"2.3.3 index above the static table", []byte{0x80 | 62}, false},
		{"2.3.3 last static index", []byte{0x80 | 61}, true},
		{"2.3.3 name of an index above the tables", []byte{0x40 | 62, 1, 'x'}, false},
		{"5.1 integer of six octets", []byte{0xff, 0x80, 0x80, 0x80, 0x80, 0x00}, false},
		{"5.1 integer that does not end", []byte{0xff, 0x80}, false},
		{"5.2 string that does not end", []byte{0x00, 1, 'x', 2, 'y'}, false},
		{"5.2 Huffman padding of eight bits", []byte{0x00, 1, 'x', 0x81, 0xff}, false},
		{"5.2 Huffman padding of zeros", []byte{0x00, 1, 'x', 0x81, 0x18}, false},
		{"6.3 size update first", []byte{0x20, 0x82}, true},
		{"6.3 two size updates first", []byte{0x20, 0x3f, 0xe1, 0x1f, 0x82}, true},
		{"6.3 above what we announced", []byte{0x3f, 0xe2, 0x1f}, false},
		{"4.2 size update after a field", []byte{0x82, 0x20}, false},
		{"4.4 entry larger than the table empties it", slices.Concat([]byte{0x40, 1, 'x', 1, 'y', 0x40, 1, 'x', 0x7f, 0x81, 0x1f}, make([]byte, 4096), []byte{0x80 | 62}), false},
	} {
		var c Conn
		c.Init(Server, nil)
		for _, cut := range []int{1 << 20, 1} {
			if _, ok := decodeAll(&c, tc.block, func(left int) int { return min(left, cut) }); ok != tc.ok {
				t.Errorf("%s, in pieces of %d: taken %v", tc.name, cut, ok)
			}
		}
	}
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.ev.onRequest = nil
	var enc fieldEncoder
	for _, b := range [][]byte{
		enc.block(append([]string{"authorization: Bearer " + strings.Repeat("x", 500)}, channelFields...)...), // fills the table
		enc.block(channelFields...), // indexed
		fieldBlock(channelFields...),
	} {
		if n := testing.AllocsPerRun(1000, func() {
			b2 := blocks.Get().(*block)
			if k.c.decode(b2, b) != decodeDone || len(b2.rest) > 0 {
				t.Fatal("not decoded")
			}
			if _, fault := b2.req.parse(b2); fault != "" {
				t.Fatal(fault)
			}
			b2.release()
		}); n > 0.1 && pooled {
			t.Errorf("%v allocations", n)
		}
	}
}

func FuzzFields(f *testing.F) {
	var enc fieldEncoder
	for range 2 {
		f.Add(enc.block(channelFields...), enc.block("x: y", "accept: "+strings.Repeat("z", 100)))
	}
	f.Add([]byte{0x20, 0x3f, 0xe1, 0x1f, 0x40, 0x01, 'x', 0x81, 0x18, 0xbe}, []byte{0x3e, 0x10, 0x01, 'a', 0x01, 'b'})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var c Conn
		c.Init(Server, &Settings{MaxHeaderList: 1 << 24})
		d := hpack.NewDecoder(4096, nil)
		for _, b := range [][]byte{one, two} {
			if len(b) > 10000 {
				return
			}
			whole, ok := decodeAll(&c, b, func(left int) int { return left })
			want, err := oracle(d, b)
			if ok != (err == nil) {
				if !ok && lenient(b) || ok && strings.Contains(err.Error(), "size update") { // x/net takes only one
					return
				}
				t.Fatalf("taken %v, x/net says %v", ok, err)
			}
			if err != nil {
				return
			}
			if !slices.Equal(whole, want) {
				t.Fatalf("\n got %q\nwant %q", fmt.Sprint(whole), fmt.Sprint(want))
			}
		}
	})
}

// lenient reports whether b may hold what x/net takes and we do not: a size update that follows a field while the table
// is empty, or an integer of many octets.
func lenient(b []byte) bool {
	for i, x := range b {
		if i > 0 && x&0xe0 == 0x20 || x >= 0x80 && i+5 < len(b) && b[i+1] >= 0x80 && b[i+2] >= 0x80 && b[i+3] >= 0x80 && b[i+4] >= 0x80 {
			return true
		}
	}
	return false
}
