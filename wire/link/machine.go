package link

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// maxText bounds link_id, slim_version, node_id and deployment_name, in bytes. Upstream has no bound; ids in use have
// 73 bytes at most, and link_id is hashed and kept for as long as the connection lives. Rules: P-lim-1.
const maxText = 4096

// Role is the end of the link that a machine plays.
type Role uint8

const (
	Acceptor Role = iota // answers the request
	Dialer               // sends the request
)

// Config is what one end brings to a negotiation. New copies it.
type Config struct {
	Role       Role
	LinkID     string        // dialer: its link_id, 1 to 4096 bytes of any text, the same over reconnects
	Kind       wire.LinkKind // dialer: the kind it asks for. Acceptor: not used
	Version    string        // own slim_version: a semantic version, strictly
	NodeID     string        // own node_id, at most 4096 bytes
	Deployment string        // own deployment_name (domain_name); empty: none, and peers are not checked for theirs
	Strict     bool          // require_header_mac: a link without MAC key fails
	EnforcePQC bool          // a link without a hybrid key (X25519 and ML-KEM-768) fails
	Rand       io.Reader     // secrets are made of its bytes; nil: crypto/rand.Reader
}

// Result is what both ends agreed upon.
type Result struct {
	Kind             wire.LinkKind // for the acceptor as requested, for the dialer as echoed
	LinkID           string
	RemoteVersion    string // a semantic version
	RemoteNode       string // may be empty
	RemoteDeployment string // may be empty
	Key              Key    // MAC key, 32 bytes; nil: the link has no MAC. Wiped by Machine.Close
	Hybrid           bool   // Key comes from X25519 and ML-KEM-768
	// Refusal, if not empty, says that the negotiation itself went well, but that a peer link between these two nodes
	// must not be (P-neg-10). The acceptor sends its reply, then ends the stream with PERMISSION_DENIED and
	// this text; the dialer closes.
	Refusal string
}

// The texts of Refusal, as upstream.
const (
	refusalSelf       = "self-connection rejected: same node_id"
	refusalDeployment = "deployment_name mismatch"
)

// Machine negotiates one link (P-neg). An acceptor takes the request in Step and appends the reply; a
// dialer appends the request in Start and takes the reply in Step. It has no clock: the time limit is the caller's.
//
// After an error the machine is over: its secrets are wiped, Result is zero, and every further call fails with ErrOver.
// Errors are *PeerError (the peer sent what it must not) or *LocalError. After its Result a machine fails further calls
// in the same way but keeps the Result.
//
// A Machine is used by one goroutine at a time. It does not print.
type Machine struct {
	c       Config
	state   machineState
	secrets ephemeral // dialer: between request and reply
	res     Result
}

type machineState uint8

const (
	fresh    machineState = iota // New: awaits Start (dialer) or the request (acceptor)
	awaiting                     // dialer: awaits the reply
	over
)

// New makes a machine. Faults of c show in the first call.
func New(c *Config) *Machine {
	m := &Machine{c: *c}
	if m.c.Rand == nil {
		m.c.Rand = rand.Reader
	}
	return m
}

// Start appends the dialer's request, a whole wire message, to dst. On error dst is returned as it was.
func (m *Machine) Start(dst []byte) ([]byte, error) {
	if m.state == over {
		return dst, &LocalError{ErrOver}
	}
	if m.c.Role != Dialer || m.state != fresh {
		return dst, m.fail(local("Start is the dialer's first call, and no other"))
	}
	if err := m.c.check(); err != nil {
		return dst, m.fail(err)
	}
	out, err := m.request(dst)
	if err != nil {
		return dst, m.fail(err)
	}
	m.state = awaiting
	return out, nil
}

