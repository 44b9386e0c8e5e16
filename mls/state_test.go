package mls

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

var stateKey = bytes.Repeat([]byte{7}, StateKeySize)

// restart replaces a member's group by one from its state.
func (p *person) restart() {
	p.t.Helper()
	state := must[[]byte](p.t)(p.group.MarshalState(stateKey))
	p.group = must[*Group](p.t)(Restore(p.cfg, stateKey, state))
}

// A group whose members restart at every step lives as one whose members do not.
func TestLifeWithRestarts(t *testing.T) {
	for _, cs := range []CipherSuite{1, 2, 7, 65100} {
		t.Run(cs.String(), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, cs, 4)
			restart := func() {
				for _, p := range c.members {
					p.restart()
				}
			}
			restart()
			c.agree()
			id := Identity{Credential: BasicCredential([]byte("new")), Key: must[*SigningKey](t)(GenerateSigningKey(cs, stream("new key")))}
			c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(id, nil)))
			c.propose(2, &Remove{3})
			restart()
			c.commit(0, CommitOptions{})
			restart()
			c.agree()
			c.commit(1, CommitOptions{})
			restart()
			c.agree()

			// Late and out of order, across restarts.
			a, b := c.members[0], c.members[1]
			var messages [][]byte
			for i := range 5 {
				messages = append(messages, must[[]byte](t)(a.group.Protect(nil, []byte{byte(i)}, nil)))
				a.restart()
			}
			c.commit(2, CommitOptions{})
			for _, i := range []int{3, 1, 4, 0, 2} {
				b.restart()
				r := must[*Received](t)(b.group.Process(messages[i]))
				if r.Application[0] != byte(i) {
					t.Errorf("message %d reads %x", i, r.Application)
				}
				_, err := b.group.Process(messages[i])
				wantKind(t, err, Replayed)
				b.restart()
				_, err = b.group.Process(messages[i])
				wantKind(t, err, Replayed)
			}

			c.commit(0, CommitOptions{Proposals: []Proposal{&ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: cs, Extensions: Extensions{{0xf000, []byte("x")}}}}})
			restart()
			if r := b.group.ReInit(); r == nil || string(r.GroupID) != "next" || len(r.Extensions) != 1 {
				t.Errorf("reinit %+v", r)
			}
			b.group.Wipe()
			b.restart()
			if b.group.Active() {
				t.Error("a wiped group is active")
			}
		})
	}
}

func TestStatesThatAreRefused(t *testing.T) {
	p := newCrowd(t, 1, 2).members[0]
	state := must[[]byte](t)(p.group.MarshalState(stateKey))
	flip := func(i int) []byte { b := bytes.Clone(state); b[i] ^= 1; return b }
	for _, c := range []struct {
		name  string
		cfg   *Config
		key   []byte
		state []byte
		want  Kind
	}{
		{"another key", p.cfg, bytes.Repeat([]byte{8}, StateKeySize), state, BadSignature},
		{"a short key", p.cfg, stateKey[1:], state, Misuse},
		{"damaged at the end", p.cfg, stateKey, flip(len(state) - 1), BadSignature},
		{"damaged in the midst", p.cfg, stateKey, flip(len(state) / 2), BadSignature},
		{"another version", p.cfg, stateKey, flip(len(stateMagic)), Unsupported},
		{"something else", p.cfg, stateKey, flip(0), Malformed},
		{"cut", p.cfg, stateKey, state[:len(state)-1], BadSignature},
		{"a stump", p.cfg, stateKey, state[:12], Malformed},
		{"nothing", p.cfg, stateKey, nil, Malformed},
		{"another suite", newPerson(t, 2, "x").cfg, stateKey, state, Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Restore(c.cfg, c.key, c.state)
			wantKind(t, err, c.want)
		})
	}
}

// secretsOf are all secrets of a group's epoch that can be named, by what they are.
func secretsOf(g *Group) map[string][]byte {
	m := map[string][]byte{}
	put := func(name string, b []byte) {
		if len(b) > 0 {
			m[name] = bytes.Clone(b)
		}
	}
	e := g.now
	for i, s := range e.secrets.all() {
		put(fmt.Sprintf("secret %d of epoch %d", i, g.Epoch()), s.Bytes())
	}
	put(fmt.Sprintf("sender data secret of epoch %d", g.Epoch()), e.messages.senderData.Bytes())
	for n, s := range e.messages.secrets.closed {
		put(fmt.Sprintf("tree secret of node %d, epoch %d", n, g.Epoch()), s.Bytes())
	}
	for n, k := range e.keys {
		put(fmt.Sprintf("private key of node %d, epoch %d", n, g.Epoch()), k.Bytes())
	}
	return m
}

// in checks whether the opened state of a group holds any of the secrets, and that it holds those it must.
func checkState(t *testing.T, g *Group, gone, kept map[string][]byte) {
	t.Helper()
	text := g.appendState(nil)
	for name, s := range gone {
		if bytes.Contains(text, s) {
			t.Errorf("state holds %s", name)
		}
	}
	for name, s := range kept {
		if !bytes.Contains(text, s) {
			t.Errorf("state does not hold %s: the search finds nothing", name)
		}
	}
}

