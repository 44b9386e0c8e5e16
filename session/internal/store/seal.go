package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// KeySize is the length in bytes of an application's key.
const KeySize = 32

// ErrSealed says that a value was not sealed under this key, or not for this record.
var ErrSealed = errors.New("the record is not of this key, or was changed")

const (
	saltSize  = 16
	nonceSize = 12
	tagSize   = 16

	sealOverhead = saltSize + nonceSize + tagSize
)

// Sealer seals records under an application's key. It is safe for concurrent use.
//
//	value  = salt(16) ‖ number(12) ‖ AES-256-GCM(key of salt, number, text, the record's key)
//	owner  = HMAC-SHA256(key for names, name), its first 16 bytes
//
// A salt is random and stands for one Sealer's life; its key is derived from the application's by HKDF. So numbers that
// count from zero are used once for a key, however often a process starts and however much it writes.
type Sealer struct {
	secret []byte // for Derive
	names  []byte

	mu     sync.Mutex
	number uint64
	salt   [saltSize]byte
	own    cipher.AEAD
	others map[[saltSize]byte]cipher.AEAD // of what earlier Sealers wrote
}

// NewSealer takes an application's key, KeySize random bytes that it keeps elsewhere, and does not keep the slice.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the key of the store has %d bytes, want %d random ones", len(key), KeySize)
	}
	s := &Sealer{others: map[[saltSize]byte]cipher.AEAD{}}
	var err error
	if s.secret, err = hkdf.Extract(sha256.New, key, []byte("slimgo store")); err != nil {
		return nil, err
	}
	if s.names, err = s.Derive("names", sha256.Size); err != nil {
		return nil, err
	}
	rand.Read(s.salt[:])
	s.own, err = s.aead(s.salt)
	return s, err
}

// Derive gives n bytes that only who has the key can know, the same for the same label: keys for what seals its own records.
func (s *Sealer) Derive(label string, n int) ([]byte, error) {
	return hkdf.Expand(sha256.New, s.secret, label, n)
}

// Owner is the name of what records belong to, as a store sees it.
func (s *Sealer) Owner(name string) (o [16]byte) {
	h := hmac.New(sha256.New, s.names)
	h.Write([]byte(name))
	copy(o[:], h.Sum(nil))
	return o
}

// Seal returns the text as the value of the record k.
func (s *Sealer) Seal(k Key, text []byte) []byte {
	value := make([]byte, saltSize+nonceSize, len(text)+sealOverhead)
	s.mu.Lock()
	number := s.number
	s.number++
	s.mu.Unlock()
	copy(value, s.salt[:])
	binary.BigEndian.PutUint64(value[saltSize+nonceSize-8:], number)
	return s.own.Seal(value, value[saltSize:], text, bound(k))
}

// Open is the counterpart of Seal.
func (s *Sealer) Open(r Record) ([]byte, error) {
	if len(r.Value) < sealOverhead {
		return nil, fmt.Errorf("%w: %v: %d bytes", ErrSealed, r.Key, len(r.Value))
	}
	a, err := s.of([saltSize]byte(r.Value))
	if err != nil {
		return nil, err
	}
	text, err := a.Open(nil, r.Value[saltSize:saltSize+nonceSize], r.Value[saltSize+nonceSize:], bound(r.Key))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrSealed, r.Key)
	}
	return text, nil
}

// mostSalts bounds what is remembered of keys of salts: a store that others write to could hold any number.
const mostSalts = 64

func (s *Sealer) of(salt [saltSize]byte) (cipher.AEAD, error) {
	if salt == s.salt {
		return s.own, nil
	}
	s.mu.Lock()
	a := s.others[salt]
	s.mu.Unlock()
	if a != nil {
		return a, nil
	}
	a, err := s.aead(salt)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.others) >= mostSalts {
		clear(s.others)
	}
	s.others[salt] = a
	return a, nil
}

func (s *Sealer) aead(salt [saltSize]byte) (cipher.AEAD, error) {
	key, err := s.Derive("values "+string(salt[:]), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// bound is what a value is bound to: the record that it is of.
func bound(k Key) []byte {
	b := make([]byte, 0, len(k.Owner)+9)
	b = append(b, k.Owner[:]...)
	b = append(b, k.Kind)
	return binary.BigEndian.AppendUint64(b, k.Number)
}

// Format says nothing of the key, whatever the verb.
func (s *Sealer) Format(f fmt.State, _ rune) { fmt.Fprint(f, "store.Sealer") }
