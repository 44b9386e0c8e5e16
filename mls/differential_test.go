package mls

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// member is one side of a group in a differential run: ours, or that of another implementation.
type member interface {
	name() string // its identity
	traits() traits
	keyPackage() []byte
	join(welcome []byte) error
	// propose makes a proposal, which waits; commit commits what waits, with others by value, and applies it.
	propose(wish) ([]byte, error)
	commit(values ...wish) (commit, welcome []byte, err error)
	// take takes a proposal or commit of another, leave the commit that removes it.
	take(msg []byte) error
	leave(commit []byte) error
	learn(id string, key []byte) error
	send(text, aad []byte) ([]byte, error)
	read(msg []byte) (text, aad []byte, err error)
	info() ([]byte, error)
	joinExternal(info []byte) (commit []byte, err error)
	state() (epoch uint64, authenticator, exported []byte, err error)
}

// traits are what a client cannot do, and where its implementation does otherwise than RFC 9420 says, so that histories
// go around it. The tests of departures show the latter one by one.
type traits struct {
	plain         bool // does not support the extension theExtension
	noUpdates     bool // has no way to propose an update
	noKeys        bool // has no way to be given an external key
	noExtensions  bool // commits extensions without a path, and seals paths for the old ones (sections 12.4, 12.4.1)
	oldRules      bool // judges adds by the extensions that the same list replaces (section 12.3)
	oldKeys       bool // refuses an add with a key of a leaf that the same list removes (section 12.2)
	oneNonce      bool // refuses a key that is named twice with two nonces (section 12.2)
	otherRequired bool // reads required_capabilities otherwise (section 11.1)
	overlooks     bool // once it has committed, does not see that it is the client who is added (section 7.3)
	whole         bool // commits all that waits, although it does not go together (section 12.4)
	blind         bool // does not see that it is removed where another comes into its leaf
	noResumption  bool // has no way to name a resumption key, and keeps none
	ownKeyOrder   bool // commits keys by reference and keys by value in two orders (section 8.4)
	lenient       bool // follows removals of a member twice, and a reinit beside others (section 12.2)
	lateKeys      bool // has no resumption key of an epoch that it began, or entered by an external commit
}

// theExtension is one of the group context that some clients support.
const theExtension ExtensionType = 0xf00d

// ours is a member of this package.
type ours struct {
	*person
	last int // proposals in the commit that it has applied last
}

func (o *ours) name() string       { return string(o.cfg.Credential.Identity) }
func (o *ours) keyPackage() []byte { return o.person.keyPackage().Marshal() }

func (o *ours) traits() traits {
	return traits{plain: !slices.Contains(o.cfg.Capabilities.Extensions, theExtension)}
}

func (o *ours) join(welcome []byte) (err error) {
	o.group, err = Join(o.cfg, welcome, JoinOptions{})
	return err
}

// proposal is nil of an update.
func (o *ours) proposal(w wish) (Proposal, error) {
	switch w.kind {
	case ProposalAdd:
		k, err := ParseKeyPackage(w.keyPackage)
		return &Add{k}, err
	case ProposalRemove:
		return &Remove{o.find(w.member)}, nil
	case ProposalPSK:
		if w.key != "" {
			return o.group.NewPSK([]byte(w.key))
		}
		return o.group.NewResumptionPSK(o.group.ID(), w.epoch)
	case ProposalGroupContextExtensions:
		return &GroupContextExtensions{w.extensions}, nil
	}
	return nil, nil
}

func (o *ours) find(name string) LeafIndex {
	i, ok := o.group.Find(func(_ LeafIndex, l *LeafNode) bool { return string(l.Credential.Identity) == name })
	if !ok {
		o.t.Fatalf("%s sees no %s", o.name(), name)
	}
	return i
}

func (o *ours) propose(w wish) ([]byte, error) {
	p, err := o.proposal(w)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return o.group.ProposeUpdate(Identity{}, nil)
	}
	return o.group.Propose(p, nil)
}

