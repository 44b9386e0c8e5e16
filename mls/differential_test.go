package mls

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	oracle "github.com/thomas-vilte/mls-go"
	"github.com/thomas-vilte/mls-go/ciphersuite"
)

// member is one side of a group in a differential run: ours, or that of another implementation.
type member interface {
	name() string
	keyPackage() []byte
	join(welcome []byte) error
	// add, remove and refresh make a commit and apply it.
	add(keyPackages [][]byte) (commit, welcome []byte, err error)
	remove(name string) ([]byte, error)
	refresh() ([]byte, error)
	// proposals wait, and commitPending commits them.
	proposeRemove(name string) ([]byte, error)
	proposeAdd(keyPackage []byte) ([]byte, error)
	proposePSK() ([]byte, error)
	commitPending() (commit, welcome []byte, err error)
	// take takes a proposal or commit of another.
	take(msg []byte) error
	send(text, aad []byte) ([]byte, error)
	read(msg []byte) (text, aad []byte, err error)
	info() ([]byte, error)
	joinExternal(info []byte) (commit []byte, err error)
	state() (epoch uint64, authenticator, exported []byte, err error)
}

// ours is a member of this package.
type ours struct {
	*person
}

func (o *ours) name() string       { return o.person.name }
func (o *ours) keyPackage() []byte { return o.person.keyPackage().Marshal() }

func (o *ours) join(welcome []byte) (err error) {
	o.group, err = Join(o.cfg, welcome, JoinOptions{})
	return err
}

func (o *ours) commit(opt CommitOptions) ([]byte, []byte, error) {
	ch, err := o.group.Commit(opt)
	if err != nil {
		return nil, nil, err
	}
	var welcome []byte
	if len(ch.Welcomes) > 0 {
		welcome = ch.Welcomes[0]
	}
	return ch.Commit, welcome, ch.Apply()
}

func (o *ours) add(keyPackages [][]byte) ([]byte, []byte, error) {
	var opt CommitOptions
	for _, b := range keyPackages {
		k, err := ParseKeyPackage(b)
		if err != nil {
			return nil, nil, err
		}
		opt.Proposals = append(opt.Proposals, &Add{k})
	}
	return o.commit(opt)
}

func (o *ours) find(name string) LeafIndex {
	i, ok := o.group.Find(func(_ LeafIndex, l *LeafNode) bool { return string(l.Credential.Identity) == name })
	if !ok {
		o.t.Fatalf("%s sees no %s", o.person.name, name)
	}
	return i
}

func (o *ours) remove(name string) ([]byte, error) {
	c, _, err := o.commit(CommitOptions{Proposals: []Proposal{&Remove{o.find(name)}}})
	return c, err
}

func (o *ours) refresh() ([]byte, error) {
	c, _, err := o.commit(CommitOptions{})
	return c, err
}

func (o *ours) proposeRemove(name string) ([]byte, error) {
	return o.group.Propose(&Remove{o.find(name)}, nil)
}

func (o *ours) proposeAdd(b []byte) ([]byte, error) {
	k, err := ParseKeyPackage(b)
	if err != nil {
		return nil, err
	}
	return o.group.Propose(&Add{k}, nil)
}

func (o *ours) proposePSK() ([]byte, error) {
	p, err := o.group.NewResumptionPSK(o.group.ID(), o.group.Epoch())
	if err != nil {
		return nil, err
	}
	return o.group.Propose(p, nil)
}

func (o *ours) commitPending() ([]byte, []byte, error) { return o.commit(CommitOptions{}) }

func (o *ours) take(msg []byte) error {
	r, err := o.group.Process(msg)
	if err != nil || r.Change == nil {
		return err
	}
	return r.Change.Apply()
}

func (o *ours) send(text, aad []byte) ([]byte, error) { return o.group.Protect(nil, text, aad) }

func (o *ours) read(msg []byte) ([]byte, []byte, error) {
	r, err := o.group.Process(msg)
	if err != nil {
		return nil, nil, err
	}
	return r.Application, r.AAD, nil
}

func (o *ours) info() ([]byte, error) { return o.group.GroupInfo(true, true) }

