package uplink

import (
	"bytes"
	"errors"
	"sync"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// hasher makes the header MACs of one direction. It remembers the last header, which members of sessions repeat byte for byte as
// long as a token lasts, and its names, which a conversation repeats and which are the most of what is hashed. One goroutine at a
// time.
type hasher struct {
	mac    *mac.MAC // nil: the link has none
	linkID string

	hd    wire.Header // of the last header
	whole []byte      // that header; empty: it is not remembered
	raw   []byte      // its names, as hd was parsed from; empty: nothing is remembered
	names mac.Names   // the hash behind them

	pre    []byte
	sum    [wire.MACSize]byte
	summed bool // sum is that of whole
}

const mostWhole = 4 << 10 // bytes of a header that is remembered

// parse reads the content h of a SLIMHeader. The result is good until the next call.
func (s *hasher) parse(h []byte) (*wire.Header, error) {
	if len(h) > 0 && bytes.Equal(h, s.whole) {
		return &s.hd, nil
	}
	s.whole, s.summed = s.whole[:0], false
	hd, err := s.parseNew(h)
	if err == nil && !hd.Odd && len(h) <= mostWhole {
		s.whole = append(s.whole, h...)
	}
	return hd, err
}

func (s *hasher) parseNew(h []byte) (*wire.Header, error) {
	if n := len(s.raw); n > 0 && len(h) >= n && bytes.Equal(h[:n], s.raw) {
		if err := wire.ParseRest(h, &s.hd); err == nil && !s.hd.Odd {
			return &s.hd, nil
		}
	}
	s.raw = s.raw[:0]
	if err := wire.ParseHeader(h, &s.hd); err != nil {
		return nil, err
	}
	return &s.hd, nil
}

// scan finds the parts of msg and reads its header; hd is nil if it has none. What occurs twice is brought into its
// usual form (P-msg-6), if msg has at most most bytes; else hd is nil, too. The result is msg or new memory.
func (s *hasher) scan(msg []byte, m *wire.Message, most int) (out []byte, hd *wire.Header, err error) {
	for twice := false; ; twice = true {
		if err := wire.Scan(msg, m); err != nil {
			return nil, nil, err
		}
		if !m.Kind.Routed() || !m.HasHeader {
			return msg, nil, nil
		}
		if hd, err = s.parse(m.Header.Of(msg)); err != nil {
			return nil, nil, err
		}
		switch {
		case !m.Odd && !hd.Odd:
			return msg, hd, nil
		case twice || len(msg) > most:
			return msg, nil, nil
		}
		if msg, err = wire.Normalise(msg); err != nil {
			return nil, nil, err
		}
	}
}

// tag returns the MAC for h, which parse has just read; on its way out, or as it came: it is always the same for one hasher.
func (s *hasher) tag(h []byte, hop bool) *[wire.MACSize]byte {
	if s.summed {
		return &s.sum
	}
	if len(s.raw) == 0 {
		s.pre = mac.AppendNames(s.pre[:0], s.linkID, h, &s.hd)
		s.mac.Names(&s.names, s.pre)
		if !s.hd.Odd {
			s.raw = append(s.raw, h[:s.hd.Names]...)
		}
	}
	s.pre = mac.AppendRest(s.pre[:0], h, &s.hd, s.hd.TTL, hop)
	s.mac.Tag(&s.sum, &s.names, s.pre)
	s.summed = len(s.whole) > 0
	return &s.sum
}

func (s *hasher) close() {
	if s.mac != nil {
		s.mac.Close()
		s.mac = nil
	}
}

// signer prepares messages for the link.
type signer struct {
	mu sync.Mutex // guards all
	hasher
	head  []byte // what sign returns
	plain []byte // a message of Publish
}

const keptScratch = 64 << 10 // bytes of scratch that stay

var errKind = errors.New("uplink: what is sent is a publish, a subscribe or an unsubscribe, with its header")

// sign puts the MAC of the link into msg, where it has one (P-mac-5): the message is then head and tail, after its
// prefix. Both are borrowed, head until the next call. mu is held.
func (s *signer) sign(msg []byte) (head, tail []byte, err error) {
	if s.mac == nil {
		s.head = appendPrefix(s.head[:0], len(msg))
		return s.head, msg, nil
	}
	var m wire.Message
	msg, hd, err := s.scan(msg, &m, len(msg))
	switch {
	case err != nil:
		return nil, nil, err
	case hd == nil:
		return nil, nil, errKind
	}
	h := m.Header.Of(msg)
	tag := s.tag(h, true)
	size := wire.HeaderSize(hd, hd.TTL, true)
	tail = msg[m.Header.End:]
	all := wire.OpeningSize(msg, &m, size) + size + len(tail)
	if all > MaxMessage {
		return nil, nil, ErrTooLarge
	}
	if cap(s.head) > keptScratch {
		s.head = nil
	}
	s.head = appendPrefix(s.head[:0], all)
	s.head = wire.AppendOpening(s.head, msg, &m, size)
	s.head = wire.AppendHeader(s.head, h, hd, hd.TTL, tag[:])
	return s.head, tail, nil
}

func (s *signer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hasher.close()
}
