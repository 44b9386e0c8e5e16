package hop

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// world is some event loops with links, each beside its twin, and a random history of what happens to them.
type world struct {
	t *testing.T
	*rand.Rand
	loops  []*Scratch
	links  []*end
	flying []flight
	counts [NumVerdicts]int
	fresh  int

	recalled int // headers whose names something was known about
}

// end is a link, its twin, and the headers that were sent on it.
type end struct {
	Link
	twin
	loop   int
	names  [3][2]*pb.Name // source and destination, of late
	recent [][]byte       // messages
}

// flight is a header on its way to another event loop.
type flight struct {
	raw []byte
	hd  Header
	ttl uint32
	to  *end
}

const testMaxHeader = 12 << 10

func newWorld(t *testing.T, seed uint64, memory int) *world {
	w := &world{t: t, Rand: rand.New(rand.NewPCG(seed, 1))}
	for i := range 2 {
		w.loops = append(w.loops, NewScratch(Options{Index: i, MaxHeader: testMaxHeader, Memory: memory}))
	}
	for range 14 {
		w.links = append(w.links, new(end))
		w.open(w.links[len(w.links)-1])
	}
	return w
}

// open gives a link a new life, of any kind.
func (w *world) open(e *end) {
	w.fresh++
	e.Link.Close()
	r := Rules{Signed: w.IntN(6) > 0, Strict: w.IntN(3) > 0}
	r.Local = !r.Signed && w.IntN(2) == 0
	e.twin = twin{rules: r, id: fmt.Sprint("link-", w.fresh), maxHeader: testMaxHeader}
	if w.IntN(5) > 0 {
		e.twin.key = make([]byte, 32)
		for i := range e.twin.key {
			e.twin.key[i] = byte(w.Uint32())
		}
	}
	e.loop, e.recent = w.IntN(len(w.loops)), nil
	for i := range e.names {
		e.names[i] = [2]*pb.Name{w.name(), w.name()}
	}
	e.Link.Open(w.loops[e.loop], r, e.twin.id, e.twin.key)
}

func (w *world) name() *pb.Name {
	k := w.IntN(9)
	n := &pb.Name{Name: &pb.EncodedName{Component_0: 1 << 63, Component_1: uint64(k) << 57, Component_2: 1 << 60,
		NameId: &pb.NameId{Id_0: 1 << 62, Id_1: 1 << 61}}}
	if k < 6 {
		n.StrName = &pb.StringName{StrComponent_0: "org", StrComponent_1: "ns", StrComponent_2: fmt.Sprint("app-", k)}
	}
	switch w.IntN(40) {
	case 0:
		n.Name = nil
	case 1:
		n.Name.NameId = nil
	case 2:
		return nil
	}
	return n
}

// header is the content of some header that e's peer might send.
func (w *world) header(e *end) []byte {
	w.fresh++
	names := &e.names[w.IntN(len(e.names))]
	if w.IntN(8) == 0 {
		*names = [2]*pb.Name{w.name(), w.name()}
	}
	h := &pb.SLIMHeader{Source: names[0], Destination: names[1], Fanout: uint32(w.IntN(3)), Version: "3.4.6", Ttl: 8}
	switch w.IntN(8) {
	case 0:
		h.Identity = "constant"
	case 1:
		h.Identity = fmt.Sprintf("%0*d", w.IntN(200), w.fresh) // lengths differ
	case 2:
		h.Identity = fmt.Sprintf("%0*d", maxRemembered+w.IntN(50)-150, w.fresh) // about the longest that is remembered
	default:
		h.Identity = fmt.Sprintf("%0172d", w.fresh)
	}
	if w.IntN(10) == 0 {
		h.Ttl = uint32(w.IntN(4))
	}
	if w.IntN(30) == 0 {
		h.Identity = fmt.Sprintf("%0*d", testMaxHeader-400+w.IntN(800), w.fresh)
	}
	if w.IntN(20) == 0 {
		h.RecvFrom = proto.Uint64(7)
	}
	if w.IntN(20) == 0 {
		h.ForwardTo = proto.Uint64(uint64(w.IntN(300)))
	}
	if w.IntN(4) == 0 {
		h.IncomingConn = proto.Uint64(uint64(w.IntN(300)))
	}
	if w.IntN(8) == 0 {
		h.Error = proto.Bool(w.IntN(2) == 0)
	}
	w.tag(e, h)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(h)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.disturb(b)
}

