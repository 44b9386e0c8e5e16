package mls

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// twin is a member beside another who is in the same state, as if it had been saved and restored.
func twin(t testing.TB, p *person) *Group {
	t.Helper()
	g := p.group
	part := func(text []byte) *openedPart { return &openedPart{partHead: partHead{group: g.ID()}, text: text} }
	public, secret := g.appendPublic(nil, &tree{suite: g.suite}), g.appendSecret(nil, g.packChanges())
	twin := &Group{cfg: p.cfg, suite: g.suite, limits: g.limits}
	if err := twin.read(snapshot{[]*openedPart{part(public)}, part(secret), nil}); err != nil {
		t.Fatal(err)
	}
	return twin
}

// sameResult compares what became of a message in one step and in several.
func sameResult(t testing.TB, what string, got *Received, gotErr error, want *Received, wantErr error) {
	t.Helper()
	switch {
	case errors.Is(gotErr, Limit) && errors.Is(wantErr, Limit): // how far ahead is counted from what is under way
	case (gotErr == nil) != (wantErr == nil), gotErr != nil && gotErr.Error() != wantErr.Error():
		t.Fatalf("%s: in steps %v, at once %v", what, gotErr, wantErr)
	case gotErr != nil:
	case got.Content != want.Content || got.Sender != want.Sender || got.Epoch != want.Epoch || !bytes.Equal(got.AAD, want.AAD) ||
		!bytes.Equal(got.Application, want.Application) || (got.Change == nil) != (want.Change == nil) ||
		(got.Leaf == nil) != (want.Leaf == nil) || got.Leaf != nil && !got.Leaf.Equal(want.Leaf):
		t.Fatalf("%s: in steps %+v, at once %+v", what, got, want)
	}
}

// stepper gives the same messages to two groups in one state: to one in steps, to the other at once, when the first one
// accepts them. Verdicts are the same, and so are the groups, whenever nothing is under way.
type stepper struct {
	t             testing.TB
	steps, atOnce *Group
	under         []underWay
	verify        func(*Unverified) func() *Verified // begins, and waits
	accepted      int
	discarded     bool // since the groups were compared: the leaf of a sender may have been derived in one of the two
	refused       map[Kind]int
}

// underWay is a message between the steps.
type underWay struct {
	name string
	msg  []byte
	u    *Unverified
	done func() *Verified
}

// inline verifies where it is waited for.
func inline(u *Unverified) func() *Verified { return u.Verify }

func newStepper(t testing.TB, p *person) *stepper {
	return &stepper{t: t, steps: twin(t, p), atOnce: twin(t, p), verify: inline, refused: map[Kind]int{}}
}

// begin unprotects a message. What is refused is refused by the other at once.
func (s *stepper) begin(name string, msg []byte) {
	s.t.Helper()
	u, err := s.steps.Unprotect(bytes.Clone(msg))
	if err != nil {
		if errors.Is(err, Busy) {
			s.accept(0)
			s.begin(name, msg)
			return
		}
		_, want := s.atOnce.Process(msg)
		sameResult(s.t, name+", unprotected", nil, err, nil, want)
		s.refused[KindOf(err)]++
		return
	}
	s.under = append(s.under, underWay{name, msg, u, s.verify(u)})
}