func (o *ours) joinExternal(info []byte) (commit []byte, err error) {
	o.group, commit, err = JoinExternal(o.cfg, info, ExternalOptions{})
	return commit, err
}

func (o *ours) state() (uint64, []byte, []byte, error) {
	exported, err := o.group.Export("label", []byte("context"), 32)
	return o.group.Epoch(), authenticator(o.t, o.group), exported, err
}

// theirs is a member of mls-go.
type theirs struct {
	id     string
	client *oracle.Client
	group  []byte
	suite  CipherSuite
}

func newTheirs(t testing.TB, cs CipherSuite, name string) *theirs {
	t.Helper()
	return &theirs{id: name, suite: cs, client: must[*oracle.Client](t)(oracle.NewClient([]byte(name), ciphersuite.CipherSuite(cs),
		oracle.WithCacheStrategy(oracle.CacheAlways), // it forgets skipped keys when it stores a group
		oracle.WithLogger(slog.New(slog.DiscardHandler))))}
}

func (o *theirs) name() string { return o.id }

func (o *theirs) keyPackage() []byte {
	b, err := o.client.FreshKeyPackageBytes(context.Background())
	if err != nil {
		panic(err)
	}
	return append(appendMessageHead(nil, WireKeyPackage), b...)
}

func (o *theirs) join(welcome []byte) (err error) {
	o.group, err = o.client.JoinGroup(context.Background(), welcome)
	return err
}

func (o *theirs) add(keyPackages [][]byte) (commit, welcome []byte, err error) {
	for _, k := range keyPackages {
		if _, err := o.proposeAdd(k); err != nil {
			return nil, nil, err
		}
	}
	return o.commitPending()
}

func (o *theirs) remove(name string) ([]byte, error) {
	return o.client.RemoveMember(context.Background(), o.group, []byte(name))
}

// refresh commits nothing: SelfUpdate would put an update of the committer into its commit, which section 12.2 forbids.
func (o *theirs) refresh() ([]byte, error) {
	c, _, err := o.commitPending()
	return c, err
}

func (o *theirs) proposeRemove(name string) ([]byte, error) {
	return o.client.ProposeRemoveMember(context.Background(), o.group, []byte(name))
}

func (o *theirs) proposeAdd(k []byte) ([]byte, error) {
	return o.client.ProposeAddMember(context.Background(), o.group, k[4:])
}

func (o *theirs) proposePSK() ([]byte, error) {
	epoch, err := o.client.Epoch(context.Background(), o.group)
	if err != nil {
		return nil, err
	}
	return o.client.ProposeResumptionPSK(context.Background(), o.group, epoch)
}

func (o *theirs) commitPending() (commit, welcome []byte, err error) {
	return o.client.CommitPendingProposals(context.Background(), o.group)
}

func (o *theirs) take(msg []byte) error {
	m, err := ParseMessage(msg)
	if err != nil {
		return err
	}
	if m.public != nil && m.public.content.kind == ContentCommit && m.public.content.sender.Type == SenderMember {
		return o.client.ProcessCommit(context.Background(), o.group, msg)
	}
	return o.client.ProcessPublicMessage(context.Background(), o.group, msg)
}

func (o *theirs) send(text, aad []byte) ([]byte, error) {
	return o.client.SendMessage(context.Background(), o.group, text, oracle.WithAAD(aad))
}

func (o *theirs) read(msg []byte) ([]byte, []byte, error) {
	r, err := o.client.ReceiveMessage(context.Background(), o.group, msg)
	if err != nil {
		return nil, nil, err
	}
	return r.Plaintext, r.AuthenticatedData, nil
}

func (o *theirs) info() ([]byte, error) {
	b, err := o.client.GroupInfo(context.Background(), o.group)
	return append(appendMessageHead(nil, WireGroupInfo), b...), err
}

func (o *theirs) joinExternal(info []byte) (commit []byte, err error) {
	o.group, commit, err = o.client.ExternalJoin(context.Background(), info[4:])
	return commit, err
}