// tag signs h as e's peer would, or not quite.
func (w *world) tag(e *end, h *pb.SLIMHeader) {
	switch {
	case w.IntN(25) == 0:
		return
	case e.twin.key == nil:
		if w.IntN(4) == 0 {
			h.HeaderMac = make([]byte, 32)
		}
		return
	}
	h.HeaderMac = e.twin.tag(h, h.Ttl)
	switch w.IntN(40) {
	case 0:
		h.HeaderMac[w.IntN(32)] ^= 1
	case 1:
		h.HeaderMac = h.HeaderMac[:31]
	case 2:
		h.Identity += "x"
	}
}

// disturb shuffles, repeats, adds or breaks fields now and then.
func (w *world) disturb(h []byte) []byte {
	var fields [][]byte
	for b := h; len(b) > 0; {
		_, _, n := protowire.ConsumeField(b)
		fields = append(fields, b[:n])
		b = b[n:]
	}
	switch w.IntN(30) {
	case 0:
		w.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	case 1:
		fields = append(fields, fields[w.IntN(len(fields))])
	case 2, 3:
		fields = append(fields, protowire.AppendVarint(protowire.AppendTag(nil, 20, protowire.VarintType), uint64(w.IntN(9))))
	case 4:
		fields = append(fields, []byte{3<<3 | 2, 50})
	case 5:
		return nil
	}
	return bytes.Join(fields, nil)
}

func (w *world) message(e *end) []byte {
	if n := len(e.recent); n > 0 && w.IntN(2) == 0 {
		return e.recent[w.IntN(n)]
	}
	if other := w.any(); len(other.recent) > 0 && w.IntN(10) == 0 { // signed for another link
		return other.recent[len(other.recent)-1]
	}
	field := func(num protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
	}
	body := field(1, w.header(e))
	if w.IntN(50) == 0 {
		body = nil
	}
	if w.IntN(50) > 0 {
		body = append(body, field(2, []byte{8, 1})...)
	}
	msg := field(3, body)
	if w.IntN(20) == 0 {
		msg = append(field(30, make([]byte, w.IntN(testMaxHeader))), msg...)
	}
	if e.recent = append(e.recent, msg); len(e.recent) > 6 {
		e.recent = e.recent[1:]
	}
	return msg
}

func (w *world) any() *end { return w.links[w.IntN(len(w.links))] }

// publish lets e receive a message and sends it on to some others.
func (w *world) publish(e *end) {
	b := w.message(e)
	var m wire.Message
	if err := wire.Scan(b, &m); err != nil {
		w.t.Fatal(err)
	}
	k, v := e.Link.Receive(b, &m)
	ttl, want := e.twin.receive(b, &m)
	w.counts[want]++
	if v != want {
		w.t.Fatalf("%x on %+v: %v, want %v", b, e.twin.rules, v, want)
	}
	if v != OK {
		return
	}
	h := m.Header.Of(b)
	if !bytes.Equal(k.Raw(), h) {
		w.t.Fatalf("%x is known as %x", h, k.Raw())
	}
	w.recall(e, k)
	s := w.loops[e.loop]
	var to []*end
	for range w.IntN(5) {
		if t := w.any(); t != e {
			to = append(to, t)
		}
	}
	if len(to) > 0 && w.IntN(4) > 0 {
		k.Expect(&to[0].Link)
	}
	if w.IntN(2) == 0 {
		pairs := s.Sign(k)
		for _, t := range to {
			pairs.Add(&t.Link)
		}
	}
	for _, t := range to {
		if t.loop != e.loop {
			w.flying = append(w.flying, flight{bytes.Clone(h), k.Header, ttl, t})
			continue
		}
		for range 1 + w.IntN(2) {
			w.leave(t, k.Raw(), &k.Header, ttl)
		}
	}
}

// recall checks that what was found out about the names of k is about these on this link, and nothing else, and finds it out.
func (w *world) recall(e *end, k *Known) {
	var hd wire.Header
	if err := wire.ParseHeader(k.Raw(), &hd); err != nil {
		w.t.Fatal(err)
	}
	about := fmt.Sprint(e.twin.id, hd.Source.Name, hd.Dest.Name)
	memo := crc32.ChecksumIEEE([]byte(about))
	if k.Found != nil && k.Found != about || k.Found == nil && k.Memo != 0 || k.Found != nil && k.Memo != memo {
		w.t.Fatalf("found out about %q, %d: %v, %d", about, memo, k.Found, k.Memo)
	}
	if k.Found != nil {
		w.recalled++
	}
	k.Found, k.Memo = about, memo
}

