package group

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// keyFirst is metadata of data for a group: where the stream begins for members who may have missed the first messages, and its
// tag, such as "12 3405691582". Peers that do not know it take it for the app's.
const keyFirst = "slimgo-first"

// keyUnknown is metadata of an acknowledgement that is none: its sender does not know the stream of the message, which comes from a
// member that uses this package and takes it for one that was here before. It is the tag of that sender's own stream.
const keyUnknown = "slimgo-unknown"

// keyMissed is metadata of an acknowledgement that is none either: its sender had given the message up when it came. It goes to members
// that use this package. To others a message that was given up is acknowledged as one that has come twice is: they report it as
// delivered whatever they hear, and take a member that says nothing for offline.
const keyMissed = "slimgo-missed"

// keyStream is metadata of heartbeats, and of acknowledgements that say that a stream is known from now on: the tag of
// their sender's own stream. It shows to those who have missed it that a member has left and come back.
const keyStream = "slimgo-stream"

// mostAcks is how many messages one acknowledgement is of at most: their sender goes on while the rest is looked at. From others
// those of a whole window are taken.
const mostAcks = 32

// acks are messages of a member that have been taken and not been acknowledged: those from first to last, in the circle of ids.
type acks struct {
	to          wire.NameText
	first, last uint32
}

// Bounds of what is kept of messages of an epoch to come until its commit is here.
// Nobody has verified them.
const (
	mostHeld      = 64
	mostHeldBytes = 8 << 20
	mostHeldTime  = 30 * time.Second // the commit of a member that repeats it for longer finds them said again
)

// Quota bounds what several sessions hold together, in bytes. Safe for all; the zero value holds nothing.
type Quota struct {
	Most int64
	used atomic.Int64
}

// take takes n bytes of it, if there are as many; of nil there always are.
func (q *Quota) take(n int) bool {
	if q == nil {
		return true
	}
	if q.used.Add(int64(n)) > q.Most {
		q.used.Add(-int64(n))
		return false
	}
	return true
}

// Empty reports whether nothing of it is taken.
func (q *Quota) Empty() bool { return q.used.Load() == 0 }

func (q *Quota) giveBack(n int) {
	if q != nil {
		q.used.Add(-int64(n))
	}
}

// early is a message of an epoch to come, its size, and when it came.
type early struct {
	message *message.Message
	size    int
	at      time.Time
}

// begin begins a Step.
func (c *core) begin(ev Event, now time.Time) {
	c.now = now
	if _, ok := ev.(*Sent); ok {
		return
	}
	in, ok := ev.(*Inbound)
	data := ok && !in.Message.Type.Control()
	if c.more = data && in.More; !data {
		c.acknowledge()
	}
}

func (c *core) publish(e *Publish) {
	if _, err := c.send.Publish(e.Payload, e.Handle, c.now); err != nil {
		c.resolve(e.Handle, err)
	}
}

func (c *core) publishTo(e *PublishTo) {
	if c.o.Kind == message.PointToPoint {
		if same(&e.To, &c.o.Self.Name) || c.roster.find(&e.To) == nil { // it is not for who would get it
			c.resolve(e.Handle, ErrNotMember)
			return
		}
		c.publish(&Publish{e.Payload, e.Handle})
		return
	}
	id := uint32(1<<31) + c.o.Random()%(1<<31-1)
	if err := c.send.PublishTo(e.To, id, e.Payload, e.Handle, c.now); err != nil {
		c.resolve(e.Handle, err)
	}
}

// heard takes a message of data, which was of this size when it came; s is nil if it was not prepared.
func (c *core) heard(m *message.Message, size int, s *Sealed) {
	from := c.roster.find(&m.Source)
	if from == nil || same(&m.Source, &c.o.Self.Name) {
		c.refuse(m, errStranger)
		return
	}
	c.beat.heard(&m.Source)
	m.Metadata = message.Without(m.Metadata, message.KeyPeerSubject)
	switch m.Type {
	case message.MsgAck:
		if tag, ok := m.Metadata[keyUnknown]; ok {
			c.send.Unknown(from.Name, parseTag(tag), c.now)
			return
		}
		if _, ok := m.Metadata[keyMissed]; ok {
			c.send.Missed(m.ID, from.Name, c.now)
			return
		}
		if tag, ok := m.Metadata[keyStream]; c.send.Acks(parseSince(m.Metadata[message.KeySince], m.ID), m.ID, from.Name, c.now) && ok &&
			c.send.Is(from.Name, parseTag(tag), c.now) {
			c.headChanged()
		}
	case message.RtxRequest:
		c.send.Asked(m.ID, from.Name, c.now)
	case message.Msg, message.RtxReply:
		c.take(m, size, from.Name, s)
	}
}

