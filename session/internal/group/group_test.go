package group

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/simnet"
	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

var secret = []byte("a secret of thirty-two characters, or more")

// world is a node and its apps, in a time of its own. Messages take a while, get lost and doubled as the test wants.
type world struct {
	simnet.Schedule
	t       *testing.T
	r       *rand.Rand
	apps    []*app
	faults  simnet.Faults
	carried uint64
	reach   func(from, to *app) bool
	tap     func(from *app, m *message.Message) // sees what is said; nil: nobody does
	trace   []string                            // what was said, without data's acknowledgements
	keep    bool                                // apps note what they need to be started again
}

// app has one session at most.
type app struct {
	w       *world
	self    Self
	signing *mls.SigningKey
	secret  *identity.Secret
	names   map[wire.Name]bool // subscriptions

	member  Machine
	open    bool // the session is there for the app
	ended   bool
	why     error
	got     map[string][]string // texts by the last part of their source's name
	notices []string
	results map[string]error
	due     time.Time
	stores  func() // called before what the machine wants done is; nil: not

	declines string // why it takes no invitation
	anew     int    // invitations that came after the end
}

func newWorld(t *testing.T, seed uint64, names ...string) *world {
	w := &world{
		Schedule: simnet.Schedule{Now: time.Now()}, t: t, r: rand.New(rand.NewPCG(seed, 1)), reach: func(_, _ *app) bool { return true },
		faults: simnet.Faults{Seed: seed, Delay: 5 * time.Millisecond, Jitter: 45 * time.Millisecond, Duplicate: 0.05},
	}
	for _, name := range names {
		key, err := mls.GenerateSigningKey(Suite, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := identity.NewSecret("org/ns/"+name, secret, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		signer, err := identity.NewKey(key.Bytes(), key.Public())
		if err != nil {
			t.Fatal(err)
		}
		a := &app{w: w, signing: key, secret: s, names: map[wire.Name]bool{}, got: map[string][]string{}, results: map[string]error{}}
		a.self = Self{
			Name: identity.Name(wire.Text("org", "ns", name), s.Subject()), Subject: s.Subject(), Token: s.Token, Key: signer,
			Version: Product + " test", Sends: true, Receives: true,
		}
		a.names[a.self.Name.Name] = true
		w.apps = append(w.apps, a)
	}
	return w
}

func (w *world) app(name string) *app {
	for _, a := range w.apps {
		if a.self.Name.Str[2] == name {
			return a
		}
	}
	w.t.Fatalf("there is no %s", name)
	return nil
}

func (a *app) options(kind message.Kind, encrypted bool, data reliable.Options) Options {
	o := Options{Kind: kind, ID: 7, Self: a.self, Data: data, Random: a.w.r.Uint32, Strict: true, Keep: a.w.keep}
	if encrypted {
		o.MLS = NewMLS(a.secret.Token(a.w.Now), a.signing, func(token string) (*identity.Claims, error) { return a.secret.Verify(token, a.w.Now) })
		o.MLS.Now = func() time.Time { return a.w.Now }
	}
	return o
}

func (a *app) step(ev Event) {
	if a.member == nil {
		return
	}
	a.member.Step(ev, a.w.Now)
	a.apply()
}

// apply does what the machine wants done.
func (a *app) apply() {
	var sent Sent
	defer func() {
		if len(sent.Copies) > 0 {
			a.step(&sent)
		}
	}()
	if a.stores != nil {
		a.stores()
	}
	for _, o := range a.member.Take() {
		switch o := o.(type) {
		case Send:
			a.w.carry(a, o.Message)
			if o.Of != nil {
				sent.Copies = append(sent.Copies, SentCopy{Of: o.Of})
			}
		case Subscribe:
			a.w.After(time.Millisecond, func() {
				a.names[o.Name.Name] = true
				a.step(Subscribed{Name: o.Name})
			})
		case Unsubscribe:
			delete(a.names, o.Name.Name)
		case Deliver:
			from := o.Received.Source.Str[2]
			a.got[from] = append(a.got[from], string(o.Received.Payload.Blob))
		case Resolve:
			h := o.Handle.(string)
			if _, again := a.results[h]; again {
				a.w.t.Errorf("%s: %s is resolved twice", a.self.Name.Str[2], h)
			}
			a.results[h] = o.Err
		case Delivered:
			for _, h := range *o.Messages {
				if _, again := a.results[h.(string)]; again {
					a.w.t.Errorf("%s: %s is resolved twice", a.self.Name.Str[2], h)
				}
				a.results[h.(string)] = nil
			}
		case Notify:
			a.open = a.open || o.Notice == Opened{}
			a.notices = append(a.notices, fmt.Sprintf("%T", o.Notice))
			if r, ok := o.Notice.(Refused); ok {
				a.notices = append(a.notices, fmt.Sprintf("refused %v of %s: %v", r.Type, r.From.Str[2], r.Err))
			}
		case Anew:
			a.anew++
		case End:
			a.ended, a.why = true, o.Err
		}
		a.member.Recycle(o)
	}
	if at := a.member.Deadline(); !at.IsZero() && !at.Equal(a.due) {
		a.due = at
		a.w.After(at.Sub(a.w.Now), func() { a.step(Tick{}) })
	}
}

// carry brings an encoded message to whom it is for.
func (w *world) carry(from *app, m *message.Message) {
	if m.Type.Control() {
		to := m.Dest.Str[2]
		w.trace = append(w.trace, fmt.Sprintf("%s -> %s: %v", from.self.Name.Str[2], to, m.Type))
	}
	b := m.Append(nil)
	if w.tap != nil {
		w.tap(from, m)
	}
	var to []*app
	for _, a := range w.apps {
		if a == from {
			continue
		}
		ok := a.names[m.Dest.Name]
		if m.Dest.Name.IsNull() {
			ok = a.self.Name.Name.C == m.Dest.Name.C
		}
		if ok {
			to = append(to, a)
		}
	}
	for _, a := range to {
		w.carried++
		if !w.reach(from, a) {
			continue
		}
		for _, c := range w.faults.Copies("", w.carried) {
			w.After(c.After, func() { a.hear(b) })
		}
	}
}

// hear takes a message from the node, as an app does that has no session or one.
func (a *app) hear(b []byte) {
	m, err := message.Decode(b)
	if err != nil {
		a.w.t.Fatal(err)
	}
	in := Inbound{Message: m, At: a.w.Now}
	in.Claims, in.Why = a.secret.Verify(m.Identity, a.w.Now)
	if in.Why != nil {
		in.Claims = nil
	}
	switch {
	case m.Type == message.DiscoveryRequest && (a.member == nil || a.ended):
		if reply, _, err := Answer(a.self, &in, m.Dest, false); err == nil {
			a.w.carry(a, reply)
		}
	case m.Type == message.JoinRequest && a.declines != "":
		a.w.carry(a, Decline(a.self, &in, a.declines))
	case m.Type == message.JoinRequest && a.member == nil:
		join := m.Command.(*message.Join)
		data := reliable.Options{}
		if join.Timers != nil {
			data = reliable.Options{Interval: time.Duration(join.Timers.Timeout) * time.Millisecond, Retries: int(join.Timers.Retries)}
		}
		p, err := NewParticipant(a.options(m.Kind, join.MLS != nil, data), &in, a.w.Now)
		if err != nil {
			a.w.t.Errorf("%s is invited: %v", a.self.Name.Str[2], err)
			return
		}
		a.member = p
		a.apply()
	case a.member == nil:
	case m.Type.Control():
		why, take := a.member.Screen(m, a.w.Now)
		if take {
			a.step(&in)
		} else if why != nil {
			a.notices = append(a.notices, fmt.Sprint("screened ", m.Type, ": ", why))
		}
	default:
		if a.w.r.IntN(2) == 0 {
			if in.Sealed = a.member.Prepare(m); in.Sealed != nil {
				in.Sealed.Verify()
				defer in.Sealed.Drop()
			}
		}
		a.step(&in)
	}
}

func (a *app) moderate(o Options, dest wire.NameText) {
	m, err := NewModerator(o, dest)
	if err != nil {
		a.w.t.Fatal(err)
	}
	a.member = m
}

func (a *app) publish(text string) {
	a.step(&Publish{reliable.Payload{Type: "text", Blob: []byte(text)}, text})
}

func (a *app) roster() string {
	var names []string
	for _, p := range a.member.Roster() {
		name := p.Name.Str[2]
		if p.Offline {
			name += " (offline)"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (a *app) result(h string) {
	a.w.t.Helper()
	if err, ok := a.results[h]; !ok || err != nil {
		a.w.t.Errorf("%s: %s: resolved %v, %v; %v", a.self.Name.Str[2], h, ok, err, a.notices)
	}
}

var (
	fast  = reliable.Options{Interval: 200 * time.Millisecond, Retries: 20}
	kinds = []bool{false, true}
)

func TestPointToPoint(t *testing.T) {
	t.Parallel()
	for _, encrypted := range kinds {
		for _, loss := range []float64{0, 0.2} {
			w := newWorld(t, 1, "alice", "bob")
			w.faults.Loss = loss
			alice, bob := w.app("alice"), w.app("bob")
			o := alice.options(message.PointToPoint, encrypted, fast)
			o.Control = reliable.Options{Interval: 200 * time.Millisecond, Retries: 20}
			alice.moderate(o, bob.self.Name.WithID(wire.Null, wire.Null))
			alice.step(Invite{Name: bob.self.Name.WithID(wire.Null, wire.Null), Handle: "invite"})
			w.Run(10 * time.Second)
			alice.result("invite")
			if !bob.open {
				t.Fatalf("bob has no session: %v", bob.notices)
			}
			var want []string
			for i := range 50 {
				text := fmt.Sprint("text ", i)
				want = append(want, text)
				alice.publish(text)
				bob.publish(text)
				w.Run(20 * time.Millisecond)
			}
			w.Run(20 * time.Second)
			for _, a := range w.apps {
				for _, text := range want {
					a.result(text)
				}
			}
			if got := bob.got["alice"]; !slices.Equal(got, want) {
				t.Errorf("bob got %v", got)
			}
			if got := alice.got["bob"]; !slices.Equal(got, want) {
				t.Errorf("alice got %v", got)
			}
			bob.step(Leave{"leave"})
			w.Run(20 * time.Second)
			bob.result("leave")
			if !alice.ended || !bob.ended {
				t.Errorf("alice's session is over %v, bob's %v", alice.ended, bob.ended)
			}
			if t.Failed() {
				t.Fatalf("encrypted %v, loss %v: %v\n%v", encrypted, loss, alice.notices, bob.notices)
			}
		}
	}
}

func TestGroup(t *testing.T) {
	t.Parallel()
	for _, encrypted := range kinds {
		for _, loss := range []float64{0, 0.1} {
			w := newGroup(t, 2, encrypted, loss, "alice", "bob", "carol", "dave")
			alice := w.app("alice")
			for _, a := range w.apps {
				if got := a.roster(); got != "alice bob carol dave" {
					t.Errorf("%s knows %s", a.self.Name.Str[2], got)
				}
			}
			everybodyTalks(w, w.apps, "at first")
			alice.step(Remove{Name: wire.Text("org", "ns", "carol"), Handle: "remove"})
			w.Run(30 * time.Second)
			alice.result("remove")
			carol := w.app("carol")
			if !carol.ended || carol.why != ErrRemoved {
				t.Errorf("carol's session is over %v, %v", carol.ended, carol.why)
			}
			rest := []*app{alice, w.app("bob"), w.app("dave")}
			everybodyTalks(w, rest, "without carol")
			w.app("bob").step(Leave{"leave"})
			w.Run(30 * time.Second)
			w.app("bob").result("leave")
			if got := alice.roster() + ", " + w.app("dave").roster(); got != "alice dave, alice dave" {
				t.Errorf("the rest are %s", got)
			}
			alice.step(Leave{"close"})
			w.Run(30 * time.Second)
			alice.result("close")
			for _, a := range w.apps {
				if !a.ended || !a.member.Deadline().IsZero() || len(a.names) != 1 {
					t.Errorf("%s: over %v, %d subscriptions", a.self.Name.Str[2], a.ended, len(a.names))
				}
			}
			if t.Failed() {
				t.Fatalf("encrypted %v, loss %v: %v\n%v", encrypted, loss, alice.notices, w.trace)
			}
		}
	}
}

// everybodyTalks has all of them publish, and sees that all others get it.
func everybodyTalks(w *world, apps []*app, about string) {
	w.t.Helper()
	var want []string
	for i := range 20 {
		text := fmt.Sprint(i, " ", about)
		want = append(want, text)
		for _, a := range apps {
			a.publish(text)
		}
		w.Run(20 * time.Millisecond)
	}
	w.Run(20 * time.Second)
	for _, a := range apps {
		for _, text := range want {
			a.result(text)
		}
		for _, from := range apps {
			if got := a.got[from.self.Name.Str[2]]; a != from && !slices.Equal(got, want) {
				w.t.Errorf("%s got of %s %v", a.self.Name.Str[2], from.self.Name.Str[2], got)
			}
			a.got[from.self.Name.Str[2]] = nil
		}
	}
}

// Members that go and come back know each other again, also when others have come and gone meanwhile.
func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	for _, encrypted := range kinds {
		for _, loss := range []float64{0, 0.1} {
			w := newGroup(t, 3, encrypted, loss, "alice", "bob", "carol", "dave")
			alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
			bob.step(Suspend{"away"})
			w.Run(10 * time.Second)
			bob.result("away")
			for _, a := range []*app{alice, carol} {
				if got := a.roster(); got != "alice bob (offline) carol dave" {
					t.Errorf("%s knows %s", a.self.Name.Str[2], got)
				}
			}
			everybodyTalks(w, []*app{alice, carol, w.app("dave")}, "without bob")
			bob.step(Resume{"back"})
			w.Run(10 * time.Second)
			bob.result("back")
			everybodyTalks(w, w.apps, "with bob")
			carol.step(Suspend{"away"})
			w.Run(10 * time.Second)
			alice.step(Remove{Name: wire.Text("org", "ns", "dave"), Handle: "remove"})
			w.Run(20 * time.Second)
			alice.result("remove")
			carol.step(Resume{"back"})
			w.Run(40 * time.Second)
			carol.result("back")
			for _, a := range []*app{alice, bob, carol} {
				if got := a.roster(); encrypted && got != "alice bob carol" {
					t.Errorf("%s knows %s", a.self.Name.Str[2], got)
				}
			}
			everybodyTalks(w, []*app{alice, bob, carol}, "without dave")
			if t.Failed() {
				t.Fatalf("encrypted %v, loss %v: %v\n%v\n%v\n%v", encrypted, loss, alice.notices, bob.notices, carol.notices, w.trace)
			}
		}
	}
}

// Where there are no keys there are no epochs either: a member is back whatever number it tells, as upstream's apps tell 0.
func TestPlainGroupsHaveNoEpochs(t *testing.T) {
	t.Parallel()
	tell := []func(bob *app) message.Message{
		func(bob *app) message.Message {
			return message.Message{Type: message.UpdateState, Command: &message.State{Participant: bob.self.Name}}
		},
		func(*app) message.Message { return message.Message{Type: message.Heartbeat, Command: &message.Beat{}} },
	}
	for _, encrypted := range kinds {
		for _, told := range tell {
			w := newGroup(t, 8, encrypted, 0, "alice", "bob", "carol")
			alice, bob := w.app("alice"), w.app("bob")
			bob.step(Suspend{"away"})
			w.Run(time.Second)
			bob.result("away")
			m := told(bob)
			m.Kind, m.Session, m.ID, m.Source, m.Dest, m.TTL = message.Group, 7, 99, bob.self.Name, alice.self.Name, 8
			m.Identity, m.Metadata = bob.self.Token(w.Now), map[string]string{}
			if err := bob.self.Key.Sign(&m); err != nil {
				t.Fatal(err)
			}
			w.carry(bob, &m)
			w.Run(time.Second)
			want := "alice bob carol"
			if encrypted {
				want = "alice bob (offline) carol"
			}
			if got := alice.roster(); got != want {
				t.Errorf("encrypted %v, after %v: %s, want %s; %v", encrypted, m.Type, got, want, alice.notices)
			}
		}
	}
}

// A member that was cut off while others came and went finds its way back by itself.
func TestCutOffMember(t *testing.T) {
	t.Parallel()
	w := newGroup(t, 4, true, 0, "alice", "bob", "carol", "dave")
	alice, bob := w.app("alice"), w.app("bob")
	w.reach = func(from, to *app) bool { return from != bob && to != bob }
	w.Run(40 * time.Second)
	if got := alice.roster(); got != "alice bob (offline) carol dave" {
		t.Errorf("alice knows %s", got)
	}
	alice.step(Remove{Name: wire.Text("org", "ns", "carol"), Handle: "remove"})
	w.Run(20 * time.Second)
	alice.result("remove")
	w.reach = func(_, _ *app) bool { return true }
	w.Run(60 * time.Second)
	for _, a := range []*app{alice, bob, w.app("dave")} {
		if got := a.roster(); got != "alice bob dave" {
			t.Errorf("%s knows %s: %v", a.self.Name.Str[2], got, a.notices)
		}
	}
	everybodyTalks(w, []*app{alice, bob, w.app("dave")}, "again")
	if t.Failed() {
		t.Log(w.trace)
	}
}

// What is repeated as one member does not answer comes to the others, too, who say each time that they have it. That is nothing to refuse.
func TestOthersAcknowledgeRepeats(t *testing.T) {
	t.Parallel()
	for _, encrypted := range kinds {
		w := newGroup(t, 5, encrypted, 0, "alice", "bob", "carol", "dave")
		w.faults.Duplicate = 0
		alice, carol := w.app("alice"), w.app("carol")
		w.reach = func(from, to *app) bool { return from != carol && to != carol }
		before := len(alice.notices)
		alice.step(Remove{Name: wire.Text("org", "ns", "dave"), Handle: "remove"})
		w.Run(20 * time.Second)
		alice.result("remove")
		if got := alice.roster(); got != "alice bob carol (offline)" {
			t.Errorf("encrypted %v: alice knows %s", encrypted, got)
		}
		for _, n := range alice.notices[before:] {
			if strings.Contains(n, "group_ack") {
				t.Errorf("encrypted %v: %s", encrypted, n)
				break
			}
		}
	}
}

// A member that was cut off while another left and came back finds out that this is another one before it says something.
// What it says then is delivered.
func TestComesAnewWhileAnotherIsCutOff(t *testing.T) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) { comesAnewWhileAnotherIsCutOff(t, false) })
	t.Run("encrypted", func(t *testing.T) { comesAnewWhileAnotherIsCutOff(t, true) })
}

func comesAnewWhileAnotherIsCutOff(t *testing.T, encrypted bool) {
	w := newGroup(t, 4, encrypted, 0, "alice", "bob", "carol")
	alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
	carol.publish("before")
	w.Run(2 * time.Second)
	carol.result("before")
	w.reach = func(from, to *app) bool { return from != carol && to != carol }
	alice.step(Remove{Name: wire.Text("org", "ns", "bob"), Handle: "remove"})
	w.Run(8 * time.Second)
	alice.result("remove")
	bob.member, bob.ended, bob.due = nil, false, time.Time{}
	alice.step(Invite{Name: wire.Text("org", "ns", "bob"), Handle: "again"})
	w.Run(8 * time.Second)
	alice.result("again")
	w.reach = func(_, _ *app) bool { return true }
	w.Run(60 * time.Second)
	if got := carol.roster(); got != "alice bob carol" {
		t.Errorf("carol knows %s: %v", got, carol.notices)
	}
	carol.publish("after")
	w.Run(20 * time.Second)
	carol.result("after")
	if got := bob.got["carol"]; !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("bob has got %q", got)
	}
}

