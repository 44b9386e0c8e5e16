package sessiontest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Entry is a message that an app has sent.
type Entry struct {
	At      time.Duration // since the network was made
	From    session.Name
	Dest    session.Name // an app, or a channel
	Type    string       // as upstream spells it: msg, msg_ack, group_update …
	Session uint32
	ID      uint32
	To      []Receiver // who was subscribed to Dest, and was to get it

	label string // of the sender
	seq   int    // of the sender's messages
	m     *message.Message
}

// Receiver is an app to which a message was to come.
type Receiver struct {
	Name string // of the app; of another instance of it with "·2" and so on
	Fate Fate
}

// Fate is what has become of a message.
type Fate uint8

const (
	Arrived Fate = iota
	Lost         // by Options.Loss
	Cut          // by a partition, or since the app had no connection
	Dropped      // by a rule
	Delayed      // by Options.Reorder, or a rule: others may have overtaken it
	Doubled      // by Options.Duplicate
)

// mark is how a log shows it.
func (f Fate) mark() string {
	switch f {
	case Lost:
		return " ✗lost"
	case Cut:
		return " ✗cut"
	case Dropped:
		return " ✗dropped"
	case Delayed:
		return " late"
	case Doubled:
		return " ×2"
	}
	return ""
}

// Log is messages in the order in which they were sent; those of the same moment by their senders.
type Log struct {
	Entries []*Entry
	Left    int // how many there were before these
}

// log is what a network keeps.
type log struct {
	entries []*Entry
	left    int
	seq     int
}

// add puts an entry in, of which the last most are kept.
func (l *log) add(e *Entry, most int) {
	l.seq++
	e.seq = l.seq
	if len(l.entries) >= 2*most {
		l.left += len(l.entries) - most
		l.entries = slices.Clone(l.entries[len(l.entries)-most:])
	}
	l.entries = append(l.entries, e)
}

// entry describes a message. mu is held.
func (n *Net) entry(from *link, m *message.Message) *Entry {
	return &Entry{
		At: time.Since(n.begin), From: n.nameOf(m.Source), Dest: n.nameOf(m.Dest), Type: m.Type.String(), Session: m.Session, ID: m.ID,
		label: from.label, m: m,
	}
}

// nameOf is t as apps know it. mu is held.
func (n *Net) nameOf(t wire.NameText) session.Name {
	if name, ok := n.names[t]; ok {
		return name
	}
	text := strings.Join(t.Str[:], "/")
	if !t.Name.IsNull() {
		text += "/" + wire.FormatID(t.Name.Hi, t.Name.Lo)
	}
	name, _ := session.ParseName(text) // nobody's, if it has no text
	n.names[t] = name
	return name
}

// Log returns what was sent until now.
func (n *Net) Log() Log {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := Log{Entries: slices.Clone(n.log.entries), Left: n.log.left}.Tail(n.o.Log)
	slices.SortStableFunc(l.Entries, func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.label, b.label), cmp.Compare(a.seq, b.seq))
	})
	return l
}

// Where returns the entries that f wants.
func (l Log) Where(f func(e *Entry) bool) Log {
	l.Entries = slices.DeleteFunc(slices.Clone(l.Entries), func(e *Entry) bool { return !f(e) })
	l.Left = 0
	return l
}

// String prints the log as a sequence: when, from whom, to whom, what. Ids that are drawn are shown as letters, in the order in
// which they appear, and sessions, if there are several, as numbers before the types. Heartbeats that arrive and say what the last
// one has said are left out.
func (l Log) String() string {
	p := printer{ids: map[uint32]string{}, sessions: map[uint32]int{}, beats: map[beat]string{}}
	for _, e := range l.Entries {
		p.session(e.Session)
	}
	var b strings.Builder
	if l.Left > 0 {
		fmt.Fprintf(&b, "%d messages before that\n", l.Left)
	}
	for _, e := range l.Entries {
		if p.news(e) {
			fmt.Fprintf(&b, "%9.3f  %s\n", e.At.Seconds(), p.line(e))
		}
	}
	return b.String()
}

// Tail returns the last n entries.
func (l Log) Tail(n int) Log {
	if more := len(l.Entries) - n; more > 0 {
		l.Entries, l.Left = l.Entries[more:], l.Left+more
	}
	return l
}

// printer prints entries.
type printer struct {
	ids      map[uint32]string
	sessions map[uint32]int
	beats    map[beat]string
}

// beat is whose heartbeats of a session are alike.
type beat struct {
	label   string
	session uint32
}

