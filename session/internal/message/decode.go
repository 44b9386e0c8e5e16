package message

import (
	"maps"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Decode reads the encoded message b. The result lends parts of b.
//
// Accepted is a publish with source, destination, session header and a content that fits its type. Unknown fields are
// passed over; of a number or text that occurs twice the last is taken, as in protobuf. A message in it that occurs twice,
// which protobuf would merge and nobody sends, is refused, as is everything else: with an *Error.
func Decode(b []byte) (*Message, error) {
	m := new(Message)
	if err := new(walk).decode(b, m); err != nil {
		return nil, err
	}
	return m, nil
}

func (w *walk) decode(b []byte, m *Message) error {
	w.err = nil
	f := &w.fields[0]
	*f = fields{b: b, what: "message", walk: w}
	for f.next() {
		switch f.num {
		case numPublish:
			m.decodePublish(f.message("publish"))
		case 1, 2, 5, 6:
			f.fail("", ErrKind)
		case numMetadata:
			m.decodeEntry(f.element("metadata"))
		}
	}
	clear(w.fields[:]) // they hold b
	if w.err != nil {
		return w.err
	}
	return m.whole()
}

// whole checks what protobuf does not.
func (m *Message) whole() error {
	switch {
	case m.Source.Name.C == [3]uint64{}:
		return &Error{"message.publish.header.source", ErrMissing}
	case m.Dest.Name.C == [3]uint64{}:
		return &Error{"message.publish.header.destination", ErrMissing}
	case m.Kind != PointToPoint && m.Kind != Group:
		return &Error{"message.publish.session.session_type", ErrMissing}
	case m.Type == 0 || m.Type > lastType:
		return &Error{"message.publish.session.session_message_type", ErrMissing}
	case m.Content == nil:
		return &Error{"message.publish.msg", ErrMissing}
	case m.Type.Control() && (m.Command == nil || m.Command.of() != m.Type), !m.Type.Control() && m.Command != nil:
		return &Error{"message.publish.msg", ErrType}
	}
	return nil
}

func (m *Message) decodePublish(f *fields) {
	for f.next() {
		switch f.num {
		case numHeader:
			m.decodeHeader(f.message("header"))
		case numSession:
			m.decodeSession(f.message("session"))
		case numContent:
			m.decodeContent(f.message("msg"))
		}
	}
}

func (m *Message) decodeHeader(f *fields) {
	if known := f.walk.known; known != nil && known.take(f.b, m) {
		return
	}
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

func (m *Message) decodeSession(f *fields) {
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

// small is v if it fits into a byte, else a number that no enum knows.
func small(v uint64) uint8 { return uint8(min(v, 0xff)) }

func (m *Message) decodeContent(f *fields) {
	m.Content = f.b[:len(f.b):len(f.b)]
	for f.next() {
		switch f.num {
		case numApp:
			m.decodePayload(f.message("app_payload"))
		case numCommand:
			m.decodeCommand(f.message("command_payload"))
		}
	}
	if f.has(numApp) && f.has(numCommand) {
		f.fail("", ErrType)
	}
}

func (m *Message) decodePayload(f *fields) {
	for f.next() {
		switch f.num {
		case numPayloadType:
			m.PayloadType = f.payloadType()
		case numBlob:
			m.Blob = f.bytes()
		}
	}
}

func (m *Message) decodeCommand(f *fields) {
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
		m.Command.decode(f.message(t.String()))
	}
}

func (m *Message) decodeEntry(f *fields) {
	if h := f.walk.known; h != nil {
		h.metadata.note(f.b)
		if m.Metadata == nil {
			if h.metadata.take(f.b) {
				return
			}
			m.Metadata = maps.Clone(h.metadata.taken())
		}
	}
	var k, v string
	var known *entry
	for f.next() {
		switch f.num {
		case 1:
			k, known = f.key()
		case 2:
			v = f.value(known)
		}
	}
	if f.walk.err != nil {
		return
	}
	if m.Metadata == nil {
		m.Metadata = map[string]string{}
	}
	if m.Metadata[k] = v; len(m.Metadata) > MaxMetadata {
		f.fail("", ErrBound)
	}
}

func (*Empty) decode(f *fields) {
	for f.next() {
		continue // whatever later versions say there
	}
}

func (j *Join) decode(f *fields) {
	for f.next() {
		switch f.num {
		case 1:
			j.Timers = new(Timers)
			j.Timers.decode(f.message("timer_settings"))
		case 2:
			j.Channel = new(wire.NameText)
			f.name("channel", j.Channel)
		case 3:
			j.Control = new(wire.NameText)
			f.name("control", j.Control)
		case 4:
			j.MLS = new(MLSSettings)
			j.MLS.decode(f.message("mls_settings"))
		}
	}
}

func (t *Timers) decode(f *fields) {
	for f.next() {
		switch f.num {
		case 1:
			t.Timeout = uint32(f.uint())
		case 2:
			t.Retries = uint32(f.uint())
		}
	}
}

func (s *MLSSettings) decode(f *fields) {
	for f.next() {
		if f.num == 1 {
			s.Percent = uint32(f.uint())
		}
	}
}

func (j *Joined) decode(f *fields) {
	for f.next() {
		switch f.num {
		case 1:
			j.KeyPackage = f.bytes()
		case 2:
			j.Participant.decode(f.message("participant"))
		}
	}
	named(f, "participant.name", &j.Participant.Name)
}

func (p *Participant) decode(f *fields) {
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

// named checks that field is a name: without one nobody can be meant.
func named(f *fields, field string, n *wire.NameText) {
	if n.Name.C == [3]uint64{} {
		f.fail(field, ErrMissing)
	}
}

func (u *Update) decode(f *fields) {
	for f.next() {
		switch f.num {
		case 1:
			u.Op = Op(small(f.uint()))
		case 2:
			u.Participant.decode(f.message("participant"))
		case 3:
			u.Roster = f.participant(u.Roster)
		case 4:
			u.MLS = new(Handshake)
			u.MLS.decode(f.message("mls"))
		}
	}
	named(f, "participant.name", &u.Participant.Name)
	if u.Op > OpRejoin {
		f.fail("op", ErrType)
	}
}

func (w *Welcome) decode(f *fields) {
	for f.next() {
		switch f.num {
		case 1:
			w.Roster = f.participant(w.Roster)
		case 2:
			w.MLS = new(Handshake)
			w.MLS.decode(f.message("mls"))
		}
	}
}

func (c *Close) decode(f *fields) {
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

func (p *Proposal) decode(f *fields) {
	for f.next() {
		switch f.num {
		case 1:
			f.name("source", &p.Source)
		case 2:
			p.Proposal = f.bytes()
		}
	}
}

func (b *Beat) decode(f *fields) {
	for f.next() {
		if f.num == 1 {
			b.Epoch = f.uint()
		}
	}
}

func (s *State) decode(f *fields) {
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
	named(f, "participant", &s.Participant)
}

func (r *Rejoin) decode(f *fields) {
	for f.next() {
		switch f.num {
		case 1:
			f.name("participant", &r.Participant)
		case 2:
			r.KeyPackage = f.bytes()
		}
	}
	named(f, "participant", &r.Participant)
}

func (h *Handshake) decode(f *fields) {
	for f.next() {
		switch f.num {
		case 1:
			h.Commit = uint32(f.uint())
		case 2:
			h.Content = f.bytes()
		}
	}
}

func (f *fields) participant(roster []Participant) []Participant {
	if len(roster) == MaxParticipants {
		f.fail("participants", ErrBound)
		return roster
	}
	var p Participant
	p.decode(f.element("participants"))
	named(f, "participants.name", &p.Name)
	return append(roster, p)
}

// name reads the field's content, a Name, into n.
func (f *fields) name(name string, n *wire.NameText) { f.message(name).decodeName(n) }

// decodeName reads the Name that is walked here into n. A missing id is the null id.
func (f *fields) decodeName(n *wire.NameText) {
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

func (f *fields) decodeEncoded(n *wire.Name) {
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
