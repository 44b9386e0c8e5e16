package group

import (
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Options are what a session is made with.
type Options struct {
	Kind message.Kind
	ID   uint32
	Self Self

	Data     reliable.Options // zero: nothing is acknowledged
	Control  reliable.Options // of control messages
	Metadata map[string]string

	MLS    *mls.Config // of this session alone; nil: off. Its Client must name the subject of a token
	Verify Verify      // judges tokens, as MLS does; nil: a moderator's token in MLS stays the one it has begun with
	Strict bool        // refuses members whose control messages have no payload signature
	Warn   bool        // tells of them: Unsigned
	Replay int         // control messages of each member that are remembered; 0: 1000
	// Strangers is at what pace control messages are verified, of all sessions of an app together, of those who are no members; nil: of
	// this session alone.
	Strangers *identity.Pace
	Patience  time.Duration // how long the other one of a session of two may be offline until it is over; 0: for ever
	Keep      bool          // the session is stored: Changes tells what. MLS has a StateKey then

	// Early is what messages of an epoch to come may take, of all sessions of an app together; nil: there is no such bound.
	Early *Quota

	Random func() uint32 // for ids of messages
}

// Self is this member.
type Self struct {
	Name            wire.NameText // with the id of its subject
	Subject         string
	Token           func(now time.Time) string
	Key             *identity.Key
	Version         string // of the software, for people
	Sends, Receives bool
}

func (s *Self) participant() message.Participant {
	return message.Participant{Name: s.Name, Sends: s.Sends, Receives: s.Receives}
}

// Control messages wait that long for an answer, and are repeated so often, unless the session says otherwise.
const (
	controlInterval = time.Second
	controlRetries  = 10
)

// fanoutAll is the fanout of messages for all subscribers.
const fanoutAll = 256

// core is what moderator and participant have in common.
type core struct {
	o    Options
	now  time.Time // of the Step that is taken
	out  []Output
	used used
	owed []acks   // to be sent when nothing more is there
	more bool     // something is
	over bool     // End has been put
	full bool     // the app takes no data in this Step
	in   *Inbound // of this Step; nil: it is of another event

	moderator wire.NameText // zero: not known yet
	roster    roster
	version   uint64        // counts changes of what Roster returns
	data      wire.NameText // where data goes
	control   wire.NameText // where messages for all members go

	asks    []*ask
	acks    map[ackKey]message.Type // requests that were answered, and how, for when they come again
	replays identity.Replays        // of members, and of those who were members: what they have said then is not said anew
	foreign identity.Replays        // of all others, however many there are
	paces   *paces
	since   time.Time // when the token of the last invitation was made, by the moderator's clock; zero: not known, or this one's
	tag     uint32    // of what this member sends
	send    *reliable.Sender[Handle]
	receive *reliable.Receiver[*Received]
	mls     *crypto // nil: off
	beat    heartbeat
	leaving int // outputs Send that are to be told of, and have not left

	away     suspension
	changing Handle                // of the Suspend or Resume that is under way
	declared *ask                  // this member's state, while it comes back
	outdated func()                // what to do if others are in another epoch then
	renew    func()                // brings this member into an epoch in which it can follow others again
	renewed  time.Time             // when it was asked to last
	back     func(n wire.NameText) // a member is; nil: nothing is to be done then
	fail     func(err error)       // ends the session in no orderly way

	kept        *keeping  // nil: the session is not stored
	returning   bool      // it was started again, and subscribes to its channel
	subscribeAt time.Time // when it does so anew; zero: not
}

// ackKey names a request of a member.
type ackKey struct {
	from wire.Name
	id   uint32
}

func newCore(o Options, fromOne bool) core {
	if o.Control.Interval == 0 {
		o.Control.Interval = controlInterval
	}
	if o.Control.Retries == 0 {
		o.Control.Retries = controlRetries
	}
	c := core{
		o: o, send: reliable.NewSender[Handle](o.Data, 0), receive: reliable.NewReceiver[*Received](o.Data, fromOne),
		replays: identity.Replays{IDs: o.Replay}, foreign: identity.Replays{IDs: o.Replay}, acks: map[ackKey]message.Type{},
		paces: newPaces(),
	}
	if o.MLS != nil {
		c.mls = &crypto{cfg: o.MLS, quota: o.Early}
		o.MLS.Padding = c.mls.pad
	}
	c.roster.put(o.Self.participant())
	c.rosterChanged()
	c.tag = max(o.Random(), 1)
	return c
}

// Take returns what is to be done, and forgets it. The list is lent until the next Take.
func (c *core) Take() []Output {
	out := c.out
	c.out = c.used.outputs()
	c.used.out = out
	return out
}

// Epoch is that of the MLS group; message.NoEpoch: there is none.
func (c *core) Epoch() uint64 { return c.mls.epoch() }

// Roster is everybody who is in the session; borrowed.
func (c *core) Roster() []message.Participant { return c.roster }

// Version is another one whenever what Roster returns has changed.
func (c *core) Version() uint64 { return c.version }

func (c *core) rosterChanged() {
	c.version++
	c.headChanged()
}

// Deadline is when a Tick is due; zero: never.
func (c *core) Deadline() time.Time {
	if c.over {
		return time.Time{}
	}
	at := earlier(earlier(c.askDeadline(), c.beat.deadline()), c.subscribeAt)
	return earlier(at, earlier(c.send.Deadline(), c.receive.Deadline()))
}

func (c *core) do(o Output)     { c.out = append(c.out, o) }
func (c *core) notify(n Notice) { c.do(Notify{n}) }
func (c *core) resolve(h Handle, e error) {
	if h != nil {
		c.do(Resolve{h, e})
	}
}

// delivered is resolve of data, without an error. Several at a time are one output.
func (c *core) delivered(h Handle) {
	if h == nil {
		return
	}
	if n := len(c.out); n > 0 {
		if d, ok := c.out[n-1].(Delivered); ok {
			*d.Messages = append(*d.Messages, h)
			return
		}
	}
	hs := c.used.handles()
	*hs = append(*hs, h)
	c.do(Delivered{hs})
}

// message returns a control message of this member to a name, without an id. A nil command is that of a type that has none.
func (c *core) message(t message.Type, to wire.NameText, command message.Command) message.Message {
	if command == nil {
		e := message.Empty(t)
		command = &e
	}
	return message.Message{Source: c.o.Self.Name, Dest: to, Fanout: 1, Type: t, Command: command}
}

// all is message for everybody.
func (c *core) all(t message.Type, command message.Command) message.Message {
	m := c.message(t, c.control, command)
	m.Fanout = fanoutAll
	return m
}

// put seals m, which has its id, and sends it. A message of data whose Blob is to be encrypted has a group.
func (c *core) put(m message.Message) { c.putFor(&m, nil) }

// putFor is put of a message that the machine has no other use for. Sent will tell of it under this name, unless that is nil. false: it
// is not sent, and nothing is told.
func (c *core) putFor(m *message.Message, of any) bool {
	s := &c.o.Self
	m.Kind, m.Session, m.TTL, m.Version = c.o.Kind, c.o.ID, 8, s.Version
	m.Identity = s.Token(c.now)
	var err error
	switch {
	case m.Type.Control():
		if s.Key != nil {
			m.Metadata = cloneMetadata(m.Metadata)
			err = s.Key.Sign(m)
		}
	case c.mls != nil && (m.Type == message.Msg || m.Type == message.RtxReply):
		if c.mls.out { // nobody could read it
			return false
		}
		m.Blob, err = c.mls.protect(m)
	}
	if err != nil {
		c.fail(err)
		return false
	}
	c.beat.spoke(&m.Dest, of != nil, c.now)
	if of != nil {
		c.leaving++
		c.beat.tried = true
	}
	c.do(Send{m, of})
	return true
}

// sentCopies notes what has become of messages.
func (c *core) sentCopies(e *Sent) {
	for _, sent := range e.Copies {
		c.leaving--
		if sent.Fate == reliable.Departed {
			c.beat.departed(c.now)
		}
		switch of := sent.Of.(type) {
		case *ask:
			of.sent(c.now.Add(c.o.Control.Interval))
		case *heartbeat:
			of.waits = false
		case reliable.Copy:
			c.send.Sent(of, sent.Fate, c.now)
		}
	}
}

func cloneMetadata(md map[string]string) map[string]string {
	clone := make(map[string]string, len(md)+1)
	for k, v := range md {
		clone[k] = v
	}
	return clone
}

// mostAnswered is how many answers are remembered. A request comes again within seconds, if at all.
const mostAnswered = 4096

// answer answers the request m, in the same way whenever it comes again.
func (c *core) answer(m *message.Message, t message.Type) {
	if len(c.acks) >= mostAnswered {
		clear(c.acks)
	}
	c.acks[ackKey{m.Source.Name, m.ID}] = t
	r := c.message(t, m.Source, nil)
	r.ID = m.ID
	c.put(r)
}

// verify makes the checks of a control message that do not depend on what the session is doing. One that was answered
// before is answered again, since the answer may have been lost, and comes to an end here, without an error.
func (c *core) verify(in *Inbound) (fresh bool, err error) {
	m := in.Message
	if in.Claims == nil {
		return false, unbelieved(in.Why)
	}
	switch { // signatures last: they cost most
	case !identity.IsOf(&m.Source, in.Claims.Subject):
		return false, errForeignID
	case m.ID == 0:
		return false, errNoID
	case c.stale(in):
		return false, errStale
	case !c.inTime(m):
		return false, errPace
	}
	signed, err := identity.VerifySignatures(m, in.Claims)
	switch {
	case err != nil:
		return false, err
	case c.o.Strict && !signed:
		return false, errUnsigned
	case c.o.Warn && !signed:
		c.notify(Unsigned{m.Source, m.Type})
	}
	seen := &c.foreign
	if c.knows(m) {
		seen = &c.replays
	}
	if !seen.Seen(m.Source, m.ID) {
		if seen == &c.replays {
			c.heed(in)
		}
		in.Believed = true
		return true, nil
	}
	if t, ok := c.acks[ackKey{m.Source.Name, m.ID}]; ok {
		c.answer(m, t)
		return false, nil
	}
	return false, errReplay
}

// unbelieved is errUnverified with what is wrong about the token, if that is known.
func unbelieved(why error) error {
	if why == nil {
		return errUnverified
	}
	return fmt.Errorf("%w: %w", errUnverified, why)
}

// refuse tells of a message that is not accepted.
func (c *core) refuse(m *message.Message, err error) { c.notify(Refused{m.Source, m.Type, err}) }

// join makes a member one who gets data.
func (c *core) join(p message.Participant) {
	c.roster.put(p)
	c.rosterChanged()
	c.replays.Senders = len(c.roster)
	if same(&p.Name, &c.o.Self.Name) {
		return
	}
	c.beat.track(p.Name)
	if p.Receives && !p.Offline {
		c.send.Add(p.Name, c.now)
	}
}

// part takes a member out for good.
func (c *core) part(n wire.NameText) {
	if c.roster.find(&n) == nil {
		return
	}
	c.roster.remove(&n)
	c.rosterChanged()
	c.send.Forget(n)
	c.receive.Forget(n)
	c.beat.forget(&n)
	c.paces.members.Forget(n.Name)
	c.excuse(&n)
	c.notify(Left{n})
}

// present notes that a member is there, or not for the time being.
func (c *core) present(n *wire.NameText, online bool) {
	p := c.roster.find(n)
	if p == nil || p.Offline != online {
		return
	}
	p.Offline = !online
	c.rosterChanged()
	if online && p.Receives {
		c.send.Add(p.Name, c.now)
	} else if !online {
		c.send.Remove(p.Name)
	}
	c.notify(Presence{p.Name, online})
	if online && c.back != nil {
		c.back(*n)
	}
}

// members are those who are to answer what goes to all: everybody but this one, and those who are offline.
func (c *core) members() (names []wire.NameText) {
	for i := range c.roster {
		p := &c.roster[i]
		if !p.Offline && !same(&p.Name, &c.o.Self.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// end ends the session: everything that waits for it is told.
func (c *core) end(err error) {
	if c.over {
		return
	}
	c.acknowledge()
	c.over = true
	c.asks = nil
	c.send.Close()
	c.settle()
	c.changed(ErrClosed)
	c.mls.wipe()
	c.do(End{err})
}
