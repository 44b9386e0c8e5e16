package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session/internal/store"
	"github.com/seed31b3bfd0/slimgo/session/internal/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return new(store.Memory) }, nil)
}

func key(b byte) []byte { return bytes.Repeat([]byte{b}, store.KeySize) }

func sealer(t *testing.T, b byte) *store.Sealer {
	t.Helper()
	s, err := store.NewSealer(key(b))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What one process seals another opens, with the same key alone, and only where it belongs.
func TestSealedRecordsBelongToKeyAndPlace(t *testing.T) {
	first, second, foreign := sealer(t, 1), sealer(t, 1), sealer(t, 2)
	k := store.Key{Owner: first.Owner("org/ns/app 7"), Kind: 2, Number: 9}
	if second.Owner("org/ns/app 7") != k.Owner || foreign.Owner("org/ns/app 7") == k.Owner || first.Owner("org/ns/app 8") == k.Owner {
		t.Error("names of owners do not depend on key and name alone")
	}
	text := []byte("a record")
	value := first.Seal(k, text)
	if got, err := second.Open(store.Record{Key: k, Value: value}); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("opened %q, %v", got, err)
	}
	if got, err := second.Open(store.Record{Key: k, Value: second.Seal(k, nil)}); err != nil || len(got) != 0 {
		t.Errorf("opened %q, %v", got, err)
	}
	refused := func(what string, s *store.Sealer, r store.Record) {
		t.Helper()
		if got, err := s.Open(r); !errors.Is(err, store.ErrSealed) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	refused("another key", foreign, store.Record{Key: k, Value: value})
	for i, other := range []store.Key{{Owner: first.Owner("x"), Kind: 2, Number: 9}, {Owner: k.Owner, Kind: 3, Number: 9}, {Owner: k.Owner, Kind: 2, Number: 8}} {
		refused(fmt.Sprint("another record ", i), first, store.Record{Key: other, Value: value})
	}
	for i := range value {
		bad := bytes.Clone(value)
		bad[i] ^= 1
		refused(fmt.Sprint("changed at ", i), first, store.Record{Key: k, Value: bad})
		refused(fmt.Sprint("cut at ", i), first, store.Record{Key: k, Value: value[:i]})
	}
}

// No two values are sealed with the same salt and number.
func TestNoncesAreUsedOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		s := sealer(t, 1)
		for range 100 {
			if n := string(s.Seal(store.Key{}, nil)[:28]); seen[n] {
				t.Fatal("a nonce was used twice")
			} else {
				seen[n] = true
			}
		}
	}
}

func TestKeysAreOfOneLengthAndNotPrinted(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := store.NewSealer(make([]byte, n)); err == nil || !strings.Contains(err.Error(), fmt.Sprint(n)) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	s := sealer(t, 0xab)
	a, _ := s.Derive("mls", 32)
	b, _ := s.Derive("mls", 32)
	c, _ := s.Derive("other", 32)
	if !bytes.Equal(a, b) || bytes.Equal(a, c) {
		t.Error("what is derived does not depend on the label alone")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if got := fmt.Sprintf(verb, s); got != "store.Sealer" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if k := (store.Key{Owner: [16]byte{1}, Kind: 2, Number: 3}); !slices.Contains([]string{"01000000000000000000000000000000/2/3"}, k.String()) {
		t.Error(k)
	}
}
