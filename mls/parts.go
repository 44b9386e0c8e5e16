package mls

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// The form of a part: a head in clear, which is authenticated, and the rest sealed with AES-256-GCM.
//
//	"mls-part" | version | kind | number | number and tag of the part it stands on | run | group id<V> | sealed text, tag
//
// The key is derived from the StateKey, the member that it is for, the run and the group id. A run is 16 random bytes
// that a Group draws before its first part, so that two Groups made of the same parts never share a key; within a run
// the number is the nonce, and no two parts get the same. What a part stands on is named by the tag that seals it: who
// mixes parts of two histories is found out, although both have the same numbers.
//
//	public  ◀── public ◀── public ◀── secret ◀── message ◀── message
//	(the whole tree)  (changes of it)             (each stands on the last one that is known to be stored, or on the
//	                                               secret part, and holds what happened since)
const (
	partMagic   = "mls-part"
	partVersion = 3

	partTagSize = 16
)

// StateKeySize is how many bytes NewStateKey takes.
const StateKeySize = 32

const maxStateMember = 64 << 10

// ErrNotSaved is the cause of the error of Restore when no state of the group was ever written as a whole: as if
// nothing had been saved. Tested for with errors.Is.
var ErrNotSaved = errors.New("no group was saved")

type partKind uint8

const (
	partNone    partKind = iota
	partPublic           // context and tree, or what has changed of it; of the kinds, the least brings the others along
	partSecret           // keys, ratchets, proposals that wait, commits on their way
	partMessage          // which keys were used since, and proposals that came
)

// partRef names a part by its number and the tag that seals it. The zero value names none: numbers begin with 1.
type partRef struct {
	number uint64
	tag    [partTagSize]byte
}

// StateKey seals the parts of the groups of one client. It cannot be printed or compared with ==. Safe for concurrent
// use until it is wiped.
type StateKey struct {
	_      [0]func()
	secret *suite.Secret // fmt does not follow it
	member string
}

// NewStateKey copies the StateKeySize bytes of a key, which are to be random. member names the client whose groups it
// seals, and is the same after every restart: what was sealed for one opens for no other, so that who can write to the
// stores of two members of a group cannot give the parts of one to the other, although both have the same bytes. It is
// not stored, not empty, and at most 64 KiB long.
func NewStateKey(b []byte, member string) (*StateKey, error) {
	switch {
	case len(b) != StateKeySize:
		return nil, refuse(Misuse, "", "state key of %d bytes, want %d", len(b), StateKeySize)
	case member == "":
		return nil, refuse(Misuse, "", "state key of no member: say whose groups it seals")
	case len(member) > maxStateMember:
		return nil, refuse(Misuse, "", "state key of a member whose name has %d bytes, at most %d are allowed", len(member),
			maxStateMember)
	}
	k := &StateKey{secret: new(suite.Secret), member: member}
	k.secret.Set(b)
	return k, nil
}

// Wipe deletes the key.
func (k *StateKey) Wipe() { k.secret.Wipe() }

// partRun is what keeps the keys of Groups apart that seal parts of one group.
type partRun [16]byte

// aead seals the parts of a run of a group.
func (k *StateKey) aead(run partRun, group []byte) (cipher.AEAD, error) {
	if k.secret.Len() == 0 {
		return nil, refuse(Misuse, "", "Config.StateKey is wiped")
	}
	info := codec.AppendOpaque(codec.AppendOpaque([]byte("slimgo mls part of "), []byte(k.member)), group)
	key, err := hkdf.Key(sha256.New, k.secret.Bytes(), run[:], string(info), 32)
	if err != nil {
		return nil, fmt.Errorf("mls: key of parts: %w", err)
	}
	defer clear(key)
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("mls: key of parts: %w", err)
	}
	return cipher.NewGCM(b)
}

func partNonce(number uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, nonceSize-8, nonceSize), number)
}

type partHead struct {
	kind   partKind
	number uint64
	on     partRef
	run    partRun
	group  []byte
}

func (h *partHead) append(dst []byte) []byte {
	dst = append(append(dst, partMagic...), partVersion, byte(h.kind))
	dst = binary.BigEndian.AppendUint64(dst, h.number)
	dst = binary.BigEndian.AppendUint64(dst, h.on.number)
	dst = append(append(dst, h.on.tag[:]...), h.run[:]...)
	return codec.AppendOpaque(dst, h.group)
}

// partHeadRoom is at least the length of a head without its group id.
const partHeadRoom = 80

// readPartHead reads the head of a part, and what follows it.
func readPartHead(b []byte) (h partHead, head, sealed []byte, err error) {
	r := codec.NewReader(b)
	if !bytes.Equal(r.Fixed(len(partMagic)), []byte(partMagic)) {
		return h, nil, nil, refuse(Malformed, "", "no part of the state of a group")
	}
	if v := r.Uint8(); r.Err() == nil && v != partVersion {
		return h, nil, nil, refuse(Unsupported, "", "part of version %d, this is %d", v, partVersion)
	}
	h.kind, h.number, h.on.number = partKind(r.Uint8()), r.Uint64(), r.Uint64()
	copy(h.on.tag[:], r.Fixed(partTagSize))
	copy(h.run[:], r.Fixed(len(h.run)))
	h.group = r.Opaque()
	if r.Err() == nil && r.Len() < partTagSize {
		r.Fail(codec.ErrShort)
	}
	if r.Err() != nil {
		return h, nil, nil, malformed(r.Err(), "head of a part")
	}
	at := r.Offset()
	return h, b[:at], b[at:], nil
}