// take takes application data of a member.
func (c *core) take(m *message.Message, size int, from wire.NameText, s *Sealed) {
	if !c.o.Self.Receives {
		c.refuse(m, errNotReceiver)
		return
	}
	r := c.used.received()
	*r = Received{
		Source: m.Source, Dest: m.Dest, ID: m.ID, Direct: m.ID >= 1<<31, Identity: m.Identity,
		Payload: reliable.Payload{Type: m.PayloadType, Blob: m.Blob, Metadata: message.Without(m.Metadata, keyFirst)},
		Size:    size,
	}
	if c.mls != nil {
		var err error
		if r.Payload.Blob, r.Subject, err = c.mls.unprotect(m, s); err != nil {
			if !c.mls.keep(early{m, size, c.now}, err) {
				c.refuse(m, err)
				c.lostTrack(err)
			}
			return
		}
		if c.in != nil {
			c.in.Believed = true
		}
	}
	if m.Type == message.RtxReply && m.Failed {
		c.receive.Gone(from, m.ID)
		return
	}
	if c.full {
		return // not acknowledged, so that it comes again
	}
	ours := strings.Contains(m.Version, Product)
	c.more = c.more && ours
	start := parseStart(m.Metadata[keyFirst])
	start.Hears = ours
	start.Tells = c.o.Kind == message.Group && m.Type == message.Msg && ours
	if !c.receive.Receive(from, m.ID, r, size, start, c.now) {
		c.refuse(m, errNoRoom)
	}
}

// settle does what sender and receiver want done, until they want nothing.
func (c *core) settle() {
	for len(c.send.Out)+len(c.receive.Out) > 0 {
		out, steps := c.send.Out, c.receive.Out
		c.send.Out, c.receive.Out = c.used.sent, c.used.steps
		c.used.sent, c.used.steps = nil, nil // which a settle within this one does without
		for i := range out {
			c.sent(&out[i])
		}
		for i := range steps {
			c.step(&steps[i])
		}
		c.used.sent, c.used.steps = emptied(out), emptied(steps)
	}
	if !c.more {
		c.acknowledge()
	}
}

func (c *core) sent(o *reliable.Output[Handle]) {
	switch {
	case o.Result != nil && len(o.Result.Missing) > 0:
		c.resolve(o.Result.Handle, &NotDelivered{o.Result.Missing})
	case o.Result != nil && c.over:
		c.resolve(o.Result.Handle, ErrClosed)
	case o.Result != nil:
		c.delivered(o.Result.Handle)
	case o.Silent != nil:
		c.present(o.Silent, false)
	case !c.over:
		c.transmit(o.Send)
	}
}

func (c *core) transmit(t *reliable.Transmission) {
	m := c.used.message()
	m.Source, m.Dest, m.Fanout, m.Type, m.ID = c.o.Self.Name, t.To, 1, message.Msg, t.ID
	if t.Everyone {
		m.Dest = c.data
	}
	if c.o.Kind == message.Group {
		m.Fanout = fanoutAll
	}
	if t.Reply {
		m.Type = message.RtxReply
	}
	if t.Payload == nil {
		m.Failed, m.Fanout = true, 1
	} else {
		m.PayloadType, m.Blob, m.Metadata = t.Payload.Type, t.Payload.Blob, t.Payload.Metadata
	}
	if t.ID >= 1<<31 {
		m.Fanout = 1
		m.Metadata = cloneMetadata(m.Metadata)
		m.Metadata[message.KeyPublishTo] = "TRUE"
	} else if t.First > 0 && c.o.Kind == message.Group {
		m.Metadata = cloneMetadata(m.Metadata)
		m.Metadata[keyFirst] = formatStart(reliable.Start{First: t.First, Tag: c.tag})
	}
	if t.Copy == nil {
		c.putFor(m, nil)
	} else if !c.putFor(m, t.Copy) {
		c.send.Sent(t.Copy, reliable.Rejected, c.now)
	}
}

