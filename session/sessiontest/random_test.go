package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// In networks that lose, double and reorder messages, and are cut, while members come, go, crash and talk:
//
//   - what a Delivery says is true: all whom the sender took for members and who are not named as missing have got it;
//   - nobody gets a message twice, or those of one sender in another order;
//   - when the network is whole again all members have the same roster and the same epoch, and hear each other;
//   - of a closed group nothing is left.
//
// SLIMGO_TEST_NETWORKS is how many there are, and SLIMGO_TEST_SEED the first.
func TestRandomNetworks(t *testing.T) {
	first := setting(t, "SLIMGO_TEST_SEED", 0)
	for seed := first; seed < first+setting(t, "SLIMGO_TEST_NETWORKS", 6); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newHistory(t, seed).run() })
		})
	}
}

// history is what a group goes through.
type history struct {
	t     *testing.T
	n     *Net
	r     *rand.Rand
	o     session.SessionOptions
	names []string // the first is the moderator's
	pair  bool     // it is a session of two, for which nobody is invited
	lead  *session.Session
	calls sync.WaitGroup // of moderator and members, that take a while
	made  int            // calls

	mu    sync.Mutex
	apps  map[string]*session.App // guarded by mu: that are there, by name
	seats []*seat                 // guarded by mu: all that there were
	sent  []*utterance

	crashed map[string]bool // apps that once have
}

// seat is an app's part in the session; who is invited anew gets another one.
type seat struct {
	label string // of its texts
	name  string // of the app
	self  session.Name
	s     *session.Session
	said  int
	away  bool // suspended

	mu  sync.Mutex
	got []string // guarded by mu
}

// utterance is a message that was sent.
type utterance struct {
	text string
	by   *seat
	to   []session.Name // who was to get it
	d    *session.Delivery
}

func newHistory(t *testing.T, seed uint64) *history {
	r := rand.New(rand.NewPCG(seed, 42))
	members := 2 + min(r.IntN(9), r.IntN(9)) // 10 at most, rarely
	h := &history{
		t: t, r: r, apps: map[string]*session.App{}, crashed: map[string]bool{},
		n: New(t, Options{Seed: seed, Loss: 0.05, Duplicate: 0.03, Reorder: 0.1, Jitter: 5 * time.Millisecond}),
		o: session.SessionOptions{Plain: seed%2 == 0, Interval: 300 * time.Millisecond, Retries: 12},
	}
	for i := range members {
		h.names = append(h.names, app(fmt.Sprint("m", i)))
	}
	if h.pair = seed%5 == 4; h.pair {
		h.names = h.names[:2]
	}
	return h
}

func (h *history) run() {
	h.begin()
	for range 10 {
		h.talk(2 + h.r.IntN(6))
		h.happen()
	}
	h.n.Heal()
	h.bring()
	h.calls.Wait()
	time.Sleep(100 * time.Second)
	h.n.SetLoss(0, 0, 0)
	time.Sleep(30 * time.Second)
	h.converged()
	h.everybodyTalks()
	h.end()
	h.judge()
}

// start connects an app, which takes every invitation.
func (h *history) start(name string) {
	a := h.n.App(name)
	l := listen(h.t, a)
	h.mu.Lock()
	h.apps[name] = a
	h.mu.Unlock()
	go func() {
		for s, err := range l.Sessions(context.Background()) {
			if err != nil {
				return
			}
			h.sit(name, s)
		}
	}()
}

// sit notes a part in the session, and reads what comes to it.
func (h *history) sit(name string, s *session.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := &seat{label: fmt.Sprint(short(name), ".", len(h.seats)), name: name, self: s.Self(), s: s}
	h.seats = append(h.seats, x)
	go func() {
		for m, err := range s.Messages(context.Background()) {
			if err != nil {
				return
			}
			x.mu.Lock()
			x.got = append(x.got, string(m.Data))
			x.mu.Unlock()
		}
	}()
}

// seated returns the seats whose sessions go on.
func (h *history) seated() (list []*seat) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.seats {
		if x.s.Err() == nil {
			list = append(list, x)
		}
	}
	return list
}

// seat returns that of an app; nil: it has none.
func (h *history) seat(name string) *seat {
	for _, x := range h.seated() {
		if x.name == name {
			return x
		}
	}
	return nil
}

func (h *history) begin() {
	for _, name := range h.names {
		h.start(name)
	}
	var err error
	if h.pair {
		if h.lead, err = h.apps[h.names[0]].Open(h.t.Context(), session.MustName(h.names[1]), h.o); err != nil {
			h.t.Fatal(err)
		}
		h.sit(h.names[0], h.lead)
		return
	}
	if h.lead, err = h.apps[h.names[0]].OpenGroup(h.t.Context(), session.MustName(app("channel")), h.o); err != nil {
		h.t.Fatal(err)
	}
	h.sit(h.names[0], h.lead)
	for _, name := range h.names[1:] {
		h.invite(name)
	}
	h.calls.Wait()
}

