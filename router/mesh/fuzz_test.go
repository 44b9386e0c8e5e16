package mesh

import (
	"fmt"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// fuzzed is a node whose peers and applications do what bytes say.
type fuzzed struct {
	s    *stand
	in   []byte
	ends [4]*end // peers; nil: it is not there
	app  *end
	told []wire.NameText // what the node has told, as peers heard it: they may say it back
	ids  []uint64
	gate map[*end]bool // links that have opened or closed, with more to do
}

func (f *fuzzed) byte() (b byte) {
	if len(f.in) > 0 {
		b, f.in = f.in[0], f.in[1:]
	}
	return b
}

// name is one of a few, of a probe, of what was told, or of something like a probe.
func (f *fuzzed) name(p *end) (n wire.NameText, id uint64) {
	b := f.byte()
	id = uint64(b >> 5)
	switch b % 8 {
	case 0, 1, 2:
		return simName(int(b % 3)), id
	case 3: // about the peer's link, or one before or after it
		of := f.s.m.of[p].weight
		of[b>>3%3] += uint64(f.byte()) - 1
		return probeName(of, nodeNumber(p.name), id), id
	case 4:
		return probeName(weight{uint64(f.byte()), uint64(f.byte()), id}, f.s.m.self, id), id
	case 5:
		return wire.Text(probeWord, string(f.byte()), string(f.byte())), id
	default:
		if len(f.told) == 0 {
			return simName(3), id
		}
		i := int(f.byte()) % len(f.told)
		return f.told[i], f.ids[i] + uint64(b>>7)
	}
}

// step does one thing.
func (f *fuzzed) step() {
	m, b := f.s.m, f.byte()
	at := int(b>>4) % len(f.ends)
	p := f.ends[at]
	switch op := b % 16; {
	case op == 0 && p == nil:
		p = &end{fmt.Sprint("peer", f.byte()%3)} // two may have one id
		if _, _, err := m.Join(p, p.name, uint64(f.byte()%2)); err != nil {
			f.s.t.Fatal(err)
		}
		f.ends[at] = p
		m.Fill()
	case op == 0:
		f.s.leave(p)
		delete(f.gate, p)
		f.ends[at] = nil
	case op == 1:
		f.s.ticks(1 + int(b>>4))
	case op == 2:
		_, _ = f.s.names.Add(f.app, table.Edge, table.Key{Name: simName(int(b >> 6)).Name, HasID: true}, 1, simText, true)
		m.Touch(simName(int(b>>6)).Name, f.app, uint64(f.byte()))
	case op == 3:
		_, _ = f.s.names.Remove(f.app, table.Key{Name: simName(int(b >> 6)).Name, HasID: true}, 1)
		m.Touch(simName(int(b>>6)).Name, f.app, uint64(f.byte()))
	case p == nil:
	case op < 8:
		n, id := f.name(p)
		_, _ = m.Offer(p, &Subscription{Key: table.Key{Name: n.Name, HasID: true}, ID: id, TTL: uint32(f.byte()) - 1, Str: n.Str, HasStr: b>>6 != 0})
	case op < 11:
		n, id := f.name(p)
		m.Withdraw(p, n.Name, id)
	case op < 12:
		_, id := f.name(p)
		m.Acked(p, id)
	case op < 15:
		f.hear(p)
	default:
		if m.RegateStep(p) {
			f.gate[p] = true
		} else {
			delete(f.gate, p)
		}
	}
}

// hear has p take all that it is to be told: with a TTL, and a withdrawal of nothing but what it was told.
func (f *fuzzed) hear(p *end) {
	for _, t := range f.s.next(p) {
		if t.TTL == 0 || t.TTL > probeTTL || t.ID == 0 || t.Name.Str == [3]string{} {
			f.s.t.Errorf("a peer is told %+v", t)
		}
		if len(f.told) < 64 {
			f.told, f.ids = append(f.told, t.Name), append(f.ids, t.ID)
		}
	}
}

// Whatever peers say, of names, of probes, of what they were told themselves, the books agree at each step, no hold of the mutex is long, what
// is in the table is what is known, and when all have left there is nothing. Rules: P-peer-6, P-peer-8, P-loop-2, P-loop-7.
func FuzzPeers(f *testing.F) {
	f.Add(byte(0), []byte{0x00, 1, 0, 0x10, 2, 0, 0x02, 0, 0x04, 0x20, 7, 0x14, 0x40, 7, 0x0c, 0x1c, 0x21, 0x08, 0x20, 0x00})
	f.Add(byte(1), []byte{0x00, 1, 0, 0x10, 2, 0, 0x20, 1, 1, 0x0c, 0x1c, 0x2c, 0x44, 0x03, 1, 18, 0x54, 0x26, 0, 19, 0x0f, 0x31, 0x1c, 0x18, 0x26, 0, 0x41, 0x2c})
	f.Add(byte(2), []byte{0x00, 1, 0, 0x44, 0x46, 0, 18, 0x10, 1, 1, 0x1c, 0x54, 0x06, 0, 3, 0x02, 9, 0x03, 9, 0x0c, 0x00})
	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		o := []Options{guarded, {Relay: true}, {}}[kind%3]
		o.Budget = &table.Budget{PerConn: 8, Names: 24, Bytes: 512}
		x := &fuzzed{s: newStand(t, o), in: in[:min(len(in), 512)], app: &end{"app"}, gate: map[*end]bool{}}
		m := x.s.m
		for len(x.in) > 0 && !t.Failed() {
			x.step()
			for p := range x.gate {
				for m.RegateStep(p) {
				}
				delete(x.gate, p)
			}
			if wrong := x.wrong(); wrong != "" {
				t.Fatal(wrong)
			}
		}
		for _, p := range x.ends {
			if p != nil {
				x.s.leave(p)
			}
		}
		removeConn(x.s.names, x.app)
		names, bytes := o.Budget.Used()
		if m.routes.n() != 0 || m.waits != 0 || names != 0 || bytes != 0 || x.s.names.Len() != 0 || m.Active() {
			t.Errorf("left are %d routes, %d waits, %d names and %d bytes of the budget, %d in the table", m.routes.n(), m.waits, names, bytes, x.s.names.Len())
		}
		if most := portion + 16*len(x.ends) + 64; m.most > most {
			t.Errorf("one hold took %d steps, want %d at most", m.most, most)
		}
	})
}

// wrong is what does not agree.
func (f *fuzzed) wrong() string {
	m := f.s.m
	entered := 0
	for r := m.first; r != nil; r = r.next {
		p := m.parentOf(r)
		switch {
		case p != nil && (p.gone || m.offerOf(r, p) == nil):
			return "a route leads to a peer that does not offer it"
		case p != nil && r.is(local):
			return "a local route leads to a peer"
		case p != nil && r.probe() == nil:
			entered++
			if !f.s.names.Kinds(&r.name).Has(table.Peer) {
				return "a route is not in the table"
			}
		}
		if n := r.offers(); n > len(f.ends) {
			return fmt.Sprintf("a route has %d offers", n)
		}
	}
	if entered == 0 {
		for i := range 4 {
			if n := simName(i); f.s.names.Kinds(&n.Name).Has(table.Peer) {
				return "the table holds what no peer offers"
			}
		}
	}
	return verify(m)
}