func (c *core) step(s *reliable.Step[*Received]) {
	switch s.Kind {
	case reliable.Deliver:
		c.do(Deliver{s.Item})
	case reliable.Ack, reliable.Request, reliable.Unknown, reliable.Missed:
		if s.Kind == reliable.Ack && s.Hear && s.ID < 1<<31 && !(s.Tell && c.o.Kind == message.Group) {
			c.owe(s.From, s.ID)
			return
		}
		c.acknowledge()
		m := c.used.message()
		m.Source, m.Dest, m.Fanout, m.Type, m.ID = c.o.Self.Name, s.From, 1, message.MsgAck, s.ID
		if s.Kind == reliable.Request {
			m.Type = message.RtxRequest
		}
		switch {
		case s.Kind == reliable.Unknown:
			m.Metadata = map[string]string{keyUnknown: formatTag(c.tag)}
		case s.Kind == reliable.Missed:
			m.Metadata = map[string]string{keyMissed: "TRUE"}
		case s.ID >= 1<<31:
			m.Metadata = map[string]string{message.KeyPublishTo: "TRUE"}
		case s.Tell && c.o.Kind == message.Group:
			m.Metadata = map[string]string{keyStream: formatTag(c.tag)}
		}
		c.putFor(m, nil)
	case reliable.Lost:
		c.notify(Lost{s.From, s.ID, s.Last, s.Loss})
	}
}

// owe notes that a message is to be acknowledged.
func (c *core) owe(to wire.NameText, id uint32) {
	for i := range c.owed {
		a := &c.owed[i]
		if !same(&a.to, &to) {
			continue
		}
		if n := (id - a.first) & (1<<31 - 1); n < mostAcks && id == (a.last+1)&(1<<31-1) {
			a.last = id
			return
		}
		c.sayAcks(a)
		a.first, a.last = id, id
		return
	}
	if len(c.owed) == mostOwed {
		c.acknowledge()
	}
	c.owed = append(c.owed, acks{to, id, id})
}

// mostOwed is how many members may wait for acknowledgements.
const mostOwed = 16

// acknowledge sends what is owed.
func (c *core) acknowledge() {
	for i := range c.owed {
		c.sayAcks(&c.owed[i])
	}
	c.owed = emptied(c.owed)
}

func (c *core) sayAcks(a *acks) {
	m := c.used.message()
	m.Source, m.Dest, m.Fanout, m.Type, m.ID = c.o.Self.Name, a.to, 1, message.MsgAck, a.last
	if a.first != a.last {
		m.Metadata = map[string]string{message.KeySince: strconv.FormatUint(uint64(a.first), 10)}
	}
	c.putFor(m, nil)
}

// parseSince reads KeySince of an acknowledgement of id. What is none says nothing.
func parseSince(text string, id uint32) (first uint32) {
	if text == "" {
		return id
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if first = uint32(n); err != nil || id >= 1<<31 || (id-first)&(1<<31-1) >= reliable.Window {
		return id
	}
	return first
}

// parseStart reads keyFirst. What is none says nothing.
func parseStart(text string) (s reliable.Start) {
	if text == "" {
		return s
	}
	first, tag, _ := strings.Cut(text, " ")
	n, err := strconv.ParseUint(first, 10, 31)
	if err != nil {
		return s
	}
	return reliable.Start{First: uint32(n), Tag: parseTag(tag)}
}

func formatStart(s reliable.Start) string { return fmt.Sprintf("%d %d", s.First, s.Tag) }

// parseTag reads the tag of a stream; 0: it is none.
func parseTag(text string) uint32 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func formatTag(tag uint32) string { return strconv.FormatUint(uint64(tag), 10) }