// accept accepts the i-th message under way.
func (s *stepper) accept(i int) {
	s.t.Helper()
	m := s.under[i]
	s.under = append(s.under[:i:i], s.under[i+1:]...)
	got, err := m.done().Accept()
	want, wantErr := s.atOnce.Process(m.msg)
	sameResult(s.t, m.name, got, err, want, wantErr)
	if err != nil {
		s.refused[KindOf(err)]++
	} else if s.accepted++; got.Change != nil {
		s.compare()
		for _, c := range []*Change{got.Change, want.Change} {
			if err := c.Apply(); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	s.compare()
}

// discard gives up the i-th message under way.
func (s *stepper) discard(i int) {
	s.t.Helper()
	s.under[i].u.Discard()
	s.under = append(s.under[:i:i], s.under[i+1:]...)
	s.discarded = true
	s.compare()
}

// openAll derives the ratchets of all members, in all epochs.
func openAll(t testing.TB, g *Group) {
	t.Helper()
	for _, k := range append([]*epochKeys{g.now.messages}, g.past...) {
		k.tree.members(func(i LeafIndex, _ *LeafNode) bool {
			must[*ratchet](t)(k.secrets.ratchet(i, ContentApplication))
			if k != g.now.messages {
				k.secrets.ratchets[i].handshake.wipe()
			}
			return true
		})
	}
}

// compare compares the groups, if all that they saw is the same.
func (s *stepper) compare() {
	s.t.Helper()
	if len(s.under) == 0 && s.discarded {
		s.discarded = false
		for _, g := range []*Group{s.steps, s.atOnce} {
			openAll(s.t, g)
		}
	}
	if len(s.under) == 0 && !bytes.Equal(s.steps.appendState(nil), s.atOnce.appendState(nil)) {
		s.t.Fatal("the groups differ")
	}
	if len(s.steps.underWay) != len(s.under) {
		s.t.Fatalf("%d messages are under way, want %d", len(s.steps.underWay), len(s.under))
	}
}

func (s *stepper) end() {
	for len(s.under) > 0 {
		s.accept(0)
	}
}

// conversation is what a group sees in some epochs: messages of honest members, forged ones, and commits.
func conversation(t testing.TB, rng *rand.Rand, c *crowd, length int) (names []string, msgs [][]byte) {
	add := func(name string, msg []byte) { names, msgs = append(names, name), append(msgs, msg) }
	hostile := c.members[1]
	for i := range length {
		from := 1 + rng.IntN(len(c.members)-1)
		g := c.members[from].group
		forge := func(ahead uint32, content []byte, damage bool) {
			in := LeafIndex(rng.IntN(len(c.members)))
			if in == hostile.group.Own() {
				in++
			}
			r := must[*ratchet](t)(c.members[in].group.now.messages.secrets.ratchet(in, ContentApplication))
			add(fmt.Sprintf("%d: forged in the name of %d, %d ahead", i, in, ahead), sealRaw(t, hostile.group,
				sealing{from: in, generation: r.next + ahead, kind: ContentApplication, content: content, damage: damage}))
		}
		switch what := rng.IntN(20); {
		case what < 10:
			add(fmt.Sprintf("%d: of %d", i, from), must[[]byte](t)(g.Protect(nil, fmt.Appendf(nil, "text %d", i), []byte("aad"))))
		case what < 12: // jumps over some
			for range 1 + rng.IntN(4) {
				must[[]byte](t)(g.Protect(nil, nil, nil))
			}
			add(fmt.Sprintf("%d: of %d, after a jump", i, from), must[[]byte](t)(g.Protect(nil, []byte("jumped"), nil)))
		case what < 14 && len(msgs) > 0:
			k := rng.IntN(len(msgs))
			add("again "+names[k], msgs[k])
		case what == 14:
			forge(uint32(rng.IntN(3)), sealed(t, hostile.group, hostile.group.Own(), []byte("forged")), false)
		case what == 15:
			forge(uint32(rng.IntN(14)), sealed(t, hostile.group, hostile.group.Own(), []byte("forged")), false)
		case what == 16:
			forge(uint32(rng.IntN(3)), []byte{0x40}, rng.IntN(2) == 0)
		case what == 17 && len(msgs) > 0:
			b := bytes.Clone(msgs[rng.IntN(len(msgs))])
			b[rng.IntN(len(b))] ^= 1
			add(fmt.Sprintf("%d: damaged", i), b)
		case what == 18:
			ch := must[*Change](t)(g.Commit(CommitOptions{}))
			for k, p := range c.members[1:] {
				if k+1 != from {
					if err := must[*Received](t)(p.group.Process(ch.Commit)).Change.Apply(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := ch.Apply(); err != nil {
				t.Fatal(err)
			}
			add(fmt.Sprintf("%d: commit of %d", i, from), ch.Commit)
		case what == 19:
			msg := must[[]byte](t)(g.ProposeUpdate(Identity{}, nil))
			g.DropPending()
			add(fmt.Sprintf("%d: proposal of %d", i, from), msg)
		}
	}
	return names, msgs
}

// In steps messages have the fate that they have at once, and leave the same group: whatever is reordered, repeated,
// forged, ahead, of past epochs and refused, and whatever is under way meanwhile. Signatures are verified by others
// meanwhile.
func TestStepsAreProcess(t *testing.T) {
	seeds := uint64(6) // each suite with either kind of messages
	if long {
		seeds = 30
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 7))
			private := seed%2 == 1
			c := newCrowd(t, CipherSuite(1+seed%3), 4, func(c *Config) {
				c.Limits.Window, c.Limits.UnderWay, c.PastEpochs, c.EncryptHandshake = 8, 16, 1, private
			})
			s := newStepper(t, c.members[0])
			work := make(chan func())
			var workers sync.WaitGroup
			for range 3 {
				workers.Go(func() {
					for f := range work {
						f()
					}
				})
			}
			s.verify = func(u *Unverified) func() *Verified {
				done := make(chan *Verified, 1)
				work <- func() { done <- u.Verify() }
				return func() *Verified { return <-done }
			}
			names, msgs := conversation(t, rng, c, 120)
			order := make([]int, len(msgs))
			for i := range order { // near to where it was
				order[i] = i
				commits := strings.Contains(names[i], "commit")
				if k := max(0, i-rng.IntN(6)); !commits && !strings.Contains(names[order[k]], "commit") && rng.IntN(3) == 0 {
					order[i], order[k] = order[k], order[i]
				}
			}
			for _, i := range order {
				s.begin(names[i], msgs[i])
				for len(s.under) > 0 && rng.IntN(4) != 0 {
					at := 0
					if rng.IntN(8) == 0 {
						at = rng.IntN(len(s.under))
					}
					s.accept(at)
					if rng.IntN(2) == 0 {
						break
					}
				}
			}
			s.end()
			close(work)
			workers.Wait()
			if s.accepted < 20 || s.refused[BadSignature] == 0 {
				t.Errorf("%d accepted, refused %v", s.accepted, s.refused)
			}
		})
	}
}

// A script of what is unprotected, accepted and discarded when; of messages of all sorts. They have the fate that they
// have at once.
func FuzzSteps(f *testing.F) {
	runtime.GOMAXPROCS(1)
	c := newCrowd(f, 1, 4, func(c *Config) { c.Limits.Window, c.Limits.UnderWay, c.PastEpochs = 8, 5, 1 })
	names, msgs := conversation(f, rand.New(rand.NewPCG(1, 1)), c, 60)
	const most = 40 // signatures take their time
	seed := []byte{}
	for i := range most / 3 {
		seed = append(seed, byte(i), 200, 220)
	}
	f.Add(seed)
	f.Add([]byte{9, 8, 7, 6, 200, 203, 200, 9, 201, 240, 200})
	f.Fuzz(func(t *testing.T, script []byte) {
		s := newStepper(t, c.members[0])
		for _, b := range script[:min(len(script), most)] {
			switch {
			case b < 200:
				s.begin(names[int(b)%len(msgs)], msgs[int(b)%len(msgs)])
			case len(s.under) == 0:
			case b < 240:
				s.accept(int(b) % len(s.under))
			default:
				s.discard(int(b) % len(s.under))
			}
		}
		s.end()
	})
}