func (o *ours) commit(values ...wish) ([]byte, []byte, error) {
	var opt CommitOptions
	for _, w := range values {
		p, err := o.proposal(w)
		if err != nil {
			return nil, nil, err
		}
		opt.Proposals = append(opt.Proposals, p)
	}
	ch, err := o.group.Commit(opt)
	if err != nil {
		return nil, nil, err
	}
	o.last = len(ch.Proposals)
	var welcome []byte
	if len(ch.Welcomes) > 0 {
		welcome = ch.Welcomes[0]
	}
	return ch.Commit, welcome, ch.Apply()
}

func (o *ours) leave(commit []byte) error {
	if err := o.take(commit); err != nil {
		return err
	}
	if o.group.Active() {
		return errors.New("is in the group still")
	}
	return nil
}

func (o *ours) learn(id string, key []byte) error {
	o.psks[id] = key
	return nil
}

func (o *ours) take(msg []byte) error {
	r, err := o.group.Process(msg)
	if err != nil || r.Change == nil {
		return err
	}
	o.last = len(r.Change.Proposals)
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

// history is a random life of a group whose members are of this package and of another.
type history struct {
	t        *testing.T
	rng      *rand.Rand
	suite    CipherSuite
	most     int // members
	members  []member
	since    map[member]uint64   // the first epoch whose resumption key it has
	client   func(client) member // makes one of an implementation
	made     int
	log      []string
	extended bool      // the group context has theExtension
	harmless Extension // one of the group context that everybody can read
	joined   member    // by an external commit, in this epoch

	// What ts-mls cannot do; nil: nothing.
	removable func(gone []member) bool
	barred    func(m member, err error) bool // err keeps m from joining
	refused   int                            // joins
}

// client is who somebody shall be.
type client struct {
	name   string
	keys   member // whose signature keys it has; nil: new ones
	modern bool   // supports theExtension
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

func (h *history) check(m member, err error) {
	h.t.Helper()
	if err != nil {
		h.fail("%s: %v", m.name(), err)
	}
}

func (h *history) likely(one, of int) bool { return h.rng.IntN(of) < one }

// person makes a client that can be added to the group as it is.
func (h *history) person() member {
	h.t.Helper()
	h.made++
	return h.client(client{name: fmt.Sprintf("client%d", h.made), modern: h.extended || h.likely(1, 2)})
}

// newOurs makes a client of this package.
func (h *history) newOurs(c client, change ...func(*Config)) *ours {
	return &ours{person: newPerson(h.t, h.suite, c.name, append(change, func(cfg *Config) {
		cfg.Now, cfg.Rand = time.Now, nil
		cfg.Key = must[*SigningKey](h.t)(GenerateSigningKey(h.suite, nil))
		if c.modern {
			cfg.Capabilities.Extensions = []ExtensionType{theExtension}
		}
		if c.keys != nil {
			cfg.Key = c.keys.(*ours).cfg.Key
		}
	})...)}
}

// begin is the group's first epoch.
func (h *history) begin(creator member) {
	h.note("%s creates the group", creator.name())
	h.members, h.since = []member{creator}, map[member]uint64{creator: 0}
	if creator.traits().lateKeys {
		h.since[creator] = 1
	}
}

func (h *history) epoch() uint64 {
	h.t.Helper()
	epoch, _, _, err := h.members[0].state()
	h.check(h.members[0], err)
	return epoch
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

// room is how many more members there may be.
func (h *history) room() int { return h.most - len(h.members) }

// newcomers are 1 to n clients.
func (h *history) newcomers(n int) (people []member, packages []wish) {
	h.t.Helper()
	for range 1 + h.rng.IntN(n) {
		p := h.person()
		people, packages = append(people, p), append(packages, wish{kind: ProposalAdd, keyPackage: p.keyPackage()})
	}
	return people, packages
}

// enter lets those in who were added by a commit that all members have taken. by removes again those who are barred.
func (h *history) enter(by member, people []member, welcome []byte) {
	h.t.Helper()
	var out []wish
	for _, p := range people {
		if err := p.join(welcome); err != nil && h.barred != nil && h.barred(p, err) {
			h.note("%s cannot join", p.name())
			h.refused++
			out = append(out, wish{kind: ProposalRemove, member: p.name()})
		} else {
			h.check(p, err)
			h.members, h.since[p] = append(h.members, p), h.epoch()
		}
	}
	if len(out) > 0 {
		commit, _, err := by.commit(out...)
		h.check(by, err)
		h.told(by, commit)
	}
}

// without drops a member from the list.
func (h *history) without(gone member) {
	h.members = slices.DeleteFunc(slices.Clone(h.members), func(m member) bool { return m == gone })
	delete(h.since, gone)
}

// victim is someone whom by can remove beside others; nil if there is none.
func (h *history) victim(by member, others ...member) member {
	v := h.any()
	if len(h.members)-len(others) <= 2 || v == by || slices.Contains(others, v) {
		return nil
	}
	if h.removable != nil && !h.removable(append(others, v)) {
		return nil
	}
	return v
}

// step is one random event.
func (h *history) step() {
	h.t.Helper()
	by := h.any()
	joined := member(nil)
	switch what := h.rng.IntN(12); {
	case what < 3 && h.room() > 0:
		people, packages := h.newcomers(min(4, h.room()))
		h.note("%s adds %s", by.name(), listed(people))
		commit, welcome, err := by.commit(packages...)
		h.check(by, err)
		h.told(by, commit)
		h.enter(by, people, welcome)
	case what == 3 && h.room() > 0 && by != h.joined: // mls-go makes a wrong group info right after its external join
		joined = h.joinFromOutside(by)
	case what == 4:
		h.note("%s refreshes", by.name())
		commit, _, err := by.commit()
		h.check(by, err)
		h.told(by, commit)
	case what < 7:
		joined = h.joined // the epoch is the same
		h.refuseTogether()
	default:
		h.commitTogether(by)
	}
	h.joined = joined
	h.agree()
}

// joinFromOutside lets a new client join; nil if it is barred.
func (h *history) joinFromOutside(by member) member {
	h.t.Helper()
	p := h.person()
	h.note("%s joins by an external commit, with a group info of %s", p.name(), by.name())
	info, err := by.info()
	h.check(by, err)
	commit, err := p.joinExternal(info)
	if err != nil && h.barred != nil && h.barred(p, err) {
		h.note("%s cannot", p.name())
		h.refused++
		return nil
	}
	h.check(p, err)
	h.told(p, commit)
	h.members, h.since[p] = append(h.members, p), h.epoch()
	if p.traits().lateKeys {
		h.since[p]++
	}
	return p
}

func listed(people []member) string {
	var list []string
	for _, p := range people {
		list = append(list, p.name())
	}
	return strings.Join(list, ", ")
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

// long asks for many repetitions of what go test tries a few times, as CI does.
var long = os.Getenv("SLIMGO_TEST_LONG") != ""

// number is a setting of the environment.
func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	return must[int](t)(strconv.Atoi(s))
}

// Groups of members of this package and of mls-go live through random histories: all are in the same epochs with the
// same secrets, and read each other. Many commits hold lists of proposals that are valid only together, and some forged
// ones are refused by all. MLS_HISTORIES is how many (CI: 20), MLS_SEED where to begin.
func TestDifferentialHistories(t *testing.T) {
	first, count := number(t, "MLS_SEED", 1), number(t, "MLS_HISTORIES", 3)
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := withMLSGo(t, seed)
			for range 8 + h.rng.IntN(8) {
				h.step()
			}
			for h.most == 50 && h.room() > 0 {
				people, packages := h.newcomers(min(8, h.room()))
				by := h.any()
				commit, welcome, err := by.commit(packages...)
				h.check(by, err)
				h.told(by, commit)
				h.enter(by, people, welcome)
				h.step()
			}
		})
	}
}
