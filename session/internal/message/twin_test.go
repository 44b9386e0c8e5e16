package message

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// decodeTwin is Decode as simply as can be: it remembers nothing, and reads each field by protowire.
func decodeTwin(b []byte) (*Message, error) {
	m := new(Message)
	f := twin{b: b, what: "message"}
	for f.next() {
		switch f.num {
		case numPublish:
			f.message("publish").readPublish(m)
		case 1, 2, 5, 6:
			f.fail("", ErrKind)
		case numMetadata:
			f.element("metadata").readEntry(m)
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	if err := m.whole(); err != nil {
		return nil, err
	}
	return m, nil
}

func (f *twin) readPublish(m *Message) {
	for f.next() {
		switch f.num {
		case numHeader:
			f.message("header").readHeader(m)
		case numSession:
			f.message("session").readSession(m)
		case numContent:
			f.message("msg").readContent(m)
		}
	}
}

func (f *twin) readHeader(m *Message) {
	for f.next() {
		switch f.num {
		case numSource:
			f.name("source", &m.Source)
		case numDest:
			f.name("destination", &m.Dest)
		case numIdentity:
			m.Identity = f.text()
		case numFanout:
			m.Fanout = uint32(f.uint())
		case numVersion:
			m.Version = f.text()
		case numTTL:
			m.TTL = uint32(f.uint())
		case 7, 8, 9:
			f.uint()
		case numError:
			m.Failed = f.uint() != 0
		case 11:
			f.bytes()
		case numSignature:
			m.Signature = f.bytes()
		}
	}
}

func (f *twin) readSession(m *Message) {
	for f.next() {
		switch f.num {
		case numKind:
			m.Kind = Kind(small(f.uint()))
		case numType:
			m.Type = Type(small(f.uint()))
		case numSessionID:
			m.Session = uint32(f.uint())
		case numMessageID:
			m.ID = uint32(f.uint())
		}
	}
}

func (f *twin) readContent(m *Message) {
	m.Content = f.b[:len(f.b):len(f.b)]
	for f.next() {
		switch f.num {
		case numApp:
			f.message("app_payload").readPayload(m)
		case numCommand:
			f.message("command_payload").readCommand(m)
		}
	}
	if f.has(numApp) && f.has(numCommand) {
		f.fail("", ErrType)
	}
}

func (f *twin) readPayload(m *Message) {
	for f.next() {
		switch f.num {
		case numPayloadType:
			m.PayloadType = f.text()
		case numBlob:
			m.Blob = f.bytes()
		}
	}
}

func (f *twin) readCommand(m *Message) {
	for f.next() {
		t := Type(f.num + commandOffset)
		if f.num > protowire.Number(lastType-commandOffset) {
			continue
		}
		if m.Command != nil {
			f.fail("", ErrType)
			return
		}
		m.Command = newCommand(t)
		f.message(t.String()).command(m.Command)
	}
}

func (f *twin) readEntry(m *Message) {
	var k, v string
	for f.next() {
		switch f.num {
		case 1:
			k = f.text()
		case 2:
			v = f.text()
		}
	}
	if f.top().err != nil {
		return
	}
	if m.Metadata == nil {
		m.Metadata = map[string]string{}
	}
	if m.Metadata[k] = v; len(m.Metadata) > MaxMetadata {
		f.fail("", ErrBound)
	}
}

func (f *twin) readEmpty(_ *Empty) {
	for f.next() {
		continue // whatever later versions say there
	}
}

func (f *twin) readJoin(j *Join) {
	for f.next() {
		switch f.num {
		case 1:
			j.Timers = new(Timers)
			f.message("timer_settings").readTimers(j.Timers)
		case 2:
			j.Channel = new(wire.NameText)
			f.name("channel", j.Channel)
		case 3:
			j.Control = new(wire.NameText)
			f.name("control", j.Control)
		case 4:
			j.MLS = new(MLSSettings)
			f.message("mls_settings").readMLSSettings(j.MLS)
		}
	}
}

func (f *twin) readTimers(t *Timers) {
	for f.next() {
		switch f.num {
		case 1:
			t.Timeout = uint32(f.uint())
		case 2:
			t.Retries = uint32(f.uint())
		}
	}
}

func (f *twin) readMLSSettings(s *MLSSettings) {
	for f.next() {
		if f.num == 1 {
			s.Percent = uint32(f.uint())
		}
	}
}

func (f *twin) readJoined(j *Joined) {
	for f.next() {
		switch f.num {
		case 1:
			j.KeyPackage = f.bytes()
		case 2:
			f.message("participant").readParticipant(&j.Participant)
		}
	}
	twinNamed(f, "participant.name", &j.Participant.Name)
}

func (f *twin) readParticipant(p *Participant) {
	for f.next() {
		switch f.num {
		case 1:
			f.name("name", &p.Name)
		case 2:
			for s := f.message("settings"); s.next(); {
				switch s.num {
				case 1:
					p.Sends = s.uint() != 0
				case 2:
					p.Receives = s.uint() != 0
				}
			}
		case 3:
			p.Offline = f.uint() != 0
		}
	}
}

func twinNamed(f *twin, field string, n *wire.NameText) {
	if n.Name.C == [3]uint64{} {
		f.fail(field, ErrMissing)
	}
}

func (f *twin) readUpdate(u *Update) {
	for f.next() {
		switch f.num {
		case 1:
			u.Op = Op(small(f.uint()))
		case 2:
			f.message("participant").readParticipant(&u.Participant)
		case 3:
			u.Roster = f.participant(u.Roster)
		case 4:
			u.MLS = new(Handshake)
			f.message("mls").readHandshake(u.MLS)
		}
	}
	twinNamed(f, "participant.name", &u.Participant.Name)
	if u.Op > OpRejoin {
		f.fail("op", ErrType)
	}
}

func (f *twin) readWelcome(w *Welcome) {
	for f.next() {
		switch f.num {
		case 1:
			w.Roster = f.participant(w.Roster)
		case 2:
			w.MLS = new(Handshake)
			f.message("mls").readHandshake(w.MLS)
		}
	}
}

func (f *twin) readClose(c *Close) {
	for f.next() {
		if f.num != 1 {
			continue
		}
		if len(c.Participants) == MaxParticipants {
			f.fail("participants", ErrBound)
			return
		}
		var n wire.NameText
		f.element("participants").decodeName(&n)
		c.Participants = append(c.Participants, n)
	}
}

func (f *twin) readProposal(p *Proposal) {
	for f.next() {
		switch f.num {
		case 1:
			f.name("source", &p.Source)
		case 2:
			p.Proposal = f.bytes()
		}
	}
}

func (f *twin) readBeat(b *Beat) {
	for f.next() {
		if f.num == 1 {
			b.Epoch = f.uint()
		}
	}
}

func (f *twin) readState(s *State) {
	for f.next() {
		switch f.num {
		case 1:
			f.name("participant", &s.Participant)
		case 2:
			s.Offline = f.uint() != 0
		case 3:
			s.Epoch = f.uint()
		}
	}
	twinNamed(f, "participant", &s.Participant)
}

func (f *twin) readRejoin(r *Rejoin) {
	for f.next() {
		switch f.num {
		case 1:
			f.name("participant", &r.Participant)
		case 2:
			r.KeyPackage = f.bytes()
		}
	}
	twinNamed(f, "participant", &r.Participant)
}

func (f *twin) readHandshake(h *Handshake) {
	for f.next() {
		switch f.num {
		case 1:
			h.Commit = uint32(f.uint())
		case 2:
			h.Content = f.bytes()
		}
	}
}

// twin is fields.
type twin struct {
	b    []byte // what is left
	what string
	num  protowire.Number
	typ  protowire.Type
	at   []byte // content of the field, as ConsumeFieldValue gives it
	seen uint32 // numbers of the messages that came

	up, root *twin // the message around this one, and the outermost; nil: it is this one
	err      error // the root's
}

func (f *twin) command(c Command) {
	switch c := c.(type) {
	case *Empty:
		f.readEmpty(c)
	case *Join:
		f.readJoin(c)
	case *Joined:
		f.readJoined(c)
	case *Update:
		f.readUpdate(c)
	case *Welcome:
		f.readWelcome(c)
	case *Close:
		f.readClose(c)
	case *Proposal:
		f.readProposal(c)
	case *Beat:
		f.readBeat(c)
	case *State:
		f.readState(c)
	case *Rejoin:
		f.readRejoin(c)
	case *Rejoined:
		f.readHandshake(&c.Handshake)
	}
}

func (f *twin) top() *twin {
	if f.root != nil {
		return f.root
	}
	return f
}

func (f *twin) next() bool {
	if f.top().err != nil || len(f.b) == 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(f.b)
	if n < 0 || num > protowire.MaxValidNumber {
		f.fail("", ErrForm)
		return false
	}
	v := protowire.ConsumeFieldValue(num, typ, f.b[n:])
	if v < 0 {
		f.fail("", ErrForm)
		return false
	}
	f.num, f.typ, f.at = num, typ, f.b[n:n+v:n+v]
	f.b = f.b[n+v:]
	return true
}

func (f *twin) fail(field string, err error) {
	if t := f.top(); t.err == nil {
		path := field
		for up := f; up != nil; up = up.up {
			path = up.what + "." + path
		}
		t.err = &Error{strings.TrimSuffix(path, "."), err}
	}
}

func (f *twin) uint() uint64 {
	if f.typ != protowire.VarintType {
		f.fail("", ErrForm)
		return 0
	}
	v, _ := protowire.ConsumeVarint(f.at)
	return v
}

func (f *twin) bytes() []byte {
	if f.typ != protowire.BytesType {
		f.fail("", ErrForm)
		return nil
	}
	v, _ := protowire.ConsumeBytes(f.at)
	return v[:len(v):len(v)]
}

func (f *twin) text() string {
	b := f.bytes()
	if !utf8.Valid(b) {
		f.fail("", ErrForm)
		return ""
	}
	return string(b)
}

func (f *twin) message(name string) *twin {
	if f.has(f.num) {
		f.fail(name, ErrTwice)
	}
	f.seen |= 1 << f.num
	return f.element(name)
}

func (f *twin) has(num protowire.Number) bool { return f.seen&(1<<num) != 0 }
func (f *twin) element(name string) *twin {
	return &twin{b: f.bytes(), what: name, up: f, root: f.top()}
}

func (f *twin) participant(roster []Participant) []Participant {
	if len(roster) == MaxParticipants {
		f.fail("participants", ErrBound)
		return roster
	}
	var p Participant
	f.element("participants").readParticipant(&p)
	twinNamed(f, "participants.name", &p.Name)
	return append(roster, p)
}

func (f *twin) name(name string, n *wire.NameText) { f.message(name).decodeName(n) }
func (f *twin) decodeName(n *wire.NameText) {
	*n = wire.NameText{Name: wire.Name{Hi: wire.Null, Lo: wire.Null}, NoStrings: true}
	for f.next() {
		switch f.num {
		case 1:
			f.message("name").decodeEncoded(&n.Name)
		case 2:
			n.NoStrings = false
			for s := f.message("str_name"); s.next(); {
				if s.num <= 3 {
					n.Str[s.num-1] = s.text()
				}
			}
		}
	}
}

func (f *twin) decodeEncoded(n *wire.Name) {
	for f.next() {
		switch f.num {
		case 1, 2, 3:
			n.C[f.num-1] = f.uint()
		case 4:
			n.Hi, n.Lo = 0, 0
			for i := f.message("name_id"); i.next(); {
				switch i.num {
				case 1:
					n.Hi = i.uint()
				case 2:
					n.Lo = i.uint()
				}
			}
		}
	}
}