// call makes a call that takes a while.
func (h *history) call(f func(ctx context.Context)) {
	h.made++
	order := time.Duration(h.made) * time.Microsecond
	h.calls.Go(func() {
		time.Sleep(order) // so that all run in the same order with the same seed
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		f(ctx)
		if ctx.Err() != nil {
			h.t.Errorf("a call has not ended")
		}
	})
}

func (h *history) invite(name string) {
	h.call(func(ctx context.Context) { h.bringIn(ctx, name) })
}

// bringIn invites an app, which may be a member already, and may not answer.
func (h *history) bringIn(ctx context.Context, name string) {
	err := h.lead.Invite(ctx, session.MustName(name))
	if err != nil && !errors.Is(err, session.ErrTimeout) && !errors.Is(err, session.ErrMember) && !errors.Is(err, session.ErrClosed) {
		h.t.Errorf("%s is invited: %v", name, err)
	}
}

// replace takes a member out, and back in.
func (h *history) replace(name string) {
	h.call(func(ctx context.Context) {
		if err := h.lead.Remove(ctx, session.MustName(name)); err != nil && !errors.Is(err, session.ErrNotMember) {
			h.t.Errorf("%s is removed: %v", name, err)
		}
		h.bringIn(ctx, name)
	})
}

// talk has some say something, one after the other.
func (h *history) talk(n int) {
	for range n {
		time.Sleep(time.Duration(20+h.r.IntN(200)) * time.Millisecond)
		seats := h.seated()
		if x := seats[h.r.IntN(len(seats))]; !x.away {
			h.say(x, h.r.IntN(8) == 0)
		}
	}
}

// online are those whom a member takes to be there.
func online(s *session.Session) (names []session.Name) {
	for _, p := range s.Participants() {
		if !p.Self && p.Online {
			names = append(names, p.Name)
		}
	}
	return names
}

func (h *history) say(x *seat, direct bool) {
	before := online(x.s)
	x.said++
	u := &utterance{text: fmt.Sprintf("%s#%04d", x.label, x.said), by: x}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if direct && len(before) > 0 {
		u.text = strings.Replace(u.text, "#", "!", 1)
		before = []session.Name{before[h.r.IntN(len(before))]}
		u.d, err = x.s.PublishTo(ctx, before[0], session.Text(u.text))
	} else {
		u.d, err = x.s.Publish(ctx, session.Text(u.text))
	}
	if err != nil {
		if !errors.Is(err, session.ErrClosed) {
			h.t.Errorf("%s: %v", u.text, err)
		}
		return
	}
	synctest.Wait()
	after := online(x.s)
	for _, name := range before {
		if slices.Contains(after, name) {
			u.to = append(u.to, name)
		}
	}
	h.sent = append(h.sent, u)
}

// happen has something happen that may.
func (h *history) happen() {
	name := h.names[h.r.IntN(len(h.names))]
	participant := h.names[1+h.r.IntN(len(h.names)-1)]
	x := h.seat(name)
	what := h.r.IntN(9)
	if h.pair && what >= 4 {
		what = 8
	}
	switch what {
	case 0, 1:
		island := slices.DeleteFunc(slices.Clone(h.names), func(string) bool { return h.r.IntN(2) == 0 })
		h.n.Partition(island...)
	case 2, 3:
		h.n.Heal()
	case 4: // it is started anew, and let in
		if h.apps[participant] != nil {
			h.n.Crash(participant)
			h.apps[participant] = nil
			h.crashed[participant] = true
		}
		time.Sleep(time.Duration(h.r.IntN(20)) * time.Second)
		h.start(participant)
		h.replace(participant)
	case 5:
		h.replace(participant)
	case 6:
		if x := h.seat(participant); x != nil {
			h.call(func(ctx context.Context) {
				if err := x.s.Close(ctx); err != nil {
					h.t.Errorf("%s leaves: %v", x.label, err)
				}
				h.bringIn(ctx, participant)
			})
		}
	case 7:
		if x != nil && !x.away {
			x.away = true
			h.call(func(ctx context.Context) { h.state(x, "suspended", x.s.Suspend(ctx)) })
		}
	case 8:
		h.n.Disconnect(name)
		h.talk(3)
		h.n.Reconnect(name)
	}
	if x != nil && x.away && h.r.IntN(2) == 0 {
		h.resume(x)
	}
}

func (h *history) resume(x *seat) {
	h.call(func(ctx context.Context) {
		for range 60 { // it may not be away yet, or not any more
			err := x.s.Resume(ctx)
			if errors.Is(err, session.ErrBusy) || errors.Is(err, session.ErrTimeout) {
				time.Sleep(time.Second)
				continue
			}
			h.state(x, "resumed", err)
			break
		}
	})
	x.away = false
}

func (h *history) state(x *seat, what string, err error) {
	if err != nil && !errors.Is(err, session.ErrClosed) && !errors.Is(err, session.ErrBusy) {
		h.t.Errorf("%s is %s: %v", x.label, what, err)
	}
}