// sealPart makes a part of what text appends, which is at most room bytes long: what outgrows its memory leaves secrets
// behind. It is sealed where it stands.
func sealPart(aead cipher.AEAD, h *partHead, room int, text func([]byte) []byte) (Part, partRef) {
	b := h.append(make([]byte, 0, partHeadRoom+len(h.group)+room+partTagSize))
	at := len(b)
	b = text(b)
	b = aead.Seal(b[:at], partNonce(h.number), b[at:], b[:at])
	return Part{h.number, b}, partRef{h.number, [partTagSize]byte(b[len(b)-partTagSize:])}
}

// openedPart is a part whose seal is verified.
type openedPart struct {
	partHead
	ref  partRef
	text []byte
	size int // of the part as it is stored
}

// openParts opens all parts, whatever they are: a damaged one is refused even where it is not needed.
func openParts(key *StateKey, parts [][]byte) ([]openedPart, error) {
	opened := make([]openedPart, 0, len(parts))
	aeads := map[partRun]cipher.AEAD{} // there is one group: else they are refused
	for _, b := range parts {
		h, head, sealed, err := readPartHead(b)
		if err != nil {
			return opened, err
		}
		if len(opened) > 0 && !bytes.Equal(h.group, opened[0].group) {
			return opened, refuse(WrongGroup, "", "parts are of group %x and of group %x", clip(opened[0].group), clip(h.group))
		}
		if aeads[h.run] == nil {
			if aeads[h.run], err = key.aead(h.run, h.group); err != nil {
				return opened, err
			}
		}
		text, err := aeads[h.run].Open(nil, partNonce(h.number), sealed, head)
		if err != nil {
			return opened, refuse(BadSignature, "", "part %d does not open: it is damaged, or of another key or member", h.number)
		}
		opened = append(opened, openedPart{h, partRef{h.number, [partTagSize]byte(b[len(b)-partTagSize:])}, text, len(b)})
	}
	slices.SortFunc(opened, func(a, b openedPart) int { return cmp.Compare(a.number, b.number) })
	for i := 1; i < len(opened); i++ {
		if opened[i].number == opened[i-1].number {
			return opened, refuse(Malformed, "", "there are two parts %d", opened[i].number)
		}
	}
	return opened, nil
}

// snapshot are the parts that make up a group, in the order in which they are read.
type snapshot struct {
	publics  []*openedPart // the whole tree first
	secret   *openedPart
	messages []*openedPart
}

// findSnapshot finds the newest state in parts, which are in the order of their numbers: the newest part that is not
// public, and those that it stands on. Others may be left over: older ones, message parts whose content a newer one
// holds as well, and public parts whose secret part was not written any more.
func findSnapshot(parts []openedPart) (h snapshot, err error) {
	at := map[partRef]*openedPart{}
	var newest *openedPart
	for i := range parts {
		p := &parts[i]
		at[p.ref] = p
		if p.kind != partPublic {
			newest = p
		}
		if p.kind == partSecret {
			h.secret = p
		}
	}
	if h.secret == nil {
		return h, refuseFor(Missing, "", ErrNotSaved, "no secret part among %d parts of a group", len(parts))
	}
	for p := newest; p.kind != partSecret; {
		o := at[p.on]
		if o == nil || o.kind == partPublic || o.number >= p.number {
			return h, refuse(Missing, "", "part %d stands on part %d, which is not here, or is another", p.number, p.on.number)
		}
		h.messages = append(h.messages, p)
		if p = o; p.kind == partSecret && p != h.secret {
			return h, refuse(Missing, "", "part %d stands on secret part %d, which is not the newest, %d", newest.number,
				p.number, h.secret.number)
		}
	}
	slices.Reverse(h.messages)
	for of, on := h.secret, h.secret.on; on != (partRef{}); on = of.on {
		p := at[on]
		if p == nil || p.kind != partPublic || p.number >= of.number {
			return h, refuse(Missing, "", "part %d stands on public part %d, which is not here, or is another", of.number, on.number)
		}
		h.publics, of = append(h.publics, p), p
	}
	if len(h.publics) == 0 {
		return h, refuse(Malformed, "", "secret part %d stands on no public part", h.secret.number)
	}
	slices.Reverse(h.publics)
	return h, h.checkRuns(parts)
}

// checkRuns refuses message parts of another run beside one of h: a Group that was made of the store stands on what
// it found, so that two have gone on from the same part.
func (h *snapshot) checkRuns(parts []openedPart) error {
	follows := map[partRef]*openedPart{}
	for _, p := range h.messages {
		follows[p.on] = p
	}
	for i := range parts {
		p := &parts[i]
		if o := follows[p.on]; p.kind == partMessage && o != nil && o.run != p.run {
			return refuse(Malformed, "", "parts %d and %d both follow part %d: two groups of one store were in use at the same time",
				p.number, o.number, p.on.number)
		}
	}
	return nil
}

// newRun draws the bytes of a run.
func newRun(r io.Reader) (run partRun, err error) {
	if _, err = io.ReadFull(r, run[:]); err != nil {
		err = fmt.Errorf("mls: randomness: %w", err)
	}
	return run, err
}
