//go:build gates

package mls

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// Conditions on speed are ratios of what is measured by turns in the same run: they hold on a busy machine.

// ratio is the median of a/b over rounds of a, b, b, a.
func ratio(rounds int, a, b func()) float64 {
	time2 := func(f func()) float64 {
		begun := time.Now()
		f()
		return float64(time.Since(begun))
	}
	all := make([]float64, rounds)
	for i := range all {
		x, y := time2(a), time2(b)
		y += time2(b)
		x += time2(a)
		all[i] = x / y
	}
	slices.Sort(all)
	return all[rounds/2]
}

// leastRatio is the ratio of the least times of a and b over rounds of a, b, b, a: of what takes a few milliseconds the
// median is that of the machine's other work.
func leastRatio(rounds int, a, b func()) float64 {
	least := func(t *time.Duration, f func()) {
		begun := time.Now()
		f()
		*t = min(*t, time.Since(begun))
	}
	x, y := time.Hour, time.Hour
	for range rounds {
		least(&x, a)
		least(&y, b)
		least(&y, b)
		least(&x, a)
	}
	return float64(x) / float64(y)
}

// Protecting a message costs little more than what it cannot do without. The turns are a millisecond or less, so that
// most of them are not interrupted on a busy machine, and there are many of them.
func TestGateProtect(t *testing.T) {
	const most, turn, rounds = 1.25, 40, 501 // it is 1.10 to 1.15 on a quiet machine; the rest is for the others on it
	for _, cs := range []CipherSuite{1, 2, 3} {
		for _, size := range []int{100, 1024} {
			g := newCrowd(t, cs, 3, plain).members[0].group
			text, dst := make([]byte, size), make([]byte, 0, 4096)
			protect := func() {
				for range turn {
					dst = must[[]byte](t)(g.Protect(dst[:0], text, nil))
				}
			}
			room := newFloor(g, size)
			floor := func() {
				for range turn {
					if err := room.run(); err != nil {
						t.Fatal(err)
					}
				}
			}
			r := ratio(rounds, protect, floor)
			t.Logf("suite %d, %d bytes: %.3f of its signature and sealings", cs, size, r)
			if r > most {
				t.Errorf("suite %d, %d bytes: protecting costs %.3f of its signature and sealings, at most %v are allowed", cs, size, r, most)
			}
		}
	}
}

// The owner of a group has little to do with a message whose signature others verify. The least times count, of turns that
// lie apart: each is well below a millisecond, and messages are made between them.
func TestGateSteps(t *testing.T) {
	const messages, rounds, most = 16, 201, 0.25 // it is 0.18, also on a busy machine
	for _, cs := range []CipherSuite{1, 2} {
		g := newCrowd(t, cs, 3, plain)
		a, b := g.members[0].group, g.members[1].group
		own, others := time.Hour, time.Hour
		for range rounds {
			var msgs [][]byte
			for range messages {
				msgs = append(msgs, must[[]byte](t)(a.Protect(nil, make([]byte, 1024), nil)))
			}
			begun := time.Now()
			var under []*Unverified
			for _, m := range msgs {
				under = append(under, must[*Unverified](t)(b.Unprotect(m)))
			}
			decrypted := time.Now()
			var done []*Verified
			for _, u := range under {
				done = append(done, u.Verify())
			}
			checked := time.Now()
			for _, v := range done {
				must[*Received](t)(v.Accept())
			}
			own, others = min(own, decrypted.Sub(begun)+time.Since(checked)), min(others, checked.Sub(decrypted))
		}
		share := float64(own) / float64(own+others)
		t.Logf("suite %d: the owner's steps are %.3f of all", cs, share)
		if share > most {
			t.Errorf("suite %d: the owner's steps are %.3f of all, at most %v are allowed", cs, share, most)
		}
	}
}

// A welcome of 4 MiB from a sender who holds our key package, with a tree in which all is right but the signatures,
// costs little more than opening it and hashing its tree.
func TestGateGarbageWelcome(t *testing.T) {
	const most, size = 10, 4 << 20
	p := newPerson(t, 2, "joiner", plain)
	f := newCrowd(t, 2, 1, plain).forgeWelcome(p)
	own, signer := f.tree.leaf(f.own), f.tree.leaf(0)
	f.tree = newTree(f.tree.suite, signer)
	f.tree.add(own)
	f.own = 1
	token := make([]byte, 1000) // as long as those of some identity providers
	for f.tree.count() < size/1400 {
		l := copyLeaf(own)
		l.Credential = BasicCredential(token)
		l.EncryptionKey, l.SignatureKey, l.Signature = freshKey(t, 2), freshKey(t, 2), make([]byte, 71)
		l.raw, l.unsigned = nil, len(l.appendUnsigned(nil))
		l.raw = l.append(nil)
		f.tree.add(l)
	}
	f.retree()
	msg := f.seal()
	t.Logf("%d bytes, %d leaves", len(msg), f.tree.count())
	private := must[*PrivateKeyPackage](t)(p.cfg.KeyPackages.Get(must[[]byte](t)(f.k.Ref())))
	limits := p.cfg.Limits.filled()
	refuse := func() {
		_, err := Join(p.cfg, msg, JoinOptions{})
		wantRefusal(t, err, BadSignature, "7.3: signature of a leaf node")
	}
	open := func() {
		w := parse(t, msg).welcome
		j := &joining{cfg: p.cfg, suite: suiteOf(t, 2), private: private, limits: limits}
		if err := j.openSecrets(w, &w.secrets[0]); err != nil {
			t.Fatal(err)
		}
		if err := j.openInfo(w); err != nil {
			t.Fatal(err)
		}
		j.tree.hash()
	}
	r := ratio(11, refuse, open)
	t.Logf("refused in %.2f times the time of opening and hashing", r)
	if r > most {
		t.Errorf("a welcome is refused in %.2f times the time of opening and hashing it, at most %d are allowed", r, most)
	}
}

