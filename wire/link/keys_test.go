package link

import (
	"bytes"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/cloudflare/circl/dh/x25519"
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

// Secrets of the samples for P-key-1.
func secretA() []byte { return counting(0x01) }
func secretB() []byte { return counting(0xa0) }

func counting(first byte) []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

const (
	publicA = "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"
	publicB = "605a725d2a4adfeeb1a29e17edd621c1b7593ee8cdbc44ac6c4ab6e2f805d23c"
	sharedX = "caa14fedd7bf6bb2504b5c4df39c84b9c8e6848b6e06d9d0fbbc5eabcaaa1759"
)

// Rules: P-key-1, P-key-2.
func TestKeyVectors(t *testing.T) {
	kemShared := bytes.Repeat([]byte{0x55}, 32)
	cases := []struct {
		name           string
		own            []byte
		ownPub, peer   string
		kemShared      []byte
		linkID, wanted string
	}{
		{"classical, A's end", secretA(), publicA, publicB, nil, "link-0001", classicalKey},
		{"classical, B's end", secretB(), publicB, publicA, nil, "link-0001", classicalKey},
		{"hybrid, A's end", secretA(), publicA, publicB, kemShared, "link-0001",
			"f3efc89ce758d2637266151aeb9e8393e0b78d2346c094591d530e5feee8171c"},
		{"hybrid, B's end", secretB(), publicB, publicA, kemShared, "link-0001",
			"f3efc89ce758d2637266151aeb9e8393e0b78d2346c094591d530e5feee8171c"},
	}
	for _, c := range cases {
		var e ephemeral
		if err := e.make(bytes.NewReader(c.own), false); err != nil {
			t.Fatal(err)
		}
		if got := e.public(); !bytes.Equal(got, unhex(t, c.ownPub)) {
			t.Errorf("%s: public key %x, want %s", c.name, got, c.ownPub)
		}
		got, err := e.agree(unhex(t, c.peer), c.kemShared, c.linkID)
		if err != nil || !bytes.Equal(got, unhex(t, c.wanted)) {
			t.Errorf("%s: key %x, %v, want %s", c.name, []byte(got), err, c.wanted)
		}
	}
}

// RFC 5869 by hand, once as formulas over crypto/hmac and once down to SHA-256 itself.
func TestKeyScheduleByHand(t *testing.T) {
	x, kemShared := unhex(t, sharedX), bytes.Repeat([]byte{0x55}, 32)
	for _, linkID := range []string{"link-0001", "L", "node-a:node-b", strings.Repeat("long", 40), "\u00e9"} {
		for _, kem := range [][]byte{nil, kemShared} {
			info := "SLIM-DP-inter-node-hmac-v1"
			if kem != nil {
				info += "-pq"
			}
			ikm := append(bytes.Clone(x), kem...)
			got, err := deriveKey(x, kem, linkID)
			if err != nil {
				t.Fatal(err)
			}
			mac := func(key, data []byte) []byte {
				h := hmac.New(sha256.New, key)
				h.Write(data)
				return h.Sum(nil)
			}
			if want := mac(mac([]byte(linkID), ikm), append([]byte(info), 1)); !bytes.Equal(got, want) {
				t.Errorf("link_id %q: key %x, by crypto/hmac %x", linkID, []byte(got), want)
			}
			if want := hmacByHand(hmacByHand([]byte(linkID), ikm), append([]byte(info), 1)); !bytes.Equal(got, want) {
				t.Errorf("link_id %q: key %x, by SHA-256 %x", linkID, []byte(got), want)
			}
		}
	}
}

// hmacByHand is HMAC-SHA256 as RFC 2104 section 2 writes it.
func hmacByHand(key, data []byte) []byte {
	if len(key) > 64 {
		h := sha256.Sum256(key)
		key = h[:]
	}
	ipad, opad := bytes.Repeat([]byte{0x36}, 64), bytes.Repeat([]byte{0x5c}, 64)
	for i, b := range key {
		ipad[i] ^= b
		opad[i] ^= b
	}
	inner := sha256.Sum256(append(ipad, data...))
	outer := sha256.Sum256(append(opad, inner[:]...))
	return outer[:]
}

// The standard library's ML-KEM-768 plays the other end, both ways. Rules: P-key-2.
func TestKEMAgreesWithStandardLibrary(t *testing.T) {
	var e ephemeral
	if err := e.make(&counter{}, true); err != nil {
		t.Fatal(err)
	}
	ek, err := mlkem.NewEncapsulationKey768(e.encapsulationKey())
	if err != nil {
		t.Fatal(err)
	}
	shared, ct := ek.Encapsulate()
	if got := e.decapsulate(ct); !bytes.Equal(got, shared) {
		t.Errorf("decapsulated %x, want %x", got, shared)
	}
	dk, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	shared, ct, err = encapsulate(&counter{}, dk.EncapsulationKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := dk.Decapsulate(ct); err != nil || !bytes.Equal(got, shared) {
		t.Errorf("encapsulated %x, the standard library takes out %x, %v", shared, got, err)
	}
}

func TestWipeLeavesNothing(t *testing.T) {
	var e ephemeral
	if err := e.make(&counter{}, true); err != nil {
		t.Fatal(err)
	}
	kem := e.kem
	e.wipe()
	if e.x != (x25519.Key{}) || e.kem != nil || e.pub != nil {
		t.Error("a key is still held")
	}
	defer func() {
		if recover() == nil {
			t.Error("the ML-KEM key still decapsulates")
		}
	}()
	kem.DecapsulateTo(make([]byte, 32), make([]byte, ciphertextSize))
}

// counter is a source of "randomness" that never ends and never repeats soon.
type counter struct{ n uint64 }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n = c.n*6364136223846793005 + 1442695040888963407
		p[i] = byte(c.n >> 56)
	}
	return len(p), nil
}
