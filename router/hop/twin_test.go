package hop

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// twin is a link that remembers nothing: the rules of P-msg, P-mac and P-ttl once more, without cunning, over decoded
// protobuf and crypto/hmac.
type twin struct {
	rules     Rules
	id        string
	key       []byte // nil: none
	maxHeader int
}

// receive judges the header of the publish b, whose parts are m, and returns the TTL it goes on with.
func (w *twin) receive(b []byte, m *wire.Message) (ttl uint32, v Verdict) {
	switch {
	case !m.HasHeader || !m.HasSession:
		return 0, Invalid
	case int(m.Header.End) > w.maxHeader:
		return 0, TooLong
	}
	return w.check(m.Header.Of(b), true)
}

// check judges header h.
func (w *twin) check(h []byte, publish bool) (ttl uint32, v Verdict) {
	var p pb.SLIMHeader
	if proto.Unmarshal(h, &p) != nil {
		return 0, Undecodable
	}
	if saysTwice(h) {
		return 0, Odd
	}
	if w.rules.Signed {
		if v := w.verify(&p, publish); v != OK {
			return 0, v
		}
	}
	if p.GetSource().GetName() == nil || p.GetDestination().GetName() == nil {
		return 0, Invalid
	}
	ttl = p.Ttl
	if ttl > 0 && !w.rules.Local {
		ttl--
	}
	if ttl == 0 {
		return 0, Expired
	}
	return ttl, OK
}

func (w *twin) verify(p *pb.SLIMHeader, publish bool) Verdict {
	tagged := len(p.HeaderMac) > 0
	switch {
	case !publish && !tagged && w.rules.Strict, w.key == nil && w.rules.Strict:
		return Unsigned
	case !publish && !tagged, w.key == nil && !(publish && tagged):
		return OK
	case w.key == nil:
		return BadMAC
	case !tagged:
		return Unsigned
	case !hmac.Equal(p.HeaderMac, w.tag(p, p.Ttl)):
		return BadMAC
	}
	return OK
}

// leave is header h as it leaves on this link.
func (w *twin) leave(h []byte, ttl uint32) []byte {
	var out []byte
	for b := h; len(b) > 0; {
		num, _, n := protowire.ConsumeField(b)
		switch num {
		case 6, 7, 8, 9, 11: // ttl, recv_from, forward_to, incoming_conn, header_mac
		default:
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	out = protowire.AppendVarint(protowire.AppendTag(out, 6, protowire.VarintType), uint64(ttl))
	if w.rules.Signed && w.key != nil {
		var p pb.SLIMHeader
		if err := proto.Unmarshal(h, &p); err != nil {
			panic(err)
		}
		p.RecvFrom, p.ForwardTo = nil, nil
		out = protowire.AppendBytes(protowire.AppendTag(out, 11, protowire.BytesType), w.tag(&p, ttl))
	}
	return out
}

// tag is P-mac-1 and P-mac-4.
func (w *twin) tag(h *pb.SLIMHeader, ttl uint32) []byte {
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	text := func(s string) { put(uint32(len(s))); b.WriteString(s) }
	flag := func(set bool) bool { put(set); return set }
	b.WriteString("SLIM-DP-HDR-v1\x00")
	text(w.id)
	for _, n := range []*pb.Name{h.Source, h.Destination} {
		if !flag(n != nil) {
			continue
		}
		if e := n.Name; flag(e != nil) {
			put([]uint64{e.Component_0, e.Component_1, e.Component_2})
			if id := e.NameId; flag(id != nil) {
				put([]uint64{id.Id_0, id.Id_1})
			}
		}
		if s := n.StrName; flag(s != nil) {
			text(s.StrComponent_0)
			text(s.StrComponent_1)
			text(s.StrComponent_2)
		}
	}
	text(h.Identity)
	put(h.Fanout)
	if flag(h.RecvFrom != nil) {
		put(h.RecvFrom)
	}
	if flag(h.ForwardTo != nil) {
		put(h.ForwardTo)
	}
	if flag(h.Error != nil) {
		put(h.Error)
	}
	put(ttl)
	sum := hmac.New(sha256.New, w.key)
	sum.Write(b.Bytes())
	return sum.Sum(nil)
}

// saysTwice reports whether a declared field of header h occurs twice.
func saysTwice(h []byte) bool {
	var seen [13]bool
	for len(h) > 0 {
		num, _, n := protowire.ConsumeField(h)
		if num < 13 {
			if seen[num] {
				return true
			}
			seen[num] = true
		}
		h = h[n:]
	}
	return false
}