func (o *theirs) state() (epoch uint64, authenticator, exported []byte, err error) {
	ctx := context.Background()
	if epoch, err = o.client.Epoch(ctx, o.group); err != nil {
		return 0, nil, nil, err
	}
	if authenticator, err = o.client.EpochAuthenticator(ctx, o.group); err != nil {
		return 0, nil, nil, err
	}
	exported, err = o.client.Export(ctx, o.group, "label", []byte("context"), 32)
	return epoch, authenticator, exported, err
}

// history is a random life of a group whose members are of both implementations.
type history struct {
	t       *testing.T
	rng     *rand.Rand
	suite   CipherSuite
	members []member
	made    int
	log     []string
	joined  member // by an external commit, in this epoch
	keyed   bool   // all have the resumption key of this epoch: mls-go has none of epoch 0 and of one it joins by an external commit
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("%s\nhistory:\n%s", fmt.Sprintf(format, args...), joinLines(h.log))
}

func joinLines(lines []string) string {
	var b bytes.Buffer
	for _, l := range lines {
		fmt.Fprintln(&b, " ", l)
	}
	return b.String()
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

// person makes a client of one implementation or the other.
func (h *history) person() member {
	h.made++
	if h.rng.IntN(2) == 0 {
		return newTheirs(h.t, h.suite, fmt.Sprintf("theirs%d", h.made))
	}
	p := newPerson(h.t, h.suite, fmt.Sprintf("ours%d", h.made), func(c *Config) { c.Now, c.Rand = time.Now, nil })
	return &ours{person: p}
}

// told gives a message to all but one.
func (h *history) told(by member, msg []byte) {
	h.t.Helper()
	for _, m := range h.members {
		if m != by {
			if err := m.take(msg); err != nil {
				h.fail("%s does not take a message of %s: %v", m.name(), by.name(), err)
			}
		}
	}
}

func (h *history) any() member { return h.members[h.rng.IntN(len(h.members))] }

// newcomers are up to n clients.
func (h *history) newcomers(n int) (people []member, packages [][]byte) {
	for range 1 + h.rng.IntN(n) {
		p := h.person()
		people, packages = append(people, p), append(packages, p.keyPackage())
	}
	return people, packages
}

func (h *history) welcomed(people []member, welcome []byte) {
	h.t.Helper()
	for _, p := range people {
		if err := p.join(welcome); err != nil {
			h.fail("%s does not join: %v", p.name(), err)
		}
		h.members = append(h.members, p)
	}
}

// leave drops a member from the list.
func (h *history) leave(name string) {
	for i, m := range h.members {
		if m.name() == name {
			h.members = append(h.members[:i:i], h.members[i+1:]...)
			return
		}
	}
}

// step is one random event.
func (h *history) step(most int) {
	h.t.Helper()
	by := h.any()
	check := func(err error) {
		h.t.Helper()
		if err != nil {
			h.fail("%s: %v", by.name(), err)
		}
	}
	var victim member
	if len(h.members) > 2 {
		for victim = h.any(); victim == by; victim = h.any() {
		}
	}
	switch what := h.rng.IntN(10); {
	case what < 3 && len(h.members) < most:
		people, packages := h.newcomers(min(4, most-len(h.members)))
		h.note("%s adds %d", by.name(), len(people))
		commit, welcome, err := by.add(packages)
		check(err)
		h.told(by, commit)
		h.welcomed(people, welcome)
	case what == 3 && victim != nil:
		h.note("%s removes %s", by.name(), victim.name())
		commit, err := by.remove(victim.name())
		check(err)
		h.leave(victim.name())
		h.told(by, commit)
	case what == 4 && victim != nil:
		committer := h.any()
		for ; committer == victim; committer = h.any() {
		}
		h.note("%s proposes to remove %s, %s commits", by.name(), victim.name(), committer.name())
		p, err := by.proposeRemove(victim.name())
		check(err)
		h.told(by, p)
		commit, _, err := committer.commitPending()
		check(err)
		h.leave(victim.name())
		h.told(committer, commit)
	case what == 5 && len(h.members) < most:
		people, packages := h.newcomers(1)
		committer := h.any()
		h.note("%s proposes to add %s, %s commits", by.name(), people[0].name(), committer.name())
		p, err := by.proposeAdd(packages[0])
		check(err)
		h.told(by, p)
		commit, welcome, err := committer.commitPending()
		check(err)
		h.told(committer, commit)
		h.welcomed(people, welcome)
	case what == 6 && h.keyed:
		h.note("%s proposes a resumption key, and commits", by.name())
		p, err := by.proposePSK()
		check(err)
		h.told(by, p)
		commit, _, err := by.commitPending()
		check(err)
		h.told(by, commit)
	case what == 7 && len(h.members) < most && by != h.joined: // the group info that mls-go makes right behind its external join is wrong
		p := h.person()
		h.note("%s joins by an external commit, with a group info of %s", p.name(), by.name())
		info, err := by.info()
		check(err)
		commit, err := p.joinExternal(info)
		if err != nil {
			h.fail("%s: %v", p.name(), err)
		}
		h.told(p, commit)
		h.members = append(h.members, p)
		h.joined, h.keyed = p, false
		h.agree()
		return
	default:
		h.note("%s refreshes", by.name())
		commit, err := by.refresh()
		check(err)
		h.told(by, commit)
	}
	h.joined, h.keyed = nil, true
	h.agree()
}

// agree compares what both sides know, and lets some talk, out of order.
func (h *history) agree() {
	h.t.Helper()
	epoch, authenticator, exported, err := h.members[0].state()
	if err != nil {
		h.fail("%v", err)
	}
	for _, m := range h.members[1:] {
		e, a, x, err := m.state()
		if err != nil || e != epoch || !bytes.Equal(a, authenticator) || !bytes.Equal(x, exported) {
			h.fail("%s and %s differ: epochs %d, %d; %v", h.members[0].name(), m.name(), epoch, e, err)
		}
	}
	from := h.any()
	var msgs [][]byte
	for i := range 1 + h.rng.IntN(4) {
		msg, err := from.send(fmt.Appendf(nil, "text %d", i), []byte("aad"))
		if err != nil {
			h.fail("%s: %v", from.name(), err)
		}
		msgs = append(msgs, msg)
	}
	for _, m := range h.members {
		if m == from {
			continue
		}
		for _, i := range h.rng.Perm(len(msgs)) {
			text, aad, err := m.read(msgs[i])
			if err != nil || string(text) != fmt.Sprintf("text %d", i) || string(aad) != "aad" {
				h.fail("%s reads %q, %q of %s: %v", m.name(), text, aad, from.name(), err)
			}
		}
	}
}

// Groups of members of this package and of mls-go live through random histories: all are in the same epochs with the same secrets, and
// read each other. MLS_HISTORIES is how many, MLS_SEED where to begin.
func TestDifferentialHistories(t *testing.T) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	first, count := number("MLS_SEED", 1), number("MLS_HISTORIES", 20)
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := &history{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0)), suite: CipherSuite(1 + seed%3)}
			most := 2 + h.rng.IntN(8)
			if seed%10 == 0 {
				most = 50
			}
			creator := newPerson(t, h.suite, "creator", func(c *Config) { c.Now, c.Rand = time.Now, nil })
			creator.group = must[*Group](t)(Create(creator.cfg, nil))
			h.members = []member{&ours{person: creator}}
			if h.rng.IntN(2) == 0 {
				o := newTheirs(t, h.suite, "creator")
				if _, err := o.client.FreshKeyPackageBytes(t.Context()); err != nil {
					t.Fatal(err)
				}
				o.group = must[[]byte](t)(o.client.CreateGroup(t.Context()))
				h.members = []member{o}
			}
			for range 8 + h.rng.IntN(8) {
				h.step(most)
			}
			for len(h.members) < most && most == 50 {
				people, packages := h.newcomers(min(8, most-len(h.members)))
				by := h.any()
				commit, welcome, err := by.add(packages)
				if err != nil {
					h.fail("%s: %v", by.name(), err)
				}
				h.told(by, commit)
				h.welcomed(people, welcome)
				h.step(most)
			}
		})
	}
}