// Keys of messages are gone when they are used, those of generations before them too unless they were jumped over; secrets of the
// tree are gone when what is below them has been derived (RFC 9420, section 9.2).
func TestUsedGenerationsAreGone(t *testing.T) {
	c := newCrowd(t, 1, 3)
	a, b := c.members[0].group, c.members[1].group
	c.commit(2, CommitOptions{})
	root := secretsOf(b)[fmt.Sprintf("tree secret of node %d, epoch %d", b.now.tree.root(), b.Epoch())]
	if root == nil {
		t.Fatal("the root is open before the first message")
	}
	chain := newSecretTree(b.suite, b.now.tree.size(), secretOf(root)) // what an attacker could compute
	r := must[*ratchet](t)(chain.open(0, ContentApplication))
	keys, ratchets := map[string][]byte{}, map[string][]byte{}
	for g := range uint32(6) {
		var k messageKey
		ratchets[fmt.Sprintf("ratchet secret %d", g)] = bytes.Clone(r.secret.Bytes())
		if _, err := r.key(b.suite, g, 10, &k); err != nil {
			t.Fatal(err)
		}
		keys[fmt.Sprintf("key %d", g)] = bytes.Clone(k.key[:16])
		r.spend(b.suite, g, 10, nil)
	}
	next := map[string][]byte{"ratchet secret 6": bytes.Clone(r.secret.Bytes())}
	var messages [][]byte
	for range 6 {
		messages = append(messages, must[[]byte](t)(a.Protect(nil, []byte("text"), nil)))
	}
	checkState(t, a, union(keys, ratchets, map[string][]byte{"root": root}), next)

	must[*Received](t)(b.Process(messages[5]))
	skipped := without(keys, "key 5")
	checkState(t, b, union(ratchets, map[string][]byte{"key 5": keys["key 5"], "root": root}), union(skipped, next))
	for i := range 5 {
		must[*Received](t)(b.Process(messages[i]))
		skipped = without(skipped, fmt.Sprintf("key %d", i))
		checkState(t, b, union(ratchets, without(keys, names(skipped)...)), union(skipped, next))
	}
}

// Secrets of an epoch are gone when it is over, what protects its messages when it is no longer kept, private keys when the tree
// has others (sections 7.5, 9.2, 14).
func TestOldEpochsAreGone(t *testing.T) {
	c := newCrowd(t, 2, 4, func(c *Config) { c.PastEpochs, c.PSKEpochs = 2, 1 })
	b := c.members[1].group
	const steps = 6
	var epochs []map[string][]byte
	for i := range steps {
		epochs = append(epochs, secretsOf(b))
		c.commit([]int{0, 3, 1}[i%3], CommitOptions{})
		now := secretsOf(b)
		for age := range len(epochs) {
			old := epochs[len(epochs)-1-age]
			gone, kept := map[string][]byte{}, map[string][]byte{}
			for name, s := range old {
				epoch := b.Epoch() - uint64(age) - 1
				switch {
				case contains(now, s): // a private key that is still the tree's
				case name == fmt.Sprintf("secret 5 of epoch %d", epoch) && age < 1: // the resumption key
					kept[name] = s
				case age < 2 && (name == fmt.Sprintf("sender data secret of epoch %d", epoch) || strings.HasPrefix(name, "tree secret")):
					kept[name] = s
				default:
					gone[name] = s
				}
			}
			if age == 3 && len(gone) < 9 {
				t.Errorf("only %d secrets looked for", len(gone))
			}
			checkState(t, b, gone, kept)
		}
	}
	before := secretsOf(b)
	c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{1}}})
	if b.Active() {
		t.Fatal("not removed")
	}
	checkState(t, b, before, nil)
}

// What a change prepared is gone when it is discarded.
func TestDiscardedChangesAreGone(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[0].group
	ch := must[*Change](t)(g.Commit(CommitOptions{}))
	e := ch.next
	ch.Discard()
	for _, s := range e.secrets.all() {
		if s.Len() != 0 {
			t.Error("a secret of a discarded change is left")
		}
	}
	if e.messages.senderData.Len() != 0 || len(e.messages.secrets.closed) != 0 {
		t.Error("message keys of a discarded change are left")
	}
	for n, k := range e.keys {
		if (k.Bytes() == nil) == (g.now.keys[n] == k) {
			t.Errorf("private key of node %d: wiped %v", n, k.Bytes() == nil)
		}
	}
	c.agree()
}

func union(ms ...map[string][]byte) map[string][]byte {
	u := map[string][]byte{}
	for _, m := range ms {
		for k, v := range m {
			u[k] = v
		}
	}
	return u
}

func without(m map[string][]byte, names ...string) map[string][]byte {
	u := union(m)
	for _, n := range names {
		delete(u, n)
	}
	return u
}

func names(m map[string][]byte) []string {
	var n []string
	for k := range m {
		n = append(n, k)
	}
	return n
}

func contains(m map[string][]byte, b []byte) bool {
	for _, v := range m {
		if bytes.Equal(v, b) {
			return true
		}
	}
	return false
}