// Step takes the first message of the peer, borrowed until return. An acceptor appends its reply to dst, a dialer
// nothing; then Result is set. On error dst is returned as it was.
func (m *Machine) Step(dst, msg []byte) ([]byte, error) {
	if m.state == over {
		return dst, &LocalError{ErrOver}
	}
	if m.c.Role == Dialer && m.state != awaiting {
		return dst, m.fail(local("Step before Start"))
	}
	if err := m.c.check(); err != nil {
		return dst, m.fail(err)
	}
	l, err := parse(msg)
	if err != nil {
		return dst, m.fail(err)
	}
	out := dst
	if m.c.Role == Dialer {
		err = m.reply(&l)
	} else {
		out, err = m.accept(dst, &l)
	}
	if err != nil {
		return dst, m.fail(err)
	}
	m.secrets.wipe()
	m.state = over
	m.res.LinkID = l.LinkID
	m.res.Kind = l.Kind
	m.res.RemoteVersion = l.Version
	m.res.RemoteNode = l.NodeID
	m.res.RemoteDeployment = l.Deployment
	m.res.Refusal = m.c.refusal(&l)
	return out, nil
}

// Result returns what was agreed upon: zero before Step has succeeded.
func (m *Machine) Result() Result { return m.res }

// Close wipes the machine's secrets and the Key of its Result, and ends it.
func (m *Machine) Close() {
	m.secrets.wipe()
	clear(m.res.Key)
	m.res.Key = nil
	m.state = over
}

// fail ends the machine with err.
func (m *Machine) fail(err error) error {
	m.Close()
	m.res = Result{}
	return err
}

// parse reads the first message of the peer (P-neg-1) and the bounds of texts.
func parse(msg []byte) (l wire.LinkNegotiation, err error) {
	var m wire.Message
	if err := wire.Scan(msg, &m); err != nil {
		return l, refuse(ReasonUndecodable, err)
	}
	// Protobuf would merge a oneof that occurs twice. Nobody sends a negotiation so.
	if m.Kind != wire.KindLink || m.Odd {
		return l, refuse(ReasonNotNegotiation, nil)
	}
	l, err = wire.ParseLink(msg, &m)
	switch {
	case errors.Is(err, wire.ErrNoNegotiation):
		return l, refuse(ReasonNotNegotiation, nil)
	case err != nil:
		return l, refuse(ReasonUndecodable, err)
	}
	for _, s := range [...]string{l.LinkID, l.Version, l.NodeID, l.Deployment} {
		if len(s) > maxText {
			return l, refuse(ReasonTooLong, nil)
		}
	}
	return l, nil
}

// check finds what is wrong with a Config: what any peer would refuse.
func (c *Config) check() error {
	if c.Role > Dialer {
		return local("no such role: %d", c.Role)
	}
	if !strictVersion(c.Version) {
		return local("own version %q is no semantic version", c.Version)
	}
	texts := []string{c.NodeID, c.Deployment}
	if c.Role == Dialer {
		texts = append(texts, c.LinkID)
		if c.LinkID == "" {
			return local("a dialer needs a link_id")
		}
		if c.Kind > wire.LinkEdge {
			return local("no such kind of link: %d", c.Kind)
		}
	}
	for _, s := range texts {
		if len(s) > maxText || !utf8.ValidString(s) {
			return local("link_id, node_id and deployment_name are UTF-8 of at most %d bytes", maxText)
		}
	}
	return nil
}

// refusal holds the checks of a peer link against l, which the other end sent (P-neg-10).
func (c *Config) refusal(l *wire.LinkNegotiation) string {
	switch {
	case l.Kind != wire.LinkPeer:
		return ""
	case l.NodeID != "" && l.NodeID == c.NodeID:
		return refusalSelf
	case c.Deployment != "" && l.Deployment != c.Deployment:
		return refusalDeployment
	}
	return ""
}

// String returns "[redacted]".
func (Machine) String() string { return redacted }

// GoString returns "[redacted]".
func (Machine) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Machine) Format(s fmt.State, _ rune) { redact(s) }