// newGroup is a world whose first app has invited all others.
func newGroup(t *testing.T, seed uint64, encrypted bool, loss float64, names ...string) *world {
	t.Helper()
	w := newWorld(t, seed, names...)
	w.faults.Loss = loss
	alice := w.apps[0]
	o := alice.options(message.Group, encrypted, fast)
	o.Control = reliable.Options{Interval: 200 * time.Millisecond, Retries: 20}
	alice.moderate(o, wire.Text("org", "ns", "channel"))
	for _, name := range names[1:] {
		alice.step(Invite{Name: wire.Text("org", "ns", name), Handle: "invite " + name})
	}
	w.Run(30 * time.Second)
	for _, name := range names[1:] {
		alice.result("invite " + name)
	}
	if t.Failed() {
		t.FailNow()
	}
	return w
}

// Who declines is not waited for, and says why; another one can be invited after it.
func TestDeclined(t *testing.T) {
	w := newWorld(t, 5, "alice", "bob", "carol")
	alice, bob := w.app("alice"), w.app("bob")
	bob.declines = "not today"
	o := alice.options(message.Group, true, fast)
	o.Self.Version = Product
	alice.moderate(o, wire.Text("org", "ns", "channel"))
	alice.step(Invite{Name: wire.Text("org", "ns", "bob"), Handle: "invite bob"})
	alice.step(Invite{Name: wire.Text("org", "ns", "carol"), Handle: "invite carol"})
	w.Run(time.Second)
	var d *Declined
	if !errors.As(alice.results["invite bob"], &d) || d.Reason != "not today" {
		t.Errorf("bob's invitation: %v", alice.results["invite bob"])
	}
	alice.result("invite carol")
	if got := alice.roster(); got != "alice carol" {
		t.Errorf("members are %s", got)
	}
}