// leave checks what h looks like as it leaves on t's link.
func (w *world) leave(t *end, h []byte, hd *Header, ttl uint32) {
	if got, want := t.Link.Header(h, hd), t.twin.leave(h, ttl); !bytes.Equal(got, want) {
		w.t.Fatalf("%x on %+v leaves as\n%x, want\n%x", h, t.twin.rules, got, want)
	}
}

// land delivers a header that came from another event loop.
func (w *world) land() {
	if len(w.flying) == 0 {
		return
	}
	i := w.IntN(len(w.flying))
	f := w.flying[i]
	w.flying = append(w.flying[:i], w.flying[i+1:]...)
	w.leave(f.to, f.raw, &f.hd, f.ttl)
}

// check compares a subscription's header.
func (w *world) check(e *end) {
	h := w.header(e)
	var hd wire.Header
	ttl, v := e.Link.Check(h, &hd)
	if wantTTL, want := e.twin.check(h, false); v != want || v == OK && ttl != wantTTL {
		w.t.Fatalf("subscription %x on %+v: %v, ttl %d; want %v, %d", h, e.twin.rules, v, ttl, want, wantTTL)
	}
}

func (w *world) step() {
	switch n := w.IntN(200); {
	case n < 140:
		w.publish(w.links[min(w.IntN(len(w.links)), w.IntN(len(w.links)))]) // some are busier
	case n < 185:
		w.land()
	case n < 195:
		w.check(w.any())
	case n < 197:
		e := w.any()
		for i := len(w.flying) - 1; i >= 0; i-- { // a connection that is gone gets nothing
			if w.flying[i].to == e {
				w.flying = append(w.flying[:i], w.flying[i+1:]...)
			}
		}
		w.open(e)
	default:
		w.loops[w.IntN(len(w.loops))].Tick()
	}
	w.audit()
}

// audit counts the memory of all links anew.
func (w *world) audit() {
	held := make([]int, len(w.loops))
	for _, e := range w.links {
		n := 0
		for _, k := range e.Link.in.slots {
			if k != nil {
				n += knownSize + cap(k.raw)
			}
		}
		for i := range e.Link.out.slots {
			n += sentSize + cap(e.Link.out.slots[i].raw)
		}
		if n != e.Link.held || n > maxLink {
			w.t.Fatalf("a link holds %d bytes and counts %d", n, e.Link.held)
		}
		held[e.loop] += n
	}
	for i, s := range w.loops {
		if s.Held() != held[i] || held[i] > s.budget.limit {
			w.t.Fatalf("links hold %d bytes; counted %d, of %d", held[i], s.Held(), s.budget.limit)
		}
		for at, l := range s.budget.links {
			if l.at != at || l.held == 0 {
				w.t.Fatalf("link %d of the budget says %d and holds %d bytes", at, l.at, l.held)
			}
		}
	}
}

// Whatever has happened before, a header gets the verdict and leaves with the bytes that it would have without memory.
// Rules: P-mac-5, P-mac-6, P-mac-7, P-mac-8, P-ttl-1, P-msg-8.
func TestMemoryDoesNotShow(t *testing.T) {
	for _, c := range []struct {
		name   string
		memory int
	}{{"room for all", 1 << 20}, {"room for some", 30 << 10}, {"room for few", 4 << 10}, {"no room", -1}} {
		t.Run(c.name, func(t *testing.T) {
			var counts [NumVerdicts]int
			recalled := 0
			for seed := range uint64(2) {
				w := newWorld(t, seed, c.memory)
				for range 2500 {
					w.step()
				}
				for v, n := range w.counts {
					counts[v] += n
				}
				recalled += w.recalled
			}
			if recalled < 20 {
				t.Errorf("something was known about names %d times: not a fair sample", recalled)
			}
			for v, n := range counts {
				if n < 20 {
					t.Errorf("%v came %d times: not a fair sample", Verdict(v), n)
				}
			}
		})
	}
}

func FuzzHistories(f *testing.F) {
	f.Add(uint64(1), 1<<20)
	f.Add(uint64(2), 20<<10)
	f.Fuzz(func(t *testing.T, seed uint64, memory int) {
		w := newWorld(t, seed, memory)
		for range 300 {
			w.step()
		}
	})
}
