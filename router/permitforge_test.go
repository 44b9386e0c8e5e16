package router

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// protoField is a field of a protobuf message as bytes.
type protoField struct {
	num protowire.Number
	raw []byte // all of it
	val []byte // of a field that has a length, else nil
}

func protoFields(b []byte) (all []protoField, ok bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return nil, false
		}
		f := protoField{num: num, raw: b[:n+m]}
		if typ == protowire.BytesType {
			f.val, _ = protowire.ConsumeBytes(b[n:])
		}
		all = append(all, f)
		b = b[n+m:]
	}
	return all, true
}

func lengthField(num protowire.Number, val []byte) protoField {
	return protoField{num, protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), val), val}
}

// forger makes of messages others that are made of the same parts: some twice, in another place, of another message, or with another
// number, so that readers could differ in what they say.
type forger struct {
	*rand.Rand
	parts [][]byte
}

// learn keeps what b is made of.
func (f *forger) learn(b []byte, depth int) {
	all, _ := protoFields(b)
	for _, x := range all {
		if x.val != nil {
			f.parts = append(f.parts, x.val)
			if depth < 5 {
				f.learn(x.val, depth+1)
			}
		}
	}
}

func (f *forger) forge(b []byte, depth int) []byte {
	all, ok := protoFields(b)
	if !ok || len(all) == 0 {
		return b
	}
	for range 1 + f.IntN(2) {
		i := f.IntN(len(all))
		x := &all[i]
		switch n := f.IntN(9); {
		case n == 0:
			all = append(all, *x)
		case n < 5 && x.val != nil && depth < 5:
			*x = lengthField(x.num, f.forge(x.val, depth+1))
		case n == 5:
			at := f.IntN(len(all) + 1)
			all = append(all[:at:at], append([]protoField{lengthField(x.num, f.parts[f.IntN(len(f.parts))])}, all[at:]...)...)
		case n == 6:
			j := f.IntN(len(all))
			all[i], all[j] = all[j], all[i]
		case n == 7 && x.val != nil:
			*x = lengthField(protowire.Number(1+f.IntN(16)), x.val)
		case n == 8: // such as forward_to
			raw := protowire.AppendVarint(protowire.AppendTag(nil, protowire.Number(1+f.IntN(14)), protowire.VarintType), uint64(f.IntN(300)))
			all = append(all, protoField{raw: raw})
		}
	}
	var out []byte
	for _, x := range all {
		out = append(out, x.raw...)
	}
	return out
}

// countersign signs the header of b, as p can whatever it says. What has no header that can be read stays as it is.
func (p *peer) countersign(b []byte) []byte {
	var m wire.Message
	var hd wire.Header
	if wire.Scan(b, &m) != nil {
		return b
	}
	raw := m.Header.Of(b)
	outer, _ := protoFields(b)
	if wire.ParseHeader(raw, &hd) != nil || len(outer) == 0 {
		return b
	}
	inner, ok := protoFields(outer[0].val)
	if !ok || len(inner) == 0 || string(inner[0].val) != string(raw) {
		return b
	}
	var ns mac.Names
	var tag [32]byte
	p.mac.Names(&ns, mac.AppendNames(nil, p.linkID, raw, &hd))
	p.mac.Tag(&tag, &ns, mac.AppendRest(nil, raw, &hd, hd.TTL, true))
	inner[0] = lengthField(inner[0].num, append(append([]byte(nil), raw...), lengthField(11, tag[:]).raw...))
	var body, out []byte
	for _, x := range inner {
		body = append(body, x.raw...)
	}
	outer[0] = lengthField(outer[0].num, body)
	for _, x := range outer {
		out = append(out, x.raw...)
	}
	return out
}

// Whatever a message is made of, it says to its receiver what the rules have allowed, and takes nobody's subscription.
// Rules: P-rule-3, P-rule-6, P-rule-7.
func TestForgedMessagesKeepToTheRules(t *testing.T) {
	t.Parallel() // beside those that wait
	secret, mallory := wire.Text("org", "vault", "secret").WithID(7, 7), wire.Text("org", "ns", "mallory").WithID(9, 9)
	seeds := [][]byte{
		wire.AppendPublish(nil, header(mallory, bob, 1, "x"), testSession, content(1, 20)),
		wire.AppendPublish(nil, header(mallory, secret, 1, "x"), testSession, content(1, 20)),
		wire.AppendPublish(nil, header(alice, bob, 1, "x"), testSession, content(1, 20)),
		wire.AppendSubscribe(nil, header(mallory, mallory, 1, "x"), 7),
		wire.AppendSubscribe(nil, header(mallory, secret, 1, "x"), 8),
		wire.AppendUnsubscribe(nil, header(bob, bob, 1, ""), 1),
		wire.AppendUnsubscribe(nil, header(mallory, secret, 1, ""), 2),
		wire.AppendAck(nil, 2, false, "no"),
	}
	delivered, rounds := 0, uint64(8)
	if long {
		rounds = 20
	}
	for round := range rounds {
		f := &forger{Rand: rand.New(rand.NewPCG(round, 5))}
		for _, s := range seeds {
			f.learn(s, 0)
		}
		r := newRig(t, 2, Options{Authorization: ruleSet(t,
			ruleFor("mallory", "edge", "org/ns/mallory", "org/ns/bob", "org/ns/mallory"), ruleFor("boss", "edge", "*/*/*", "*/*/*", "*/*/*"))})
		victim, boss := r.joinAs(1, wire.LinkEdge, someone("boss")), r.joinAs(0, wire.LinkEdge, someone("boss"))
		victim.subscribe(bob, 1)
		victim.subscribe(secret, 2)
		var m *peer
		for range 150 {
			if m == nil || m.shut() || m.end != nil { // malformed ones end their sender
				m = r.joinAs(0, wire.LinkEdge, someone("mallory"))
			}
			b := f.forge(seeds[f.IntN(len(seeds))], 0)
			if f.IntN(4) > 0 {
				b = m.countersign(b)
			}
			m.send(b)
			m.count()
			victim.exchange()
			for _, got := range victim.got {
				var p pb.Message
				if err := proto.Unmarshal(got, &p); err != nil {
					t.Fatalf("the victim cannot read %x: %v", got, err)
				}
				h := p.GetPublish().GetHeader()
				if !names(h.GetDestination(), bob) || !names(h.GetSource(), mallory) {
					t.Fatalf("the victim is given %v, made of %x", &p, b)
				}
				delivered++
			}
			victim.got = nil
		}
		for i, n := range []wire.NameText{bob, secret} {
			boss.publish(header(alice, n, 1, "y"), i, 10)
			if k := victim.count(); k != 1 {
				t.Fatalf("%d messages come to %v: its subscription was taken", k, n)
			}
		}
	}
	if delivered < 20 {
		t.Errorf("%d messages were delivered: the sample is poor", delivered)
	}
}

// names reports whether n is an instance of the app of want.
func names(n *pb.Name, want wire.NameText) bool {
	e := n.GetName()
	return [...]uint64{e.GetComponent_0(), e.GetComponent_1(), e.GetComponent_2()} == want.Name.C
}