// bring has everybody in the group, and there.
func (h *history) bring() {
	h.calls.Wait()
	for _, x := range h.seated() {
		if x.away {
			h.resume(x)
		}
	}
	h.calls.Wait()
	time.Sleep(time.Minute)
	members := h.lead.Participants()
	for _, name := range h.names {
		there := func(p session.Participant) bool { return p.Name.String() == name && p.Online }
		if !h.pair && !slices.ContainsFunc(members, there) { // it may have left, with nobody to hear it: it is offline then
			h.invite(name)
		}
	}
}

// converged wants all members to have the same idea of the group.
func (h *history) converged() {
	h.t.Helper()
	seats := h.seated()
	want := map[session.Name]bool{}
	for _, x := range seats {
		want[x.self] = true
	}
	epoch, _ := h.lead.Epoch()
	for _, x := range seats {
		got := map[session.Name]bool{}
		for _, p := range x.s.Participants() {
			got[p.Name] = true
			if !p.Online {
				h.t.Errorf("%s takes %v for offline", x.label, p.Name)
			}
			if !want[p.Name] {
				h.t.Errorf("%s takes %v for a member", x.label, p.Name)
			}
		}
		for name := range want {
			if !got[name] {
				h.t.Errorf("%s does not know %v", x.label, name)
			}
		}
		if e, _ := x.s.Epoch(); e != epoch {
			h.t.Errorf("%s is in epoch %d, the moderator in %d", x.label, e, epoch)
		}
	}
	if len(seats) != len(h.names) {
		h.t.Errorf("%d members, want %d", len(seats), len(h.names))
	}
}

// everybodyTalks has all members hear each other.
func (h *history) everybodyTalks() {
	from := len(h.sent)
	for _, x := range h.seated() {
		h.say(x, false)
	}
	time.Sleep(10 * time.Second)
	for _, u := range h.sent[from:] {
		select {
		case <-u.d.Done():
			if err := u.d.Err(); err != nil {
				h.t.Errorf("%s, in the end: %v", u.text, err)
			}
		default:
			h.t.Errorf("%s, in the end: nobody knows what has become of it", u.text)
		}
		if len(u.to) != len(h.names)-1 {
			h.t.Errorf("%s is for %d members", u.text, len(u.to))
		}
	}
}

// end closes the group, of which nothing may be left then.
func (h *history) end() {
	if err := h.lead.Close(h.t.Context()); err != nil {
		h.t.Errorf("close: %v", err)
	}
	time.Sleep(time.Minute)
	for _, x := range h.seated() {
		h.t.Errorf("%s has a session", x.label)
		_ = x.s.Close(h.t.Context())
	}
	quiet := h.n.said()
	time.Sleep(time.Hour)
	if n := h.n.said() - quiet; n > 0 {
		h.t.Errorf("%d messages were sent after the end", n)
	}
	for _, a := range h.apps {
		if s := a.Stats(); s.Sessions != 0 {
			h.t.Errorf("%v has %d sessions", a.Name(), s.Sessions)
		}
		if n := h.n.Subscriptions(a.Name().String()); n != 1 {
			h.t.Errorf("%v has %d names", a.Name(), n)
		}
	}
}

// said is how many messages there were.
func (n *Net) said() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.seq
}

// judge compares what was heard with what was said.
func (h *history) judge() {
	heard := map[session.Name]map[string]bool{} // by app
	for _, x := range h.seats {
		if err := x.s.Err(); err != session.ErrClosed && err != session.ErrRemoved && !(err == session.ErrStopped && h.crashed[x.name]) {
			h.t.Errorf("%s: the session ended: %v", x.label, err)
		}
		if heard[x.self] == nil {
			heard[x.self] = map[string]bool{}
		}
		last := map[string]string{}
		for _, text := range x.got {
			if heard[x.self][text] {
				h.t.Errorf("%s has got %s twice", x.label, text)
			}
			heard[x.self][text] = true
			if by, _, ok := strings.Cut(text, "#"); ok {
				if last[by] >= text {
					h.t.Errorf("%s has got %s after %s", x.label, text, last[by])
				}
				last[by] = text
			}
		}
	}
	for _, u := range h.sent {
		select {
		case <-u.d.Done():
		default:
			h.t.Errorf("%s: nobody knows what has become of it", u.text)
			continue
		}
		err := u.d.Err()
		var missing *session.NotDelivered
		if err != nil && !errors.As(err, &missing) && !errors.Is(err, session.ErrClosed) && !errors.Is(err, session.ErrNotMember) {
			h.t.Errorf("%s: %v", u.text, err)
		}
		if err != nil && missing == nil {
			continue
		}
		for _, name := range u.to {
			if !heard[name][u.text] && (missing == nil || !slices.Contains(missing.Missing, name)) {
				h.t.Errorf("%v has not got %s, which is delivered: %v", name, u.text, err)
			}
		}
	}
}