// A commit with a thousand proposals that wait costs less than twice one with the same by value.
func TestGateWaitingProposals(t *testing.T) {
	g, byValue, _ := waitingAdds(t, 1000)
	r := leastRatio(5, func() { must[*Change](t)(g.Commit(CommitOptions{})).Discard() },
		func() { must[*Change](t)(g.Commit(CommitOptions{Proposals: byValue, SkipPending: true})).Discard() })
	t.Logf("%.2f of a commit by value", r)
	if r >= 2 {
		t.Errorf("a commit with 1,000 proposals that wait costs %.2f of one by value", r)
	}
}

// Joining a group of a thousand whose committer brought new keys is ten times as fast as mls-go does it, and more.
// Without its path both do little but check signatures.
func TestGateJoin(t *testing.T) {
	const least = 10
	j := newJoiners(t, 2, 1000, true)
	var all []float64
	for len(j.them) > 0 {
		them, us := j.theirs(t), time.Duration(math.MaxInt64)
		for range 5 { // the collector has theirs to collect
			j.again(t)
			us = min(us, j.ours(t))
		}
		all = append(all, float64(them)/float64(us))
	}
	slices.Sort(all)
	r := all[len(all)/2]
	t.Logf("mls-go takes %.1f times as long", r)
	if r < least {
		t.Errorf("joining a group of 1,000 takes mls-go %.1f times as long, want %d", r, least)
	}
}

// savedGroup is a group of n members, whose first and last are saved.
func savedGroup(t *testing.T, n int) (first, last *Group) {
	t.Helper()
	creator := newPerson(t, 2, "creator", plain, kept)
	first = must[*Group](t)(Create(creator.cfg, nil))
	o := CommitOptions{Path: true}
	joiner := creator
	for i := 1; i < n; i++ {
		joiner = newPerson(t, 2, fmt.Sprintf("member %d", i), plain, kept)
		o.Proposals = append(o.Proposals, &Add{must[*KeyPackage](t)(joiner.cfg.NewKeyPackage())})
	}
	ch := must[*Change](t)(first.Commit(o))
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	last = must[*Group](t)(Join(joiner.cfg, ch.Welcomes[0], JoinOptions{}))
	for _, g := range []*Group{first, last} {
		saveOnce(t, g)
	}
	return first, last
}

func saveOnce(t *testing.T, g *Group) {
	if err := must[*Saved](t)(g.Save()).Done(); err != nil {
		t.Fatal(err)
	}
}

// Saving after a message costs at most half of protecting it, and in a group of 500 at most 1.5 times what it costs in
// one of 2; all that follows upon many messages is counted.
func TestGateSaveMessage(t *testing.T) {
	small, _ := savedGroup(t, 2)
	large, _ := savedGroup(t, 500)
	const messages = 6000 // secret parts among them
	save := func(g *Group, senders int) func() {
		for l := range senders {
			must[*ratchet](t)(g.now.messages.secrets.ratchet(LeafIndex(l), ContentApplication))
		}
		saveOnce(t, g)
		next := uint32(0)
		return func() {
			for range messages {
				next++
				g.now.messages.secrets.log.add(spentKey{LeafIndex(next) % LeafIndex(senders), next, ContentApplication})
				saveOnce(t, g)
			}
		}
	}
	two := save(small, 2)
	for _, senders := range []int{2, 500} {
		r := leastRatio(21, save(large, senders), two)
		t.Logf("500 members, %d senders: %.2f times the time with 2", senders, r)
		if r > 1.5 {
			t.Errorf("saving costs %.2f times as much in a group of 500 with %d senders", r, senders)
		}
	}
	dst, text := make([]byte, 0, 1024), make([]byte, 100)
	const some = messages / 60 // they take as long as saving all: longer turns are interrupted on a busy machine
	protect := func() {
		for range some {
			dst = must[[]byte](t)(large.Protect(dst[:0], text, nil))
		}
	}
	r := leastRatio(21, save(large, 500), protect) * some / messages
	t.Logf("%.2f of protecting", r)
	if r > 0.5 {
		t.Errorf("saving costs %.2f of protecting a message", r)
	}
}

// Saving after a commit in a group of 500 costs at most a fifth of it: of making and applying it, and of following it.
func TestGateSaveCommit(t *testing.T) {
	first, last := savedGroup(t, 500)
	var made, followed []float64
	timed := func(f func()) float64 {
		begun := time.Now()
		f()
		return float64(time.Since(begun))
	}
	apply := func(c *Change) {
		if err := c.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	for range 61 {
		var ch *Change
		commit := timed(func() { ch = must[*Change](t)(first.Commit(CommitOptions{})) })
		save := timed(func() { saveOnce(t, first) })
		follow := timed(func() { apply(must[*Received](t)(last.Process(ch.Commit)).Change) })
		saveFollowed := timed(func() { saveOnce(t, last) })
		commit += timed(func() { apply(ch) })
		save += timed(func() { saveOnce(t, first) })
		made, followed = append(made, save/commit), append(followed, saveFollowed/follow)
	}
	for what, all := range map[string][]float64{"making a commit": made, "following a commit": followed} {
		slices.Sort(all)
		r := all[len(all)/2]
		t.Logf("%.3f of %s", r, what)
		if r > 0.2 {
			t.Errorf("saving costs %.3f of %s", r, what)
		}
	}
}
