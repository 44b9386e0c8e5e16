package mls

import (
	"bytes"
	"crypto/rand"
	"io"
	"math/bits"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// Padding says how long to make the content of a private message of n bytes (RFC 9420, section 15.1): at least n. What
// is added is zeros. nil adds none.
type Padding func(n int) int

func (p Padding) length(n int) int {
	if p == nil {
		return n
	}
	return p(n)
}

// PadStep hides lengths in steps of an eighth of their size, and of 32 bytes up to 256: what the Rust library mls-rs
// does.
func PadStep(n int) int {
	m := max(256, 1<<bits.Len(uint(n)))
	return n | (m/8 - 1) + 1
}

// Limits bound what a peer can make this side do. Zero fields take the values of DefaultLimits. Members of a group need
// limits that let them follow each other: who refuses a commit for its size has left the group.
type Limits struct {
	// Message is how many bytes a message may have that is taken or made, at most 128 MiB; and what a call is given to
	// make one of, all together. Proposals that wait are not longer together, and those of one member, or of all outside,
	// not longer than a quarter of it, unless it is one.
	Message   int
	Members   int    // of a group, and new ones in a welcome
	Depth     int    // levels of the tree above its leaves, up to 30; 0: one more than Members need, since leaves may be blank
	Window    uint32 // generations that a member's message may be ahead, and keys that are kept for those it jumped over
	Proposals int    // kept at once while they wait for a commit; a quarter of them, rounded down, from outside
	PerMember int    // of those, from one member; 0: a quarter of Proposals, and not fewer than 16 of them
	// UnderWay is how many messages may be unprotected and neither accepted nor discarded at a time. Together they are
	// not longer than Message, unless it is one; and each holds up to Window keys.
	UnderWay int
}

// maxMessage leaves room in a vector for all that is signed or sealed with a message: context, path and tree.
const maxMessage = 128 << 20

// DefaultLimits are for groups of a few thousand members: 4,096, and messages of 16 MiB.
func DefaultLimits() Limits {
	return Limits{Message: 16 << 20, Members: 1 << 12, Depth: 13, Window: 1024, Proposals: 1024, PerMember: 256, UnderWay: 128}
}

func (l Limits) filled() Limits {
	d := DefaultLimits()
	if l.Message > 0 {
		d.Message = min(l.Message, maxMessage)
	}
	if l.Members > 0 {
		d.Members = l.Members
		d.Depth = bits.Len(uint(l.Members-1)) + 1
	}
	if l.Depth > 0 {
		d.Depth = l.Depth
	}
	d.Depth = min(d.Depth, treemath.MaxDepth-1)
	if l.Window > 0 {
		d.Window = l.Window
	}
	if l.Proposals > 0 {
		d.Proposals = l.Proposals
		d.PerMember = max(l.Proposals/4, min(l.Proposals, 16))
	}
	if l.PerMember > 0 {
		d.PerMember = l.PerMember
	}
	if l.UnderWay > 0 {
		d.UnderWay = l.UnderWay
	}
	return d
}

// Place is where a credential was presented.
type Place uint8

// The places.
const (
	PlaceAdd      Place = iota + 1 // key package of a client to be added
	PlaceUpdate                    // a member's new leaf: in an update, or in the path of its commit
	PlaceExternal                  // leaf of a client that joins by an external commit
	PlaceMember                    // leaf of a member of the group that this side is joining
	PlaceProposer                  // of the group's external_senders
)

// Stage is what the application is asked for: what follows if it refuses.
type Stage uint8

// The stages.
const (
	StageArrival Stage = iota + 1 // a proposal has come, or this member makes one: it does not wait for a commit
	StageCommit                   // this member makes a commit: it is made without that, or not at all
	StageFollow                   // another made a commit: this member stays behind
	StageJoin                     // this client joins a group: it does not
)

// String is a word for it.
func (s Stage) String() string {
	return name(uint16(s), "stage", "", "arrival", "commit", "follow", "join")
}

// Presented is a credential to be judged (section 5.3.1).
type Presented struct {
	Place        Place
	Stage        Stage     // who adds a client can be stricter than who follows, or has joined, where it is in the group
	Leaf         LeafIndex // of updates and members; 0 of others
	Credential   Credential
	SignatureKey []byte
	Node         *LeafNode // whole; nil for PlaceProposer
	Replaces     *LeafNode // what stood there, of updates and of external commits that take an old appearance out
	Time         time.Time
	Roster       Roster // before the commit; of the group that is joined
}

// AcceptAll is a Config.Credentials that believes everybody, for tests.
func AcceptAll(*Presented) error { return nil }

// Committed is a proposal with who made it.
type Committed struct {
	Proposal    Proposal
	Sender      Sender
	ByReference bool // it was sent before, and waits or waited; not so: the commit brings it

	sound  bool // what checkAlone looks at was found in order when it arrived, and does not change in this epoch
	judged bool // judgeWaiting found it valid for the commit that is being made
}

// Proposed is what Config.Proposals is asked about.
type Proposed struct {
	Stage     Stage       // StageArrival, StageCommit or StageFollow
	Committer Sender      // who commits them; at StageArrival nobody yet: the zero value
	List      []Committed // in the order of the commit; at StageArrival the one that has come, which is ByReference
	Roster    Roster      // before the commit
}

// Config is what a client brings to all of its groups. It may be shared by groups, and is not changed by them, nor by
// the caller while it is in use: a client that has another identity now makes another of it ([Config.WithIdentity]).
type Config struct {
	// CipherSuite of groups and key packages made with it.
	CipherSuite CipherSuite
	// Credential and Key are who this client is.
	Credential Credential
	Key        *SigningKey
	// Now is asked for the time that lifetimes are compared with: time.Now, but for tests.
	Now func() time.Time
	// Rand is the source of keys and nonces; nil: crypto/rand. ECDSA on P-384 and P-521 takes its
	// nonces from the system in any case.
	Rand io.Reader

	// Client names the client that a credential is of, such as the subject of a token: the same name for all of its
	// credentials, and for those of no other client. It reads the credential and does not judge it, which Credentials
	// does; an error or nothing refuses it. With it, no client is in a group twice, a leaf is replaced by one of the
	// same client only, and LeafNode.Client gives the name: it is asked once for each leaf node. All members must agree
	// on it. nil: each credential is a client, of which there may be several in a group; members may change their
	// credentials to others that Credentials believes, and an external commit removes a member with the joiner's
	// credential only.
	Client func(c Credential) (string, error)
	// Credentials judges credentials, and must be given: AcceptAll is for tests. The error goes no further than to the
	// caller.
	Credentials func(*Presented) error
	// Proposals may refuse proposals beyond the rules of the RFC: one that arrives, before it waits, and the list of a
	// commit, ours or another's. A commit that holds one which was refused when it arrived can not be followed.
	// Credentials have not been asked about it then: they are when it is committed. It must not keep what it is given.
	// nil accepts all but proposals of clients who propose themselves, whom nobody vouches for; who gives it vouches
	// for those that it does not refuse.
	Proposals func(*Proposed) error
	// PSK finds pre-shared keys: external ones, and resumption keys of groups other than the one that asks. What it
	// returns is copied. An error or nothing, nil or empty, says that the key is not here.
	PSK func(id *PSKID) ([]byte, error)
	// KeyPackages keeps the private parts of key packages.
	KeyPackages KeyPackageStore
	// StateKey seals what Group.Save gives. nil: groups are not saved, and Save is refused. Restore needs the one that
	// a group was saved under. A group whose Config has got another is saved anew as a whole, to be written and its old
	// parts deleted in one transaction: Restore opens no store with parts of both.
	StateKey *StateKey

	// Capabilities beyond those of this package: extension and proposal types, credential types, suites. What this
	// package supports itself need not be listed, except credential types: none means basic. That of Credential is
	// always listed. Groups of core-crypto ask all members for basic and x509.
	Capabilities Capabilities
	// Lifetime of key packages from now on, and they are valid for an hour before; 0: 90 days. Together that is at most
	// MaxLifetime.
	Lifetime time.Duration
	// MaxLifetime is the longest a key package may be valid whose client is added (section 7.2); all members of a group
	// must agree on it. 0: two years, negative: any, as in groups with ts-mls, whose key packages never end by default.
	MaxLifetime time.Duration
	// ClockSlack is how far a key package may be outside of its lifetime by this clock, because that of its maker is
	// another; minutes are in order. 0: none.
	ClockSlack time.Duration
	// Strict refuses what others made also where the RFC does and the Rust library mls-rs does not: extensions out of
	// their place in a group context or key package (sections 10, 17.3), leaves that do not list the group's version or
	// suite (section 7.2), key packages out of their lifetime when they are received and in a tree that is joined (section
	// 7.3), encryption keys that are none or that have the highest bit of X25519 set, reinits to an empty id. What is made
	// here obeys both in any case. All members of a group must agree on it: in one with members of mls-rs it stays off.
	Strict bool
	// GREASE adds values that mean nothing to capabilities, so that peers do not get used to the ones there are
	// (section 13.5).
	GREASE bool

	Padding    Padding // of private messages
	PastEpochs int     // that late application messages are accepted for; 0: 3, negative: none
	PSKEpochs  int     // that resumption keys are kept for; 0: 8, negative: none
	// EncryptHandshake sends proposals and commits as private messages, which the RFC prefers; not so, the delivery
	// service sees who commits what. By default members of openmls take only private ones, and those of core-crypto only
	// public ones; external commits are public in any case.
	EncryptHandshake bool
	Limits           Limits
}

// SigningKey is a signature key pair. It cannot be printed or compared with ==. Its method Public gives the public key
// as leaf nodes have it, and Bytes the private one for ParseSigningKey, to be kept where nobody else reads it.
type SigningKey = suite.SigningKey

// GenerateSigningKey makes a key pair for a suite; rand nil is crypto/rand.
func GenerateSigningKey(cs CipherSuite, r io.Reader) (*SigningKey, error) {
	s, ok := suite.Lookup(cs)
	if !ok {
		return nil, refuse(Unsupported, "5.1", "%v is not supported", cs)
	}
	return s.GenerateSigningKey(orSystem(r))
}

// ParseSigningKey takes a private key: the seed of EdDSA, the scalar of ECDSA, big-endian.
func ParseSigningKey(cs CipherSuite, private []byte) (*SigningKey, error) {
	s, ok := suite.Lookup(cs)
	if !ok {
		return nil, refuse(Unsupported, "5.1", "%v is not supported", cs)
	}
	k, err := s.ParseSigningKey(private)
	if err != nil {
		return nil, refuseFor(Invalid, "5.1.2", err, "private key of %d bytes", len(private))
	}
	return k, nil
}

// VerifyingKey is a public signature key, for what members sign outside of MLS with SigningKey.Sign. A key that checks often has a table in the
// process, with those that groups check often, and costs a third then: keep it. Safe for concurrent use.
type VerifyingKey struct{ v suite.Verifier }

// ParseVerifyingKey takes a public key as leaf nodes have it, and copies it.
func ParseVerifyingKey(cs CipherSuite, public []byte) (*VerifyingKey, error) {
	s, ok := suite.Lookup(cs)
	if !ok {
		return nil, refuse(Unsupported, "5.1", "%v is not supported", cs)
	}
	v, err := s.Verifier(bytes.Clone(public))
	if err != nil {
		return nil, refuseFor(Invalid, "5.1.2", err, "public key of %d bytes", len(public))
	}
	return &VerifyingKey{v}, nil
}

// Verify reports whether signature is one of text. The text is the caller's to keep apart from those of MLS, which begin with a label.
func (k *VerifyingKey) Verify(text, signature []byte) bool { return suite.Verify(k.v, text, signature) }

func orSystem(r io.Reader) io.Reader {
	if r == nil {
		return rand.Reader
	}
	return r
}

func (c *Config) random() io.Reader { return orSystem(c.Rand) }

func (c *Config) maxLifetime() time.Duration {
	if c.MaxLifetime == 0 {
		return 2 * 365 * 24 * time.Hour
	}
	return c.MaxLifetime
}

func (c *Config) pastEpochs() int { return orDefault(c.PastEpochs, 3) }

func (c *Config) pskEpochs() int { return orDefault(c.PSKEpochs, 8) }

func orDefault(n, d int) int {
	switch {
	case n < 0:
		return 0
	case n == 0:
		return d
	}
	return n
}

// suite is the suite it names, if it is complete.
func (c *Config) suite() (*suite.Suite, error) {
	s, ok := suite.Lookup(c.CipherSuite)
	switch {
	case !ok:
		return nil, refuse(Unsupported, "5.1", "%v is not supported", c.CipherSuite)
	case c.Key == nil:
		return nil, refuse(Misuse, "", "Config.Key is nil: give a signature key of %v", c.CipherSuite)
	case c.Now == nil:
		return nil, refuse(Misuse, "", "Config.Now is nil: give time.Now")
	case c.Credentials == nil:
		return nil, refuse(Misuse, "5.3.1", "Config.Credentials is nil: say who is to be believed")
	}
	if _, err := s.Verifier(c.Key.Public()); err != nil {
		return nil, refuseFor(Misuse, "", err, "Config.Key is no key of %v", c.CipherSuite)
	}
	return s, nil
}

// judge asks the application about a credential.
func (c *Config) judge(p *Presented) error {
	if p.Node != nil {
		if err := c.identify(p.Node); err != nil {
			return err
		}
		if p.Replaces != nil {
			if err := c.checkSameClient(p.Node, p.Replaces, p.Place == PlaceExternal); err != nil {
				return err
			}
		}
	}
	if c.Credentials == nil { // who took it away again believes nobody
		return refuse(Refused, "5.3.1", "Config.Credentials is nil: nobody is believed")
	}
	p.Time = c.Now()
	if err := c.Credentials(p); err != nil {
		return refuseFor(Refused, "5.3.1", err, "credential of %v was refused", p.Credential.Type)
	}
	return nil
}