// An invitation that nobody has answered can be taken back, whether it is its turn or not.
func TestWithdrawn(t *testing.T) {
	w := newWorld(t, 6, "alice", "bob")
	alice := w.app("alice")
	alice.moderate(alice.options(message.Group, true, fast), wire.Text("org", "ns", "channel"))
	for _, name := range []string{"nobody", "none", "bob"} {
		alice.step(Invite{Name: wire.Text("org", "ns", name), Handle: name})
	}
	w.Run(time.Second)
	for _, name := range []string{"none", "nobody"} {
		alice.step(Withdraw{name})
		if err := alice.results[name]; err != ErrWithdrawn {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.Run(time.Second)
	alice.result("bob")
	alice.step(Withdraw{"bob"}) // is over
	alice.step(Abandon{})
	if !alice.ended || alice.why != nil || !alice.member.Deadline().IsZero() {
		t.Errorf("over %v, %v", alice.ended, alice.why)
	}
}

// Who was removed is invited anew to the same session, and what has come before is no invitation.
func TestInvitedAnew(t *testing.T) {
	w := newGroup(t, 7, true, 0, "alice", "bob", "carol")
	alice, bob := w.app("alice"), w.app("bob")
	alice.step(Remove{Name: wire.Text("org", "ns", "bob"), Handle: "remove"})
	w.Run(time.Second)
	alice.result("remove")
	if !bob.ended || bob.anew != 0 {
		t.Fatalf("over %v, invited anew %d times", bob.ended, bob.anew)
	}
	alice.step(Invite{Name: wire.Text("org", "ns", "bob"), Handle: "again"})
	w.Run(20 * time.Second)
	if bob.anew == 0 {
		t.Error("bob was not invited anew")
	}
}

// A member that says over and over that it leaves, while the moderator does something else, is one that leaves: it is taken out once.
func TestLeavesOverAndOver(t *testing.T) {
	t.Parallel()
	w := newGroup(t, 8, false, 0, "alice", "bob", "carol")
	alice, bob := w.app("alice"), w.app("bob")
	m, p := alice.member.(*Moderator), bob.member.(*Participant)
	alice.step(Invite{Name: wire.Text("org", "ns", "nobody").WithID(wire.Null, wire.Null), Handle: "invite"})
	for range 1000 {
		r := p.message(message.LeaveRequest, p.moderator, nil)
		r.Metadata = map[string]string{message.KeyLeaving: "TRUE"}
		r.ID = p.newID()
		p.put(r)
	}
	bob.apply()
	w.Run(100 * time.Millisecond)
	if len(m.queue) != 1 {
		t.Errorf("%d tasks wait", len(m.queue))
	}
	w.Run(20 * time.Second)
	if got := alice.roster(); got != "alice carol" {
		t.Errorf("in the group: %s", got)
	}
}

// A member that is asked whether it is there is, if it says that it is in another epoch. One that leaves instead is out, and can be invited.
func TestAskedWhetherItIsThere(t *testing.T) {
	for _, c := range []struct {
		name string
		says func(p *Participant, asked message.Message)
		want error // of the invitation
		out  bool
	}{
		{"another epoch", func(p *Participant, asked message.Message) { p.answer(&asked, message.GroupNack) }, ErrMember, false},
		{"leaves", func(p *Participant, _ message.Message) { p.leave(nil) }, ErrNoAnswer, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newGroup(t, 9, true, 0, "alice", "bob", "carol")
			alice, bob := w.app("alice"), w.app("bob")
			w.reach = func(from, _ *app) bool { return from != alice }
			alice.step(Invite{Name: wire.Text("org", "ns", "bob"), Handle: "again"})
			asked := alice.member.(*Moderator).asks[0].message
			asked.Source = alice.self.Name
			p := bob.member.(*Participant)
			p.now = w.Now
			c.says(p, asked)
			bob.apply()
			bob.names = nil // discovery finds nobody
			w.Run(200 * time.Millisecond)
			if err, ended := alice.results["again"]; ended == c.out || !c.out && err != c.want {
				t.Errorf("after its answer: ended %v, %v", ended, err)
			}
			w.reach = func(_, to *app) bool { return to != bob }
			w.Run(20 * time.Second)
			if err := alice.results["again"]; !errors.Is(err, c.want) {
				t.Errorf("invited: %v", err)
			}
			if out := alice.roster() == "alice carol"; out != c.out {
				t.Errorf("members are %s", alice.roster())
			}
		})
	}
}

// Tasks that end where they start follow one another, however many they are.
func TestTasksThatEndAtOnce(t *testing.T) {
	w := newGroup(t, 9, false, 0, "alice", "bob")
	alice := w.app("alice")
	m := alice.member.(*Moderator)
	deep := 0
	for i := range 1000 {
		m.queue = append(m.queue, &removal{name: wire.Text("org", "ns", "nobody"), handle: fmt.Sprint(i)})
	}
	m.queue = append(m.queue, &probe{depth: &deep})
	m.advance()
	alice.apply()
	if len(m.queue) > 0 || m.running != nil || alice.results["999"] != ErrNotMember {
		t.Errorf("%d tasks wait; the last one: %v", len(m.queue), alice.results["999"])
	}
	if deep > 100 {
		t.Errorf("the last task is started %d calls deep", deep)
	}
}

// probe is a task that tells how deep it is called.
type probe struct {
	removal
	depth *int
}

func (t *probe) start(m *Moderator) {
	*t.depth = runtime.Callers(0, make([]uintptr, 10_000))
	m.finish(nil, nil)
}