// news reports whether an entry is worth a line.
func (p *printer) news(e *Entry) bool {
	if e.m.Type != message.Heartbeat {
		return true
	}
	says := detail(e.m)
	for _, r := range e.To {
		says += r.Name + r.Fate.mark()
	}
	b := beat{e.label, e.Session}
	if p.beats[b] == says {
		return false
	}
	p.beats[b] = says
	return true
}

func (p *printer) session(id uint32) int {
	if p.sessions[id] == 0 {
		p.sessions[id] = len(p.sessions) + 1
	}
	return p.sessions[id]
}

// drawn are the ids from here on, and all of control messages.
const drawn = 1 << 31

// id shows an id: a letter if it is drawn.
func (p *printer) id(m *message.Message) string {
	if !m.Type.Control() && m.ID < drawn {
		return fmt.Sprint(m.ID)
	}
	s, ok := p.ids[m.ID]
	if !ok {
		for n := len(p.ids) + 1; n > 0; n = (n - 1) / 26 {
			s = string(rune('a'+(n-1)%26)) + s
		}
		p.ids[m.ID] = s
	}
	return s
}

// line shows an entry without its time.
func (p *printer) line(e *Entry) string {
	to := make([]string, len(e.To))
	for i, r := range e.To {
		to[i] = short(r.Name) + r.Fate.mark()
	}
	if len(to) == 0 {
		to = []string{"nobody (" + short(e.Dest.String()) + ")"}
	}
	what := e.Type
	if len(p.sessions) > 1 {
		what = fmt.Sprint(p.session(e.Session), ":", what)
	}
	line := fmt.Sprintf("%-28s %s %s", short(e.label)+" → "+strings.Join(to, ", "), what, p.id(e.m))
	if d := detail(e.m); d != "" {
		line += ": " + d
	}
	return line
}

// short is the last part of a name.
func short(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// detail shows what a message says.
func detail(m *message.Message) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch c := m.Command.(type) {
	case *message.Join:
		if t := c.Timers; t != nil {
			add("reliable, %d×%d ms", t.Retries, t.Timeout)
		}
		if c.Channel != nil {
			add("channel %s", c.Channel.Str[2])
		}
		if c.MLS != nil {
			add("MLS")
		}
	case *message.Joined:
		if c.KeyPackage != nil {
			add("key package")
		}
	case *message.Update:
		add("%s %s", [...]string{"add", "remove", "rejoin"}[c.Op], c.Participant.Name.Str[2])
		parts = append(parts, handshake(c.MLS)...)
		add("of %s", members(c.Roster))
	case *message.Welcome:
		parts = append(parts, handshake(c.MLS)...)
		add("of %s", members(c.Roster))
	case *message.Close:
		add("%d members", len(c.Participants))
	case *message.Beat:
		if c.Epoch != message.NoEpoch {
			add("epoch %d", c.Epoch)
		}
	case *message.State:
		state := "online"
		if c.Offline {
			state = "offline"
		}
		add("%s is %s", c.Participant.Str[2], state)
		if c.Epoch != message.NoEpoch {
			add("epoch %d", c.Epoch)
		}
	case *message.Rejoin:
		add("key package")
	case *message.Rejoined:
		parts = append(parts, handshake(&c.Handshake)...)
	}
	switch {
	case m.Failed:
		add("gone")
	case m.Type == message.Msg || m.Type == message.RtxReply:
		if x, err := mls.ParseMessage(m.Blob); err == nil {
			add("epoch %d", x.Epoch)
		}
	}
	if since, ok := m.Metadata[message.KeySince]; ok {
		add("since %s", since)
	}
	for _, key := range []string{message.KeyLeaving, message.KeyPublishTo} {
		if _, ok := m.Metadata[key]; ok {
			add("%s", key)
		}
	}
	return strings.Join(parts, ", ")
}

// handshake shows a commit or a welcome.
func handshake(h *message.Handshake) []string {
	if h == nil {
		return nil
	}
	return []string{fmt.Sprint("commit ", h.Commit)}
}

// members shows a roster.
func members(roster []message.Participant) string {
	names := make([]string, len(roster))
	for i := range roster {
		names[i] = roster[i].Name.Str[2]
		if roster[i].Offline {
			names[i] += " (offline)"
		}
	}
	return strings.Join(names, " ")
}

// String shows one entry as Log does, without its time.
func (e *Entry) String() string {
	p := printer{ids: map[uint32]string{}, sessions: map[uint32]int{}}
	return p.line(e)
}
